"""Goal 9: one agent takes 10,000 events a second into its spool, and drops none.

    python tests/bench/bench_spool.py [--seconds 10] [--rate 10000]

Events are built, serialised and handed to the real writer in front of the real spool (sealed, chained, synced) at a
steady rate; afterwards every one must be in the spool. Then as many as it takes, to see how far the limit is.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import harness
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from harness import Report, Row

from schoolkeeper_agent.clock import SystemClock
from schoolkeeper_agent.spool.contract import Appended, IngestTarget, Owner
from schoolkeeper_agent.spool.opening import open_spool
from schoolkeeper_agent.spool.writer import FrameWriter, Hooks, Lost
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import Lane
from support.fleet import school_week, shapes

OWNER = Owner(school_id="bench.example", device_id=b"d" * 16, machine_hash=b"m" * 32)


class Run:
    """A writer and its spool in a folder, with an account of what was kept and lost."""

    def __init__(self, folder: Path) -> None:
        key = X25519PrivateKey.generate().public_key().public_bytes_raw()
        target = IngestTarget(key_id=b"k" * 32, public_key=key)
        clock = SystemClock()
        self.kept = self.frames = self.lost = 0
        self.clock = clock
        self.writer = FrameWriter(
            lambda _: open_spool(folder / "spool.db", OWNER, target, clock.now()),
            clock.now,
            Hooks(appended=self._appended, lost=self._lost),
        )
        self.writer.start()

    def _appended(self, appended: Appended) -> None:
        self.kept += appended.events
        self.frames += appended.frames
        self.lost += sum(record.events for record in appended.evicted)

    def _lost(self, lost: Lost) -> None:
        self.lost += lost.events


def event(number: int) -> bytes:
    """Built and serialised."""
    return encode(build(number))


def build(number: int) -> model.Event:
    planned = school_week.Planned(
        at_ms=0,
        lane=Lane.NORMAL,
        body=shapes.process_event(number),
        user=shapes.user(number % 500),
        place=model.Place.ON_SITE,
        severity=model.Severity.INFORMATIONAL,
    )
    now = time.time_ns() // 1_000_000
    return school_week.as_event(planned, number=number, device=1, wall_ms=now, monotonic_ms=number)


def paced(run: Run, rate: int, seconds: float) -> tuple[int, float, float]:
    """Hand over ``rate`` events a second, 1 ms worth at a time; (events, seconds, worst delay of a hand-over)."""
    total, sent, worst = int(rate * seconds), 0, 0.0
    events = [event(number) for number in range(4_096)]
    began = time.monotonic()
    while sent < total:
        due = min(int((time.monotonic() - began) * rate) + 1, total)
        while sent < due:
            at = time.monotonic()
            run.writer.record(Lane.NORMAL, events[sent % len(events)])
            worst = max(worst, time.monotonic() - at)
            sent += 1
        time.sleep(0.001)
    return sent, time.monotonic() - began, worst


def measure(report: Report, arguments: argparse.Namespace) -> None:
    with harness.scratch("spool") as folder:
        run = Run(folder)
        cpu = time.process_time()
        sent, seconds, worst = paced(run, arguments.rate, arguments.seconds)
        left = run.writer.stop(30)
        cpu = time.process_time() - cpu
        dropped = run.lost + run.writer.state().dropped_events + left
        report.add(
            Row(
                goal="9",
                what="events a second into one spool, none dropped",
                ours=f"{sent / seconds:,.0f}/s",
                target=f">= {arguments.rate:,}/s, 0 lost",
                reached=run.kept == sent and dropped == 0 and sent / seconds >= 0.99 * arguments.rate,
                note=(
                    f"{sent:,} handed over, {run.kept:,} in the spool in {run.frames:,} frames, {dropped} dropped; "
                    f"{cpu / sent * 1e6:.0f} us CPU an event; longest hand-over {worst * 1000:.1f} ms"
                ),
            )
        )
        report.detail["paced"] = {"sent": sent, "kept": run.kept, "frames": run.frames, "cpu": cpu}
    with harness.scratch("spool") as folder:
        rate, kept, building = flat_out(folder, arguments.flat_out)
        note = f"building and serialising them costs {building:.0f} us each and is included"
        what = "the same as fast as it goes (waits while 2 MiB are unwritten)"
        report.add(Row(goal="", what=what, ours=f"{rate:,.0f}/s", note=note))
        report.detail["flat_out"] = {"rate": rate, "kept": kept}


def flat_out(folder: Path, count: int) -> tuple[float, int, float]:
    run = Run(folder)
    cpu = time.process_time()
    for number in range(2_000):
        event(number)
    building = (time.process_time() - cpu) / 2_000 * 1e6
    began = time.monotonic()
    for number in range(count):
        if number % 256 == 0:
            while run.writer.state().buffered_bytes > 2 << 20:
                time.sleep(0.001)
        run.writer.record(Lane.NORMAL, event(number))
    run.writer.stop(60)
    return run.kept / (time.monotonic() - began), run.kept, building


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--flat-out", type=int, default=60_000, metavar="EVENTS")
    harness.main("spool", measure, parser)
