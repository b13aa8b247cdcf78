"""What a table remembers of its answers never outlives what they hang on: the millisecond, the place, the person."""

from __future__ import annotations

import pytest

from schoolkeeper_proto import policy
from schoolkeeper_proto.conditions import Circumstances, ZoneClock
from schoolkeeper_proto.matching import ApplicationTable, compile_applications
from schoolkeeper_proto.media_matching import MediaTable
from schoolkeeper_proto.model import DecisionKind, Medium, Place
from schoolkeeper_proto.patterns import PatternTree
from schoolkeeper_proto.policy import MatchBy, MediaAccess

MINUTE = 1_795_428_000_000  # Monday, 23 November 2026, 10:00 UTC
STICK = Medium(kernel_name="sda", serial="S")
TEXT = policy.RuleText(rule_id="r")


def at(ms: int, place: str = "on-site", groups: frozenset[str] | None = frozenset()) -> Circumstances:
    return Circumstances(now_ms=MINUTE + ms, place=place, groups=groups)


def tables(when: policy.Applicability | None) -> tuple[ApplicationTable, MediaTable]:
    program = policy.ApplicationRule(
        text=TEXT,
        decision=DecisionKind.BLOCK,
        matches=(policy.ApplicationMatch(by=MatchBy.FILE_NAME, text="x"),),
        when=when,
    )
    medium = policy.MediaRule(text=TEXT, access=MediaAccess.BLOCK, when=when)
    return (
        compile_applications(policy.ApplicationsSection(rules=(program,))),
        MediaTable(policy.MediaSection(rules=(medium,))),
    )


def said(both: tuple[ApplicationTable, MediaTable], now: Circumstances) -> str:
    """What both say; they must agree."""
    program, medium = both[0].decide("/bin/x", now).decision, str(both[1].decide(STICK, now).access)
    assert program == medium
    return program


@pytest.mark.parametrize("bound", [1, 17, 60_000, 60_001])
def test_an_exception_ends_at_its_millisecond(bound: int) -> None:
    ends = tables(
        policy.Applicability(
            exceptions=(policy.RuleException(exception_id="e", expires_unix_ms=MINUTE + bound),)
        )
    )
    begins = tables(
        policy.Applicability(
            exceptions=(policy.RuleException(exception_id="e", not_before_unix_ms=MINUTE + bound),)
        )
    )
    for _ in range(2):
        assert [said(ends, at(bound - 1)), said(ends, at(bound))] == ["allow", "block"]
        assert [said(begins, at(bound - 1)), said(begins, at(bound))] == ["block", "allow"]


@pytest.mark.parametrize("zone", ["", "UTC", "Europe/London"])
def test_a_window_ends_at_its_minute_to_the_millisecond(zone: str) -> None:
    day = tables(
        policy.Applicability(
            times=(policy.TimeWindow(weekdays=1, from_minute=590, to_minute=600),), time_zone=zone
        )
    )
    night = tables(
        policy.Applicability(
            times=(policy.TimeWindow(weekdays=64, from_minute=1430, to_minute=600),), time_zone=zone
        )
    )
    for one in (day, night):
        assert [said(one, at(-1)), said(one, at(0))] == ["block", "allow"]
    # Sunday's window that passes midnight is not Monday's.
    assert said(night, at(14 * 3_600_000 - 1)) == "allow"
    assert said(day, at(-600_000)) == "block"
    assert said(day, at(-600_001)) == "allow"


@pytest.mark.parametrize(("zone", "offset"), [("UTC", 0), ("America/New_York", 18_000_000)])
def test_days_begin_and_end_at_midnight_of_their_zone(zone: str, offset: int) -> None:
    day = MINUTE // 86_400_000
    both = tables(policy.Applicability(days=(policy.DayRange(first_day=day, last_day=day),), time_zone=zone))
    start = day * 86_400_000 - MINUTE + offset
    answers = [said(both, at(start + ms)) for ms in (-1, 0, 86_399_999, 86_400_000)]
    assert answers == ["allow", "block", "block", "allow"]


def test_another_place_or_person_is_asked_anew() -> None:
    both = tables(policy.Applicability(places=(Place.ON_SITE,), user_groups=("pupils",)))
    pupil, teacher = frozenset({"pupils"}), frozenset({"staff"})
    for _ in range(2):
        assert said(both, at(0, "on-site", pupil)) == "block"
        assert said(both, at(0, "off-site", pupil)) == "allow"
        assert said(both, at(0, "on-site", teacher)) == "allow"
        assert said(both, at(0, "on-site", frozenset({"pupils"}))) == "block"
        assert said(both, at(0, "unknown", None)) == "block"


@pytest.mark.parametrize("where", [(), (Place.ON_SITE,)])
@pytest.mark.parametrize("who", [(), ("pupils",)])
@pytest.mark.parametrize("excepted", [(), ("club",)])
def test_what_a_rule_does_not_ask_for_is_no_reason_to_ask_anew(
    where: tuple[Place, ...], who: tuple[str, ...], excepted: tuple[str, ...]
) -> None:
    """Within a minute: the place counts where a rule asks for it, people where it or an exception does."""
    exceptions = (policy.RuleException(exception_id="e", user_groups=excepted),) if excepted else ()
    table, _ = tables(
        policy.Applicability(
            times=(policy.TimeWindow(weekdays=127, from_minute=0, to_minute=1440),),
            places=where,
            user_groups=who,
            exceptions=exceptions,
        )
    )
    for place in ("on-site", "off-site"):
        for groups in (frozenset({"pupils"}), frozenset({"pupils", "club"}), frozenset({"staff"})):
            refused = (not where or place == "on-site") and (not who or "pupils" in groups)
            refused = refused and not (excepted and "club" in groups)
            first = table.decide("/bin/x", at(0, place, groups))
            assert first.refuses is refused
            for ms in (0, 59_999):
                assert table.decide("/bin/x", at(ms, place, frozenset(groups))) is first
    if not where:
        assert table.decide("/bin/x", at(2, "on-site", frozenset({"staff"}))) is first
    if not who and not excepted:
        assert table.decide("/bin/x", at(3, "off-site", None)) is first


def test_of_two_rules_one_that_asks_for_the_place_is_enough() -> None:
    place = policy.Applicability(places=(Place.ON_SITE,))
    hours = policy.Applicability(times=(policy.TimeWindow(weekdays=127, from_minute=0, to_minute=1440),))
    rules = tuple(
        policy.ApplicationRule(
            text=policy.RuleText(rule_id=decision),
            decision=decision,
            matches=(policy.ApplicationMatch(by=MatchBy.FILE_NAME, text="x"),),
            when=when,
        )
        for decision, when in ((DecisionKind.BLOCK, place), (DecisionKind.WARN, hours))
    )
    table = compile_applications(policy.ApplicationsSection(rules=rules))
    for _ in range(2):
        assert table.decide("/bin/x", at(0, "on-site")).decision == "block"
        assert table.decide("/bin/x", at(0, "off-site")).decision == "warn"


FACTS = [
    (MatchBy.SHA256, "ab" * 32, {"sha256": "ab" * 32}),
    (MatchBy.PACKAGE, "steam", {"package": "steam"}),
    (MatchBy.ORIGIN, "personal", {"origin": "personal"}),
]


@pytest.mark.parametrize(("by", "text", "told"), FACTS)
def test_a_program_of_which_something_else_is_told_is_asked_anew(
    by: MatchBy, text: str, told: dict[str, str]
) -> None:
    rule = policy.ApplicationRule(
        text=TEXT, decision=DecisionKind.BLOCK, matches=(policy.ApplicationMatch(by=by, text=text),)
    )
    table = compile_applications(policy.ApplicationsSection(rules=(rule,)))
    other = {key: "system" if key == "origin" else "other" for key in told}
    for _ in range(2):
        assert table.decide("/bin/x", at(0), **told).refuses
        assert not table.decide("/bin/x", at(0), **other).refuses
        assert not table.decide("/bin/y", at(0), **other).refuses
        assert table.decide("/bin/y", at(0), **told).refuses
    assert table.decide("/bin/z", at(0), **other) is table.decide("/bin/y", at(0), **other)


def test_a_steady_answer_is_the_same_object_and_another_minute_is_not_taken_for_this_one() -> None:
    program, medium = tables(None)
    assert program.decide("/bin/x", at(0)) is program.decide("/bin/x", at(10**9, "off-site", None))
    assert medium.decide(STICK, at(0)) is medium.decide(STICK, at(10**9))
    assert program.decide("/bin/y", at(0)).steady
    window = policy.TimeWindow(weekdays=127, from_minute=600, to_minute=601)
    both = tables(policy.Applicability(times=(window,)))
    assert [said(both, at(ms)) for ms in (0, 59_999, 60_000, 30_000)] == ["block", "block", "allow", "block"]
    assert not both[0].decide("/bin/x", at(0)).steady


def test_more_programs_than_are_remembered_are_still_decided() -> None:
    program, medium = tables(policy.Applicability(places=(Place.ON_SITE,)))
    for number in range(5000):
        assert program.decide(f"/bin/{number}", at(0)).decision == "allow"
    first = program.decide("/bin/other", at(0))
    assert program.decide("/bin/another", at(0)) is first
    for number in range(5000):
        program.decide(f"/bin/{number}", at(0))
    assert program.decide("/bin/other", at(0)) is not first, "what is remembered does not grow for ever"
    for number in range(600):
        assert medium.decide(Medium(kernel_name="sda", serial=str(number)), at(0)).access is MediaAccess.BLOCK
    assert program.decide("/bin/x", at(0)).decision == "block"


def test_a_path_that_is_not_absolute_matches_no_pattern_and_utc_has_no_offset() -> None:
    assert PatternTree([("/**", 1)]).find("bin/x") == set()
    assert PatternTree([("/**", 1)]).find("/bin/x") == {1}
    assert ZoneClock().offset_ms("", MINUTE) == ZoneClock().offset_ms("UTC", MINUTE) == 0
    clock = ZoneClock()
    summer = 1_782_640_800_000
    assert [clock.offset_ms("Europe/London", ms) for ms in (summer, MINUTE, summer)] == [
        3_600_000,
        0,
        3_600_000,
    ]
