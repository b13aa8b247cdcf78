"""The real agent with one sensor, which reports numbered events at a steady rate: `feeding_agent.py --config F run`.

BENCH_FEED_RATE is the rate a second. After every append that the spool says is durable, the numbers in it are written
to the file BENCH_FEED_DURABLE: what stands there must reach the collector, once. The other sensors are left out.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from schoolkeeper_agent import sensors
from schoolkeeper_agent.cli import main
from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.observations import Noted
from schoolkeeper_agent.seams import Ability, Emit
from schoolkeeper_agent.spool.contract import Appended
from schoolkeeper_agent.spool.store import SqliteSpool
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import decode
from schoolkeeper_proto.wire import Lane
from support.fleet import shapes

RATE = float(os.environ.get("BENCH_FEED_RATE", "100"))
DURABLE = Path(os.environ["BENCH_FEED_DURABLE"])
_MAX_PID = 1 << 31


class Feeder:
    """Numbers are process ids of reported programs, and go on where the run before ended."""

    name = "bench"
    kinds = (model.ApplicationStarted.KIND,)

    def ability(self) -> Ability:
        return Ability(able=True)

    async def run(self, emit: Emit) -> None:
        number = first = _next_number()
        began = time.monotonic()
        while True:
            due = first + int((time.monotonic() - began) * RATE)
            while number < due:
                emit(Noted(body=numbered(number)))
                number += 1
            await asyncio.sleep(0.01)


def numbered(number: int) -> model.Body:
    body = shapes.process_event(number)
    assert isinstance(body, model.ApplicationStarted)
    application = model.Application(path="/bench/feed", sha256=body.application.sha256, identity="bench")
    return model.ApplicationStarted(application=application, process_id=number % _MAX_PID)


def _next_number() -> int:
    """Beyond what an earlier run may have numbered without having written it down."""
    lines = DURABLE.read_text().split() if DURABLE.exists() else []
    return (max(map(int, lines)) if lines else 0) + 100_000


def _note_durable(append: Any) -> Any:
    said = os.open(DURABLE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def noting(spool: SqliteSpool, lane: Lane, events: Sequence[bytes], now: Moment) -> Appended:
        done: Appended = append(spool, lane, events, now)
        bodies = [decode(model.Event, event).body for event in events]
        numbers = [b.process_id for b in bodies if isinstance(b, model.ApplicationStarted)]
        os.write(said, "".join(f"{number}\n" for number in numbers).encode())
        return done

    return noting


if __name__ == "__main__":
    SqliteSpool.append = _note_durable(SqliteSpool.append)  # type: ignore[method-assign]
    sensors.load = lambda _platform, _context: [Feeder()]  # type: ignore[assignment]
    sys.exit(main())
