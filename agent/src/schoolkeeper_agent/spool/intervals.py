"""Sets of whole numbers as few intervals: which frames are under way, without a list of each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Intervals:
    """``spans`` are disjoint, sorted (first, end) pairs with ``end`` excluded and a hole between neighbours."""

    spans: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Intervals:
        spans: list[tuple[int, int]] = []
        for number in sorted(set(numbers)):
            if spans and spans[-1][1] == number:
                spans[-1] = (spans[-1][0], number + 1)
            else:
                spans.append((number, number + 1))
        return cls(tuple(spans))

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        place = bisect_right(self.spans, number, key=lambda span: span[0]) - 1
        return place >= 0 and number < self.spans[place][1]

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __iter__(self) -> Iterator[int]:
        for first, end in self.spans:
            yield from range(first, end)

    def union(self, other: Intervals) -> Intervals:
        merged: list[tuple[int, int]] = []
        for first, end in sorted([*self.spans, *other.spans]):
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((first, end))
        return Intervals(tuple(merged))

    def without(self, numbers: Iterable[int]) -> Intervals:
        spans = list(self.spans)
        for gone_first, gone_end in Intervals.of(numbers).spans:
            kept: list[tuple[int, int]] = []
            for first, end in spans:
                if first < min(end, gone_first):
                    kept.append((first, min(end, gone_first)))
                if max(first, gone_end) < end:
                    kept.append((max(first, gone_end), end))
            spans = kept
        return Intervals(tuple(spans))
