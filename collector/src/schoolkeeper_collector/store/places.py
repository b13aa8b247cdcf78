"""Where an event stands in its leaf: the position that a tombstone names.

0 is the first event of the batch statement's first run, counted on over its runs in order (see uplink.proto).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import decode


class Places:
    """Of one batch statement."""

    def __init__(self, statement: wire.BatchStatement) -> None:
        self._runs: list[tuple[str, int, int, int]] = []
        at = 0
        for run in statement.runs:
            number = sum(run.counts)
            self._runs.append((run.lane.value, run.first_sequence, run.first_sequence + number, at))
            at += number
        self.end = at

    @classmethod
    def of_entry(cls, entry: bytes) -> Places:
        """From the ledger's entry of a batch."""
        return cls(decode(wire.BatchStatement, decode(wire.LedgerEntry, entry).statement))

    def position(self, lane: str, sequence: int) -> int:
        """Raises ``LookupError``: the statement does not name it."""
        for named, first, end, at in self._runs:
            if named == lane and first <= sequence < end:
                return at + sequence - first
        raise LookupError(f"the statement names no {lane} {sequence}")

    def spans(self) -> Iterator[tuple[str, int, int]]:
        """(lane, first sequence, sequence beyond the last) of each run."""
        for lane, first, end, _ in self._runs:
            yield lane, first, end


def to_spans(positions: Iterable[int]) -> tuple[int, ...]:
    """Pairs of a first position and how many from it on, as ``ErasedEvents`` has them."""
    spans: list[int] = []
    for position in sorted(set(positions)):
        if spans and spans[-2] + spans[-1] == position:
            spans[-1] += 1
        else:
            spans += [position, 1]
    return tuple(spans)


def from_spans(spans: tuple[int, ...], end: int) -> set[int]:
    """Raises ``ValueError`` for spans that are no pairs or leave the statement's ``end`` positions."""
    if len(spans) % 2:
        raise ValueError("its spans are no pairs")
    found: set[int] = set()
    for first, number in zip(spans[::2], spans[1::2], strict=True):
        if number < 1 or first + number > end:
            raise ValueError(f"names positions {first} to {first + number - 1} of {end}")
        found.update(range(first, first + number))
    return found


def erased_of(statement: wire.TombstoneStatement) -> tuple[wire.ErasedEvents, ...]:
    """What a tombstone of either form names."""
    if statement.erased:
        return statement.erased
    return (wire.ErasedEvents(leaf_index=statement.leaf_index, spans=to_spans(statement.positions)),)
