"""Windows of correlations: what one rule remembers of one group, as a pure value that can be stored.

Order of arrival does not decide whether a group is found: an entry that comes late is put where it happened, and a
window holds whenever ``count`` entries that no earlier finding used lie within the timespan. An entry counts once,
however often it is given.
"""

from __future__ import annotations

import json
from bisect import insort
from dataclasses import dataclass, field
from typing import Final

from schoolkeeper_policies.sigma.model import Correlation, CorrelationType

MAX_ENTRIES: Final = 500


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One match: when (Unix milliseconds), which event (a stable reference), and what it counts as.

    ``key`` is the value for value_count, the rule's name for temporal, and empty for event_count.
    """

    at_ms: int
    reference: str
    key: str = ""


@dataclass(slots=True)
class Window:
    """Entries in the order in which they happened; ``used`` are references that a finding already rests on."""

    entries: list[Entry] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def add(self, correlation: Correlation, entry: Entry, *, horizon_ms: int) -> tuple[Entry, ...]:
        """Takes an entry in and returns those of a new finding, or none.

        Entries that happened before ``horizon_ms`` are forgotten.
        """
        if entry.at_ms < horizon_ms or any(
            held.reference == entry.reference and held.key == entry.key for held in self.entries
        ):
            return ()
        self._forget(horizon_ms)
        insort(self.entries, entry)
        found = self._find(correlation, entry)
        self.used.update(held.reference for held in found)
        return found

    def _forget(self, horizon_ms: int) -> None:
        if len(self.entries) >= MAX_ENTRIES or (self.entries and self.entries[0].at_ms < horizon_ms):
            kept = [held for held in self.entries if held.at_ms >= horizon_ms][-(MAX_ENTRIES - 1) :]
            self.entries = kept
            self.used &= {held.reference for held in kept}

    def _find(self, correlation: Correlation, entry: Entry) -> tuple[Entry, ...]:
        """The earliest window with ``entry`` in it that holds enough unused entries."""
        near = [
            held
            for held in self.entries
            if abs(held.at_ms - entry.at_ms) <= correlation.timespan_ms and held.reference not in self.used
        ]
        for number, first in enumerate(near):
            if first.at_ms > entry.at_ms:
                break
            inside = [held for held in near[number:] if held.at_ms - first.at_ms <= correlation.timespan_ms]
            distinct = _distinct(correlation.type, inside)
            if len(distinct) >= correlation.count:
                return tuple(distinct)
        return ()

    def dump(self) -> bytes:
        """The window as bytes; equal windows give equal bytes."""
        rows = [[held.at_ms, held.reference, held.key, held.reference in self.used] for held in self.entries]
        return json.dumps(rows, separators=(",", ":")).encode()

    @classmethod
    def load(cls, data: bytes) -> Window:
        window = cls()
        for at_ms, reference, key, used in json.loads(data) if data else []:
            window.entries.append(Entry(at_ms, reference, key))
            if used:
                window.used.add(reference)
        return window


def _distinct(kind: CorrelationType, entries: list[Entry]) -> list[Entry]:
    if kind is CorrelationType.EVENT_COUNT:
        return entries
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(entry.key, entry)
    return list(first.values())
