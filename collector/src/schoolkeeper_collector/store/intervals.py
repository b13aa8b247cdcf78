"""Interval sets over sequence numbers, as sorted lists of ``[first, end)`` with ``end`` excluded. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Span = tuple[int, int]


class IntervalSet:
    """Disjoint spans that do not touch, in order. A filled hole is not a duplicate: hence no high-water mark."""

    __slots__ = ("_ends", "_firsts")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._firsts: list[int] = []
        self._ends: list[int] = []
        for first, end in spans:
            self.add(first, end)

    def __iter__(self) -> Iterator[Span]:
        return iter(list(zip(self._firsts, self._ends, strict=True)))

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __len__(self) -> int:
        return len(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntervalSet) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # mutable

    @property
    def end(self) -> int:
        """One past the highest number; 0 when empty."""
        return self._ends[-1] if self._ends else 0

    @property
    def total(self) -> int:
        return sum(self._ends) - sum(self._firsts)

    def add(self, first: int, end: int) -> None:
        if first >= end:
            return
        if self._ends and self._ends[-1] == first:  # what a healthy device does, every time
            self._ends[-1] = end
            return
        left = bisect_left(self._ends, first)
        right = bisect_right(self._firsts, end)
        if left < right:
            first = min(first, self._firsts[left])
            end = max(end, self._ends[right - 1])
        self._firsts[left:right] = [first]
        self._ends[left:right] = [end]

    def remove(self, first: int, end: int) -> None:
        if first >= end:
            return
        left = bisect_right(self._ends, first)
        right = bisect_left(self._firsts, end)
        if left >= right:
            return
        kept: list[Span] = []
        if self._firsts[left] < first:
            kept.append((self._firsts[left], first))
        if self._ends[right - 1] > end:
            kept.append((end, self._ends[right - 1]))
        self._firsts[left:right] = [span[0] for span in kept]
        self._ends[left:right] = [span[1] for span in kept]

    def overlaps(self, first: int, end: int) -> bool:
        place = bisect_right(self._ends, first)
        return place < len(self._firsts) and self._firsts[place] < end

    def covers(self, first: int, end: int) -> bool:
        place = bisect_right(self._ends, first)
        return first >= end or (
            place < len(self._firsts) and self._firsts[place] <= first and end <= self._ends[place]
        )

    def missing(self, first: int, end: int) -> list[Span]:
        """The parts of ``[first, end)`` that are not in the set."""
        found: list[Span] = []
        place = bisect_right(self._ends, first)
        while first < end and place < len(self._firsts) and self._firsts[place] < end:
            if first < self._firsts[place]:
                found.append((first, self._firsts[place]))
            first = self._ends[place]
            place += 1
        if first < end:
            found.append((first, end))
        return found

    def span_of(self, number: int) -> Span | None:
        place = bisect_right(self._ends, number)
        if place < len(self._firsts) and self._firsts[place] <= number:
            return self._firsts[place], self._ends[place]
        return None

    def union(self, other: IntervalSet) -> IntervalSet:
        merged = IntervalSet(self)
        for first, end in other:
            merged.add(first, end)
        return merged
