"""When, where and for whom: each answer of a condition by an example, and each bound of one at its edge."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from schoolkeeper_proto import conditions, policy
from schoolkeeper_proto.conditions import (
    Circumstances,
    ConditionMistake,
    ZoneClock,
    compile_condition,
    holds,
)
from schoolkeeper_proto.model import Place

MONDAY = 1_795_428_000_000  # 23 November 2026, 10:00 UTC
DAY = MONDAY // 86_400_000


def ms(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


def asked(
    when: policy.Applicability, place: str = "on-site", *groups: str, at: int = MONDAY, nobody: bool = False
) -> bool | None:
    now = Circumstances(now_ms=at, place=place, groups=None if nobody else frozenset(groups))
    return holds(compile_condition(when), now, ZoneClock())


def window(weekdays: int, start: int, end: int) -> policy.Applicability:
    return policy.Applicability(
        times=(policy.TimeWindow(weekdays=weekdays, from_minute=start, to_minute=end),)
    )


# ---- what is compiled -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bounds",
    [(0, 0, 60), (128, 0, 60), (1, -1, 60), (1, 1440, 60), (1, 0, 0), (1, 60, 0), (1, 0, 1441), (1, 60, 60)],
)
def test_a_window_that_never_applies_is_refused(bounds: tuple[int, int, int]) -> None:
    with pytest.raises(ConditionMistake, match="never applies"):
        compile_condition(window(*bounds))


@pytest.mark.parametrize("bounds", [(1, 0, 1), (127, 1439, 1440), (64, 1439, 1), (1, 0, 1440)])
def test_a_window_may_reach_to_its_last_minute(bounds: tuple[int, int, int]) -> None:
    compiled = compile_condition(window(*bounds))
    assert compiled is not None
    assert compiled[0] == (bounds,)


def test_days_that_end_before_they_begin_are_refused() -> None:
    def days(first: int, last: int) -> policy.Applicability:
        return policy.Applicability(days=(policy.DayRange(first_day=first, last_day=last),))

    with pytest.raises(ConditionMistake, match=r"5\.\.4"):
        compile_condition(days(5, 4))
    for last in (0, 5, 6):
        compiled = compile_condition(days(5, last))
        assert compiled is not None
        assert compiled[4] == ((5, last),)


def test_a_time_zone_that_is_not_known_is_refused_where_it_is_needed() -> None:
    day = policy.DayRange(first_day=1)
    span = policy.TimeWindow(weekdays=1, from_minute=0, to_minute=1)
    for needed in (
        policy.Applicability(days=(day,), time_zone="Mars/North"),
        policy.Applicability(times=(span,), time_zone="Mars/North"),
    ):
        with pytest.raises(ConditionMistake, match="Mars/North"):
            compile_condition(needed)
    assert compile_condition(policy.Applicability(user_groups=("a",), time_zone="Mars/North")) is not None


def test_only_what_says_something_is_a_condition() -> None:
    assert compile_condition(None) is None
    assert compile_condition(policy.Applicability(time_zone="Europe/London")) is None
    for one in (
        window(1, 0, 1),
        policy.Applicability(places=(Place.ON_SITE,)),
        policy.Applicability(user_groups=("a",)),
        policy.Applicability(exceptions=(policy.RuleException(exception_id="e"),)),
        policy.Applicability(days=(policy.DayRange(first_day=1),)),
    ):
        assert compile_condition(one) is not None
    assert holds(None, Circumstances(now_ms=0), ZoneClock()) is True


# ---- clocks -----------------------------------------------------------------------------------------------


def test_a_zone_is_asked_once_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[int] = []

    def counted(zone: str, now_ms: int) -> int:
        times.append(now_ms)
        return 0

    monkeypatch.setattr(conditions, "_ask_zone", counted)
    clock, quarter = ZoneClock(), 900_000
    for now in (0, 1, quarter - 1, quarter, 2 * quarter - 1, 0):
        clock.offset_ms("Europe/London", now)
    assert times == [0, quarter, 0]


@pytest.mark.parametrize(
    ("zone", "change", "before", "after"),
    [
        ("Europe/London", ms(2026, 10, 25, 1), 3_600_000, 0),
        ("Europe/London", ms(2026, 3, 29, 1), 0, 3_600_000),
        ("America/New_York", ms(2026, 11, 1, 6), -14_400_000, -18_000_000),
        ("Asia/Kolkata", ms(2026, 11, 1, 6), 19_800_000, 19_800_000),
    ],
)
def test_a_clock_changes_at_its_millisecond_though_it_remembers(
    zone: str, change: int, before: int, after: int
) -> None:
    clock = ZoneClock()
    found = [clock.offset_ms(zone, change + by) for by in (-900_000, -1, 0, 1, -1)]
    assert found == [before, before, after, after, before]


# ---- places and people ------------------------------------------------------------------------------------


def test_a_place_holds_does_not_or_cannot_be_told() -> None:
    here = policy.Applicability(places=(Place.ON_SITE,))
    told = [asked(here, place) for place in ("on-site", "off-site", "unknown", "unspecified")]
    assert told == [True, False, None, None]


@pytest.mark.parametrize(
    ("wanted", "held", "answer"),
    [
        (("a",), ("a",), True),
        (("a",), ("b",), False),
        (("a", "b"), ("b",), True),
        # Who is not in the register cannot be told by its groups.
        (("people:p",), ("people:p",), True),
        (("people:p",), ("b", "people:known"), False),
        (("people:p",), ("b",), None),
        (("a", "people:p"), ("b",), None),
        (("a", "people:p"), ("a",), True),
        # Whose account has no person behind it cannot be told as one.
        (("person:1",), ("person:1", "people:known"), True),
        (("person:1",), ("person:2", "people:known"), False),
        (("person:1",), ("a", "people:known"), None),
        (("a", "person:1"), ("b", "person:2"), False),
        (("a", "person:1"), ("b", "people:known"), None),
        (("a",), ("b", "person:2"), False),
    ],
)
def test_a_person_is_among_them_is_not_or_cannot_be_told(
    wanted: tuple[str, ...], held: tuple[str, ...], answer: bool | None
) -> None:
    assert asked(policy.Applicability(user_groups=wanted), "on-site", *held) is answer
    assert asked(policy.Applicability(user_groups=wanted), nobody=True) is None


@pytest.mark.parametrize(
    ("place", "groups", "answer"),
    [
        ("on-site", ("a",), True),
        ("unknown", ("a",), None),
        ("unknown", ("b",), False),
        ("off-site", ("a",), False),
        ("on-site", ("b",), False),
        ("on-site", None, None),
        ("unknown", None, None),
        ("off-site", None, False),
    ],
)
def test_place_and_person_must_both_hold(
    place: str, groups: tuple[str, ...] | None, answer: bool | None
) -> None:
    both = policy.Applicability(places=(Place.ON_SITE,), user_groups=("a",))
    assert asked(both, place, *(groups or ()), nobody=groups is None) is answer


# ---- exceptions -------------------------------------------------------------------------------------------


def exception(
    *groups: str, begins: int = 0, ends: int = 0, others: tuple[policy.RuleException, ...] = ()
) -> policy.Applicability:
    one = policy.RuleException(
        exception_id="e", user_groups=groups, not_before_unix_ms=begins, expires_unix_ms=ends
    )
    return policy.Applicability(exceptions=(one, *others))


def test_an_exception_takes_away_only_when_it_is_certain() -> None:
    assert asked(exception("a"), "on-site", "a") is False
    assert asked(exception("a"), "on-site", "b") is True
    assert asked(exception("a"), nobody=True) is True
    assert asked(exception("people:p"), "on-site", "b") is True
    assert asked(exception(), nobody=True) is False
    # Where the rule itself cannot be told, an exception that holds is certain all the same.
    unsure = policy.Applicability(places=(Place.ON_SITE,), exceptions=exception("a").exceptions)
    assert asked(unsure, "unknown", "a") is False
    assert asked(unsure, "unknown", "b") is None


@pytest.mark.parametrize(
    ("begins", "ends", "excepted"),
    [
        (0, 0, True),
        (MONDAY, 0, True),
        (MONDAY + 1, 0, False),
        (0, MONDAY, False),
        (0, MONDAY + 1, True),
        (MONDAY, MONDAY + 1, True),
        (MONDAY - 2, MONDAY - 1, False),
    ],
)
def test_an_exception_begins_and_ends_at_its_millisecond(begins: int, ends: int, excepted: bool) -> None:
    assert asked(exception(begins=begins, ends=ends)) is not excepted
    # One that does not hold does not hide the next.
    next_one = policy.RuleException(exception_id="f", user_groups=("a",))
    assert asked(exception(begins=begins, ends=ends, others=(next_one,)), "on-site", "a") is False


# ---- days and times ---------------------------------------------------------------------------------------


def test_days_and_times_must_both_hold() -> None:
    def both(first: int, last: int, start: int) -> bool | None:
        span = policy.TimeWindow(weekdays=1, from_minute=start, to_minute=start + 60)
        return asked(
            policy.Applicability(times=(span,), days=(policy.DayRange(first_day=first, last_day=last),))
        )

    assert both(DAY, DAY, 600) is True
    assert both(DAY, 0, 600) is True
    assert both(DAY - 9, DAY + 9, 600) is True
    assert both(DAY + 1, 0, 600) is False
    assert both(DAY - 9, DAY - 1, 600) is False
    assert both(DAY, DAY, 601) is False
    assert both(DAY, DAY, 540) is False


@pytest.mark.parametrize(
    ("bounds", "holds_at"),
    [
        # (weekdays, from, to) and hours since Monday midnight at which it holds, of a list of some
        ((1, 600, 660), {10}),
        ((2, 600, 660), {34}),
        ((1, 1380, 60), {23, 24}),
        ((64, 1380, 60), {0, 167}),
        ((32, 1380, 60), {143, 144}),
        ((127, 0, 1440), {0, 9, 10, 11, 23, 24, 33, 34, 35, 47, 48, 143, 144, 167}),
        ((96, 0, 1440), {143, 144, 167}),
    ],
)
def test_a_window_holds_on_its_weekdays_and_past_midnight(
    bounds: tuple[int, int, int], holds_at: set[int]
) -> None:
    midnight = MONDAY - 10 * 3_600_000
    hours = (0, 9, 10, 11, 23, 24, 33, 34, 35, 47, 48, 143, 144, 167)
    found = {hour for hour in hours if asked(window(*bounds), at=midnight + hour * 3_600_000)}
    assert found == holds_at


def test_a_window_past_midnight_ends_at_its_minute() -> None:
    night = window(1, 1380, 60)
    start = MONDAY - 10 * 3_600_000 + 23 * 3_600_000
    assert [asked(night, at=start + by) for by in (-1, 0, 7_199_999, 7_200_000)] == [False, True, True, False]
