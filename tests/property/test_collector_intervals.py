"""Interval sets against plain sets of numbers."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from schoolkeeper_collector.store.intervals import IntervalSet

NUMBERS = st.integers(min_value=0, max_value=60)
SPANS = st.tuples(NUMBERS, NUMBERS)
STEPS = st.lists(st.tuples(st.booleans(), SPANS), max_size=25)


def built(steps: list[tuple[bool, tuple[int, int]]]) -> tuple[IntervalSet, set[int]]:
    intervals, numbers = IntervalSet(), set[int]()
    for adding, (first, end) in steps:
        if adding:
            intervals.add(first, end)
            numbers |= set(range(first, end))
        else:
            intervals.remove(first, end)
            numbers -= set(range(first, end))
    return intervals, numbers


@given(STEPS)
def test_it_holds_the_same_numbers(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    intervals, numbers = built(steps)
    assert {n for first, end in intervals for n in range(first, end)} == numbers
    assert intervals.total == len(numbers)
    assert intervals.end == max(numbers, default=-1) + 1
    assert bool(intervals) == bool(numbers)


@given(STEPS)
def test_spans_are_sorted_and_never_touch(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    spans = list(built(steps)[0])
    assert all(first < end for first, end in spans)
    assert all(left[1] < right[0] for left, right in itertools.pairwise(spans))


@given(STEPS, SPANS)
def test_questions_about_a_range(steps: list[tuple[bool, tuple[int, int]]], span: tuple[int, int]) -> None:
    intervals, numbers = built(steps)
    asked = set(range(*span))
    first, end = span
    assert intervals.covers(first, end) == (asked <= numbers)
    if asked:
        assert intervals.overlaps(first, end) == bool(asked & numbers)
    missing = {n for a, b in intervals.missing(first, end) for n in range(a, b)}
    assert missing == asked - numbers


@given(STEPS, NUMBERS)
def test_the_span_around_a_number(steps: list[tuple[bool, tuple[int, int]]], number: int) -> None:
    intervals, numbers = built(steps)
    span = intervals.span_of(number)
    assert (span is not None) == (number in numbers)
    if span is not None:
        assert set(range(*span)) <= numbers
        assert span[0] - 1 not in numbers
        assert span[1] not in numbers


@given(STEPS, STEPS)
def test_union(one: list[tuple[bool, tuple[int, int]]], other: list[tuple[bool, tuple[int, int]]]) -> None:
    (a, a_numbers), (b, b_numbers) = built(one), built(other)
    union = a.union(b)
    assert {n for first, end in union for n in range(first, end)} == a_numbers | b_numbers
    assert union == IntervalSet(sorted([*a, *b]))
