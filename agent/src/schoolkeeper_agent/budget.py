"""The agent watches its own memory and processor time, and says when and why it uses more than it should."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.system import here
from schoolkeeper_proto.model import BudgetExceeded

_CPU_WINDOW_MS = 5 * 60_000
_SAY_AGAIN_MS = 3_600_000


def resident_bytes(proc_root: Path = Path("/proc")) -> int:
    """Resident memory of this process; 0 where the system does not say."""
    return here.resident_bytes(proc_root)


def cpu_milliseconds() -> int:
    """Processor time of this process so far, user and system."""
    times = os.times()
    return int((times.user + times.system) * 1000)


@dataclass(slots=True)
class BudgetWatch:
    """``count`` what happens, by source; ``look`` once a minute. The cause is whatever happened most."""

    memory_limit: int
    cpu_percent: int
    happened: Counter[str] = field(default_factory=Counter)
    _window_ms: int = 0
    _window_cpu: int = 0
    _said: dict[str, int] = field(default_factory=dict)

    def count(self, source: str) -> None:
        self.happened[source] += 1

    def look(self, now: Moment, resident: int, cpu_ms: int, *, waiting: str = "") -> list[BudgetExceeded]:
        """What is above its limit now; each resource is reported at most once an hour."""
        found = []
        busiest = ", ".join(f"{name} {number} times" for name, number in self.happened.most_common(3))
        cause = "; ".join(part for part in (busiest and f"since the last look: {busiest}", waiting) if part)
        if resident > self.memory_limit:
            found.append(
                BudgetExceeded(resource="memory", used=resident, limit=self.memory_limit, cause=cause)
            )
        if not self._window_ms:
            self._window_ms, self._window_cpu = now.monotonic_ms, cpu_ms
        elapsed = now.monotonic_ms - self._window_ms
        if elapsed >= _CPU_WINDOW_MS:
            used = 100 * (cpu_ms - self._window_cpu) // elapsed
            if used > self.cpu_percent:
                found.append(BudgetExceeded(resource="cpu", used=used, limit=self.cpu_percent, cause=cause))
            self._window_ms, self._window_cpu = now.monotonic_ms, cpu_ms
            self.happened.clear()
        told = [item for item in found if self._due(item.resource, now)]
        self._said.update({item.resource: now.monotonic_ms for item in told})
        return told

    def _due(self, resource: str, now: Moment) -> bool:
        last = self._said.get(resource)
        return last is None or now.monotonic_ms - last >= _SAY_AGAIN_MS
