"""The bench's end of ``load.py``: start such a process, give it orders, read its answers."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
from stack import Collector

_HERE = Path(__file__).parent


class FleetProcess:
    """One process of simulated devices."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, _HERE / "load.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,  # lines
        )

    @property
    def pid(self) -> int:
        return self._child.pid

    def order(self, do: str, **how: Any) -> None:
        """Send an order and do not wait."""
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"do": do, **how}) + "\n")
        self._child.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Raises CannotMeasure with the reason where the order failed."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {"failed": "the fleet's process ended"}
        if "failed" in found:
            raise harness.CannotMeasure(f"the fleet: {found['failed']}")
        return found

    def has_answered(self) -> bool:
        """Whether an answer waits to be read, or the process has ended."""
        ready, _, _ = select.select([self._child.stdout], [], [], 0)
        return bool(ready)

    def ask(self, do: str, **how: Any) -> dict[str, Any]:
        self.order(do, **how)
        return self.answer()

    def close(self) -> None:
        if self._child.poll() is None:
            try:
                self.order("leave")
                self._child.wait(10)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                self._child.kill()
        self._child.communicate()


@contextmanager
def fleets(count: int = 1) -> Iterator[list[FleetProcess]]:
    """So many processes; ended afterwards."""
    found = [FleetProcess() for _ in range(count)]
    try:
        yield found
    finally:
        for fleet in found:
            fleet.close()


def enrol(found: list[FleetProcess], collector: Collector, devices: int, **more: Any) -> None:
    """Share the devices out over the processes and enrol them."""
    token = collector.token(devices)
    first = 0
    for number, fleet in enumerate(found):
        share = devices // len(found) + (1 if number < devices % len(found) else 0)
        fleet.order("enrol", address=collector.enrol_address, token=token, first=first, devices=share, **more)
        first += share
    for fleet in found:
        fleet.answer()


def all_of(found: list[FleetProcess], do: str, **how: Any) -> list[dict[str, Any]]:
    """The same order to each at once."""
    for fleet in found:
        fleet.order(do, **how)
    return [fleet.answer() for fleet in found]
