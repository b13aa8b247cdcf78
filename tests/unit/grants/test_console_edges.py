"""The collector's own key at the edges of its bounds: to the second, with several windows and several bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schoolkeeper_proto import policy, wire
from schoolkeeper_proto.granting import CONSOLE, Ground, Officer, Permitted, Refused, RuleFacts, check
from schoolkeeper_proto.wire import GrantKind
from support.granting import statement

MONDAY = 1_795_392_000_000  # 23 November 2026, midnight UTC
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
COLLECTOR = Officer(officer_id=CONSOLE, key=b"c" * 32, console=True)
RULES = {"games": RuleFacts(opens=True), "film": RuleFacts(opens=True)}


def window(start: int, end: int, weekdays: int = 1) -> policy.TimeWindow:
    return policy.TimeWindow(weekdays=weekdays, from_minute=start, to_minute=end)


def bound(*windows: policy.TimeWindow, seconds: int = 3_600, **fields: object) -> policy.GrantBound:
    values: dict[str, object] = {"kind": "lesson", "rule_ids": ("games",), "console": windows}
    return policy.GrantBound(max_seconds=seconds, **(values | fields))  # type: ignore[arg-type]


def asked(
    begin_ms: int, seconds: int, *bounds: policy.GrantBound, rules: tuple[str, ...] = ("games",)
) -> str:
    """Empty where it is opened, else the reason."""
    begin = MONDAY + begin_ms
    said: wire.GrantStatement = statement(
        GrantKind.LESSON, rule_ids=rules, not_before_unix_ms=begin, expires_unix_ms=begin + seconds * 1000
    )
    found = check(said, (COLLECTOR,), Ground(bounds=bounds, rules=RULES))
    if isinstance(found, Permitted):
        assert found.by == (CONSOLE,)
        return ""
    assert isinstance(found, Refused)
    return found.reason


def test_a_window_holds_from_its_first_to_its_last_millisecond() -> None:
    morning = bound(window(540, 600))
    assert asked(9 * HOUR, 3_600, morning) == ""
    assert asked(10 * HOUR - MINUTE, 60, morning) == ""
    for begin in (9 * HOUR - 1, 10 * HOUR - MINUTE + 1, 10 * HOUR, 8 * HOUR):
        assert "at these hours" in asked(begin, 60, morning)
    midnight = bound(window(1380, 1440))
    assert asked(23 * HOUR, 3_600, midnight) == ""
    assert "at these hours" in asked(23 * HOUR + 1, 3_600, midnight)
    assert asked(0, 60, bound(window(0, 60))) == ""


@pytest.mark.parametrize("day", range(14))
def test_a_window_holds_on_its_own_weekdays(day: int) -> None:
    for weekday in range(7):
        found = asked(day * DAY + 9 * HOUR, 60, bound(window(540, 600, 1 << weekday)))
        assert (found == "") is (day % 7 == weekday)
    assert asked(day * DAY + 9 * HOUR, 60, bound(window(540, 600, 127))) == ""


def test_one_window_of_several_is_enough_and_two_are_not_joined() -> None:
    two = bound(window(540, 600), window(600, 660))
    assert asked(9 * HOUR, 60, two) == asked(10 * HOUR, 60, two) == ""
    assert "at these hours" in asked(10 * HOUR - MINUTE, 120, two)


def test_the_length_is_that_of_a_bound_whose_hours_these_are() -> None:
    short, long = bound(window(540, 660), seconds=600), bound(window(780, 900), seconds=3_600)
    for pair in ((short, long), (long, short)):
        assert asked(9 * HOUR, 600, *pair) == ""
        assert asked(13 * HOUR, 3_600, *pair) == ""
        assert "at these hours" in asked(9 * HOUR, 601, *pair)
        assert asked(13 * HOUR, 3_601, *pair) == (
            "on the console the rule 'games' is opened for 1 hour at most, not 3601 seconds"
        )


def test_each_rule_needs_a_bound_of_its_own() -> None:
    games, film = bound(window(540, 600)), bound(window(600, 660), rule_ids=("film",))
    assert asked(9 * HOUR, 60, games, film) == asked(10 * HOUR, 60, games, film, rules=("film",)) == ""
    assert "'film' is not opened on the console at these hours" in asked(
        9 * HOUR, 60, games, film, rules=("games", "film")
    )
    assert "no bound lets staff open the rule 'film'" in asked(9 * HOUR, 60, games, rules=("games", "film"))
    both = bound(window(540, 600), rule_ids=("games", "film"))
    assert asked(9 * HOUR, 60, both, rules=("games", "film")) == ""
    other_kind = replace(both, kind="observe")
    assert "no bound lets staff" in asked(9 * HOUR, 60, other_kind)


def test_a_persons_officer_is_no_console() -> None:
    assert not Officer(officer_id="x", key=b"x").console


def test_two_keys_of_the_collector_are_named_once() -> None:
    """A key that is being replaced beside the one that replaces it."""
    begin = MONDAY + 9 * HOUR
    said = statement(
        GrantKind.LESSON, rule_ids=("games",), not_before_unix_ms=begin, expires_unix_ms=begin + MINUTE
    )
    both = (COLLECTOR, replace(COLLECTOR, key=b"d" * 32))
    found = check(said, both, Ground(bounds=(bound(window(540, 600)),), rules=RULES))
    assert isinstance(found, Permitted)
    assert found.by == (CONSOLE,)
