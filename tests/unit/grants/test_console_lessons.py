"""What the collector's own key may sign: lessons within a bound that names the console, and their end. Nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from schoolkeeper_proto import policy, trust
from schoolkeeper_proto.granting import (
    CONSOLE,
    Officer,
    Permitted,
    Refused,
    check,
    ground_of,
    officers_of,
    signers_of,
)
from schoolkeeper_proto.wire import GrantKind, GrantStatement
from support.granting import (
    DSL,
    OFFICERS,
    TECHNICIAN,
    Person,
    app_rule,
    block_payload,
    ends,
    opened,
    person,
    signed,
    statement,
)

COLLECTOR = person("collector", None)
BY_CONSOLE = replace(COLLECTOR.officer, officer_id=CONSOLE, console=True)
WEEK = 0b0011111
MORNING = policy.TimeWindow(weekdays=WEEK, from_minute=9 * 60, to_minute=12 * 60)
LATER = policy.TimeWindow(weekdays=WEEK, from_minute=13 * 60, to_minute=15 * 60)
BOUND = policy.GrantBound(
    kind="lesson",
    rule_ids=("games",),
    max_seconds=3_600,
    duties=("staff",),
    console=(MORNING, LATER),
    time_zone="Europe/London",
)
RULES = (app_rule("games", "/usr/games/chess"), app_rule("tor", "/usr/bin/tor", safeguarding=True))
MINUTE = 60_000


def at(text: str) -> int:
    """A moment in London, as "2026-11-23 10:00": a Monday."""
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/London")).timestamp() * 1000)


def lesson(begin: str = "2026-11-23 10:00", minutes: int = 45, **fields: object) -> GrantStatement:
    values: dict[str, object] = {"rule_ids": ("games",), "not_before_unix_ms": at(begin)}
    values["expires_unix_ms"] = at(begin) + minutes * MINUTE
    return statement(GrantKind.LESSON, **(values | fields))


def judged(
    said: GrantStatement,
    *people: Person,
    bounds: tuple[policy.GrantBound, ...] = (BOUND,),
    held: dict[bytes, GrantKind] | None = None,
) -> Permitted | Refused:
    signers = signers_of(signed(said, *people), (*OFFICERS, BY_CONSOLE))
    return check(said, signers, ground_of(opened(RULES, bounds)), held=held)


def refused(said: GrantStatement, **options: object) -> str:
    found = judged(said, COLLECTOR, **options)  # type: ignore[arg-type]
    assert isinstance(found, Refused)
    return found.reason


def test_a_lesson_within_the_bound_is_opened() -> None:
    found = judged(lesson(), COLLECTOR)
    assert isinstance(found, Permitted)
    assert found.by == (CONSOLE,)
    for begin, minutes in (("2026-11-23 09:00", 60), ("2026-11-27 11:00", 60), ("2026-11-23 14:00", 60)):
        assert isinstance(judged(lesson(begin, minutes), COLLECTOR), Permitted), begin


@pytest.mark.parametrize(
    ("begin", "minutes"),
    [
        ("2026-11-23 08:59", 30),
        ("2026-11-23 11:30", 31),
        ("2026-11-23 12:30", 45),
        ("2026-11-22 10:00", 45),
        ("2026-11-28 10:00", 45),
        ("2026-11-23 23:45", 30),
        ("2026-07-06 12:00", 45),
    ],
)
def test_outside_its_hours_nothing_is_opened(begin: str, minutes: int) -> None:
    assert "not opened on the console at these hours" in refused(lesson(begin, minutes))


def test_hours_are_the_schools_own_in_summer_too() -> None:
    """At 08:30 UTC in July it is half past nine in London."""
    begin = round(datetime(2026, 7, 6, 8, 30, tzinfo=UTC).timestamp() * 1000)
    said = lesson(not_before_unix_ms=begin, expires_unix_ms=begin + 45 * MINUTE)
    assert isinstance(judged(said, COLLECTOR), Permitted)
    assert isinstance(judged(said, COLLECTOR, bounds=(replace(BOUND, time_zone=""),)), Refused)
    assert "no.such/Zone" in refused(said, bounds=(replace(BOUND, time_zone="no.such/Zone"),))


def test_it_is_no_longer_than_the_bound_and_about_no_other_rule() -> None:
    assert "1 hour at most" in refused(lesson(minutes=61))
    everything = replace(BOUND, kind="lesson", rule_ids=("tor",), console=())
    for rules in (("tor",), ("games", "tor")):
        said = lesson(rule_ids=rules)
        assert "no bound lets staff open the rule 'tor' on the console" in refused(
            said, bounds=(BOUND, everything)
        )


def test_a_bound_that_does_not_name_the_console_opens_nothing_there() -> None:
    for bound in (
        replace(BOUND, console=()),
        replace(BOUND, duties=(), console=()),
        replace(BOUND, two_person=True),
    ):
        assert "no bound lets staff open" in refused(lesson(), bounds=(bound,))


def test_a_longest_time_of_two_persons_holds_for_the_console_too() -> None:
    two = replace(BOUND, console=(), two_person=True, max_seconds=1_800)
    assert "allows 30 minutes at most" in refused(lesson(), bounds=(BOUND, two))


@pytest.mark.parametrize(
    "said",
    [
        statement(GrantKind.OBSERVE, minutes=30),
        statement(GrantKind.EXCEPTION, rule_ids=("games",)),
        statement(GrantKind.EMERGENCY_BLOCK, payload=block_payload()),
        statement(GrantKind.ISOLATE),
        statement(GrantKind.RELEASE, payload=ends(b"3" * 16)),
        statement(GrantKind.LOST),
    ],
    ids=lambda said: str(said.kind),
)
def test_it_signs_no_other_kind_also_where_anybody_may(said: GrantStatement) -> None:
    bounds = tuple(
        replace(BOUND, kind=kind.value, duties=(), rule_ids=("*",), max_seconds=400 * 86_400)
        for kind in GrantKind
        if kind is not GrantKind.REVOKE
    )
    assert "by the collector alone" in refused(said, bounds=bounds)


def test_it_ends_lessons_and_nothing_else() -> None:
    one, other = b"1" * 16, b"2" * 16
    said = statement(GrantKind.REVOKE, payload=ends(one, other))
    lessons = {one: GrantKind.LESSON, other: GrantKind.LESSON}
    assert isinstance(judged(said, COLLECTOR, held=lessons), Permitted)
    for kind in GrantKind:
        if kind is not GrantKind.LESSON:
            assert "can end lessons and nothing else" in refused(said, held=lessons | {other: kind})
    assert "can end lessons" in refused(said, held={one: GrantKind.LESSON}), "one that is not known"


def test_beside_a_persons_signature_it_counts_for_nothing() -> None:
    said = statement(GrantKind.OBSERVE)
    found = judged(said, COLLECTOR, TECHNICIAN)
    assert isinstance(found, Refused)
    assert "signed by technician alone" in found.reason
    both = judged(said, COLLECTOR, TECHNICIAN, DSL)
    assert isinstance(both, Permitted)
    assert CONSOLE not in both.by


def test_the_key_comes_from_the_signed_statement_and_a_persons_key_stays_a_persons() -> None:
    def statement_with(*keys: bytes) -> policy.KeyStatement:
        listed = tuple(policy.VerificationKey(key_id=b"", public_key=key) for key in keys)
        return policy.KeyStatement(
            school_id="s", school_name="S", version=1, issued_unix_ms=0, command_keys=listed
        )

    raw = TECHNICIAN.officer.key
    root = trust.RootView(
        version=1,
        expires_unix_ms=0,
        keys={"t": raw},
        duties={"t": trust.DutyOfKey(officer="technician", duty=trust.Duty.TECHNICAL)},
        roles={"targets": trust.Role(key_ids=("t",), threshold=1)},
    )
    found = officers_of(root, statement_with(COLLECTOR.officer.key, raw))
    assert found == (
        Officer(officer_id="technician", key=raw, duty=trust.Duty.TECHNICAL),
        BY_CONSOLE,
    )
