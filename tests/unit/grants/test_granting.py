"""Who must sign what, and what no signature can do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schoolkeeper_proto import policy, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.granting import (
    Ground,
    Permitted,
    Refused,
    check,
    ground_of,
    has_both_duties,
    signers_of,
)
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.wire import GrantKind
from support.granting import (
    DSL,
    OFFICERS,
    SECOND_TECHNICIAN,
    TEACHER,
    TECHNICIAN,
    Person,
    app_rule,
    block_payload,
    ends,
    opened,
    signed,
    statement,
)

LESSONS = policy.Applicability(times=(policy.TimeWindow(weekdays=31, from_minute=540, to_minute=900),))
RULES = (
    app_rule("games", "/usr/games/chess"),
    app_rule("filter", "/usr/bin/tor", safeguarding=True),
    app_rule("timed", "/usr/bin/paint", when=LESSONS),
)
GROUND = ground_of(opened(RULES))


def bounded(**fields: object) -> policy.GrantBound:
    values: dict[str, object] = {"kind": "observe", "max_seconds": 7_200, "duties": ("technician",)}
    return policy.GrantBound(**(values | fields))  # type: ignore[arg-type]


def verdict(
    said: wire.GrantStatement, *people: Person, bounds: tuple[policy.GrantBound, ...] = (), **more: object
) -> Permitted | Refused:
    signers = signers_of(signed(said, *people), OFFICERS)
    return check(said, signers, replace(GROUND, bounds=bounds), **more)  # type: ignore[arg-type]


def permitted(*args: object, **more: object) -> bool:
    return isinstance(verdict(*args, **more), Permitted)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [GrantKind.OBSERVE, GrantKind.EXCEPTION, GrantKind.LESSON])
def test_what_loosens_takes_one_technical_and_one_safeguarding_officer(kind: GrantKind) -> None:
    said = statement(kind, rule_ids=("timed",))
    assert permitted(said, TECHNICIAN, DSL)
    for people in ((), (TECHNICIAN,), (DSL,), (TECHNICIAN, SECOND_TECHNICIAN), (DSL, TEACHER)):
        found = verdict(said, *people)
        assert isinstance(found, Refused), people
        assert "safeguarding" in found.reason or "none of the school's officers" in found.reason


def test_one_key_under_two_names_and_one_person_with_two_keys_are_one_signature() -> None:
    said = statement(GrantKind.OBSERVE)
    alias = replace(DSL.officer, key=TECHNICIAN.officer.key)
    grant = signed(said, TECHNICIAN)
    assert len(signers_of(grant, (TECHNICIAN.officer, alias))) == 1
    twice = replace(DSL.officer, officer_id="technician")
    assert len(signers_of(signed(said, TECHNICIAN, DSL), (TECHNICIAN.officer, twice))) == 1
    assert not has_both_duties((TECHNICIAN.officer, alias))
    assert not has_both_duties((TECHNICIAN.officer, twice))


def test_a_signature_over_anything_else_counts_for_nothing() -> None:
    said = statement(GrantKind.OBSERVE)
    other = signed(statement(GrantKind.OBSERVE), TECHNICIAN, DSL)
    assert signers_of(wire.Grant(statement=encode(said), signatures=other.signatures), OFFICERS) == ()


def test_a_bound_lets_one_officer_grant_within_it_and_not_beyond() -> None:
    bounds = (bounded(rule_ids=("games", "tim*")),)
    assert permitted(statement(GrantKind.OBSERVE, rule_ids=("games",)), TECHNICIAN, bounds=bounds)
    assert permitted(statement(GrantKind.OBSERVE, rule_ids=("games", "timed")), TECHNICIAN, bounds=bounds)
    for said, who in (
        (statement(GrantKind.OBSERVE, rule_ids=("games",), minutes=121), TECHNICIAN),
        (statement(GrantKind.OBSERVE, rule_ids=("games", "filter")), TECHNICIAN),
        (statement(GrantKind.OBSERVE), TECHNICIAN),
        (statement(GrantKind.OBSERVE, rule_ids=("games",)), DSL),
        (statement(GrantKind.EXCEPTION, rule_ids=("games",)), TECHNICIAN),
    ):
        assert not permitted(said, who, bounds=bounds), (said, who)


def test_every_rule_at_once_takes_a_bound_that_says_every_rule() -> None:
    """What no rule names is opened, too: to cover each rule is not enough, and least of all where there is none."""
    said = statement(GrantKind.OBSERVE)
    assert permitted(said, TECHNICIAN, bounds=(bounded(rule_ids=("*",)),))
    assert not permitted(said, TECHNICIAN, bounds=(bounded(rule_ids=("games", "filter", "timed")),))
    bare = Ground(bounds=(bounded(rule_ids=("games",)),))
    assert isinstance(check(said, (TECHNICIAN.officer,), bare), Refused)
    closed = Ground(bounds=(bounded(rule_ids=("*",), max_seconds=0),))
    assert isinstance(check(said, (TECHNICIAN.officer, DSL.officer), closed), Refused)


def test_a_bound_without_rules_spares_what_is_safeguarding() -> None:
    bounds = (bounded(),)
    assert permitted(statement(GrantKind.OBSERVE, rule_ids=("games",)), TECHNICIAN, bounds=bounds)
    assert not permitted(statement(GrantKind.OBSERVE, rule_ids=("filter",)), TECHNICIAN, bounds=bounds)
    assert not permitted(statement(GrantKind.OBSERVE), TECHNICIAN, bounds=bounds)


def test_a_teacher_opens_a_lesson_only_where_a_bound_names_teachers() -> None:
    said = statement(GrantKind.LESSON, rule_ids=("timed",))
    assert not permitted(said, TEACHER)
    assert permitted(said, TEACHER, bounds=(bounded(kind="lesson", duties=("teacher",)),))


def test_what_a_bound_forbids_nobody_grants() -> None:
    bounds = (bounded(rule_ids=("filter",), max_seconds=0, two_person=True),)
    found = verdict(statement(GrantKind.OBSERVE, rule_ids=("filter",)), TECHNICIAN, DSL, bounds=bounds)
    assert isinstance(found, Refused)
    assert "forbids" in found.reason
    assert permitted(statement(GrantKind.OBSERVE, rule_ids=("games",)), TECHNICIAN, DSL, bounds=bounds)


def test_a_bound_for_two_people_says_how_long_they_may() -> None:
    bounds = (bounded(rule_ids=("games",), max_seconds=600, two_person=True),)
    assert permitted(
        statement(GrantKind.OBSERVE, rule_ids=("games",), minutes=10), TECHNICIAN, DSL, bounds=bounds
    )
    assert not permitted(
        statement(GrantKind.OBSERVE, rule_ids=("games",), minutes=10), TECHNICIAN, bounds=bounds
    )
    assert not permitted(statement(GrantKind.OBSERVE, minutes=11), TECHNICIAN, DSL, bounds=bounds)


def test_an_emergency_block_takes_one_signature_lasts_a_day_and_only_tightens() -> None:
    block = statement(GrantKind.EMERGENCY_BLOCK, payload=block_payload(), minutes=24 * 60)
    assert permitted(block, TECHNICIAN)
    assert permitted(block, DSL)
    assert not permitted(block, TEACHER)
    assert not permitted(
        statement(GrantKind.EMERGENCY_BLOCK, payload=block_payload(), minutes=24 * 60 + 1), TECHNICIAN, DSL
    )
    assert not permitted(statement(GrantKind.EMERGENCY_BLOCK), TECHNICIAN)
    for decision in (DecisionKind.ALLOW, DecisionKind.OBSERVE, DecisionKind.WARN):
        loose = statement(GrantKind.EMERGENCY_BLOCK, payload=block_payload(decision=decision))
        assert not permitted(loose, TECHNICIAN, DSL)


def test_rules_travel_with_an_emergency_block_only() -> None:
    said = statement(GrantKind.OBSERVE, payload=block_payload())
    assert not permitted(said, TECHNICIAN, DSL)


@pytest.mark.parametrize(
    ("minutes", "fine"), [(0, False), (1, True), (30 * 1440, True), (30 * 1440 + 1, False)]
)
def test_observe_lasts_one_minute_to_thirty_days(minutes: int, fine: bool) -> None:
    assert permitted(statement(GrantKind.OBSERVE, minutes=minutes), TECHNICIAN, DSL) is fine


def test_ending_what_loosens_takes_one_and_ending_what_tightens_takes_two() -> None:
    revoke = statement(GrantKind.REVOKE, payload=ends(b"g" * 16))
    assert permitted(revoke, TECHNICIAN, held={b"g" * 16: GrantKind.OBSERVE})
    assert not permitted(revoke, TECHNICIAN, held={b"g" * 16: GrantKind.EMERGENCY_BLOCK})
    assert permitted(revoke, TECHNICIAN, DSL, held={b"g" * 16: GrantKind.EMERGENCY_BLOCK})
    assert not permitted(statement(GrantKind.REVOKE), TECHNICIAN, DSL)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"groups": ()}, "names no device"),
        ({"grant_id": b"short"}, "16 bytes"),
        ({"rule_ids": ("absent",)}, "no rule 'absent'"),
        ({"payload": b"\xff\xff"}, "cannot be read"),
        ({"allowed_mode": "off"}, "the mode 'off'"),
    ],
)
def test_a_malformed_grant_is_refused_with_its_reason(fields: dict[str, object], word: str) -> None:
    found = verdict(statement(GrantKind.OBSERVE, **fields), TECHNICIAN, DSL)
    assert isinstance(found, Refused)
    assert word in found.reason


def test_a_lesson_opens_only_what_is_timed_or_for_named_people() -> None:
    found = verdict(statement(GrantKind.LESSON, rule_ids=("games",)), TECHNICIAN, DSL)
    assert isinstance(found, Refused)
    assert "an exception can" in found.reason
