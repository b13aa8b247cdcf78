"""Isolation, a lost device and their release: who must sign, what a clock cannot do, what ends them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.grants.table import Instant, Judge, Step, Table, holds, in_force, look, next_ms, take
from schoolkeeper_proto import granting, model, policy, trust, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.granting import ground_of
from schoolkeeper_proto.wire import GrantKind
from support.granting import (
    DAY,
    DSL,
    HOUR,
    MINUTE,
    OFFICERS,
    SCHOOL,
    START,
    TECHNICIAN,
    Person,
    app_rule,
    ends,
    opened,
    person,
    signed,
    statement,
)

HEAD = person("head", trust.Duty.SAFEGUARDING, "head")
SIGNERS = (*OFFICERS, HEAD.officer)
BOUND = policy.GrantBound(kind="release", rule_ids=("*",), max_seconds=86_400, duties=("technician",))
GROUND = ground_of(opened((app_rule("games", "/usr/games/chess"),), bounds=(BOUND,)))
JUDGE = Judge(school_id=SCHOOL, device_id=b"d" * 16, group="ks2-laptops", officers=SIGNERS, ground=GROUND)


def at(ms: int = 0, *, floor: int | None = None, believed: int | None = None) -> Instant:
    return Instant(
        now=Moment(wall_ms=START + ms, monotonic_ms=1_000_000 + ms),
        boot_id=b"b" * 16,
        believed_ms=START + ms if believed is None else believed,
        floor_ms=START + ms if floor is None else floor,
    )


def given(
    said: wire.GrantStatement, *people: Person, table: Table | None = None, now: Instant | None = None
) -> Step:
    return take(table or Table(), signed(said, *people), JUDGE, now or at())


def kinds(step: Step, now: Instant | None = None) -> list[GrantKind]:
    return [one.kind for one in in_force(step.table, GROUND, now or at())]


def reason(step: Step) -> str:
    return next(event.reason for event in step.events if isinstance(event, model.GrantEnded))


def quiet(*, by: str = "head", where: str = "case 2026-14") -> bytes:
    terms = policy.IsolationTerms(quiet=True, ground_by=by, ground_reference=where)
    return encode(policy.GrantPayload(isolation=terms))


@pytest.mark.requirement("T-62")
@pytest.mark.parametrize("kind", [GrantKind.ISOLATE, GrantKind.LOST])
def test_one_officer_confines_and_only_two_people_release(kind: GrantKind) -> None:
    said = statement(kind)
    step = given(said, TECHNICIAN)
    assert kinds(step) == [kind]

    release = statement(GrantKind.RELEASE, payload=ends(said.grant_id))
    alone = given(release, TECHNICIAN, table=step.table)
    assert "two people" in reason(alone), "even where the policy names a bound for a technician"
    assert kinds(alone) == [kind]
    both = given(release, TECHNICIAN, DSL, table=alone.table)
    assert kinds(both) == []
    assert given(said, TECHNICIAN, table=both.table).table == both.table, "it does not come back"


def test_a_release_that_comes_first_ends_what_comes_after_it() -> None:
    said = statement(GrantKind.ISOLATE)
    first = given(statement(GrantKind.RELEASE, payload=ends(said.grant_id)), TECHNICIAN, DSL)
    assert kinds(given(said, TECHNICIAN, table=first.table)) == []


def test_a_release_ends_nothing_else() -> None:
    said = statement(GrantKind.OBSERVE)
    held = given(said, TECHNICIAN, DSL)
    step = given(statement(GrantKind.RELEASE, payload=ends(said.grant_id)), TECHNICIAN, DSL, table=held.table)
    assert "a revocation the rest" in reason(step)
    assert kinds(step) == [GrantKind.OBSERVE]


@pytest.mark.requirement("W-104")
def test_a_quiet_isolation_needs_the_head_s_recorded_ground_and_signature() -> None:
    step = given(statement(GrantKind.ISOLATE, payload=quiet()), TECHNICIAN, HEAD)
    (one,) = in_force(step.table, GROUND, at())
    assert one.quiet
    assert step.tell == ()
    for said, people, word in (
        (statement(GrantKind.ISOLATE, payload=quiet()), (TECHNICIAN, DSL), "must be signed by the head"),
        (statement(GrantKind.ISOLATE, payload=quiet(by="chair")), (TECHNICIAN, HEAD), "by the chair"),
        (
            statement(GrantKind.ISOLATE, payload=quiet(by="technician")),
            (TECHNICIAN, HEAD),
            "head or the chair",
        ),
        (statement(GrantKind.ISOLATE, payload=quiet(where=" ")), (TECHNICIAN, HEAD), "its number"),
        (
            statement(GrantKind.ISOLATE, payload=quiet(), notice="Hello"),
            (HEAD,),
            "says nothing at the device",
        ),
        (statement(GrantKind.ISOLATE, payload=quiet(), minutes=31 * 24 * 60), (HEAD,), "30 days at most"),
        (statement(GrantKind.LOST, payload=quiet()), (HEAD,), "carries no terms"),
    ):
        refused = given(said, *people)
        assert word in reason(refused)
        assert kinds(refused) == []
    assert not in_force(given(statement(GrantKind.ISOLATE), HEAD).table, GROUND, at())[0].quiet


def test_it_ends_offline_at_its_expiry_and_no_wall_clock_ends_or_lifts_it() -> None:
    held = given(statement(GrantKind.ISOLATE, minutes=60), TECHNICIAN).table
    # After a start, before anything is known of the time: set forward, and set back.
    for wall in (START + 400 * DAY, START - 400 * DAY):
        unknown = at(MINUTE, floor=0, believed=wall)
        step = look(held, unknown)
        assert kinds(step, unknown) == [GrantKind.ISOLATE]
        assert not step.events
        wait = next_ms(step.table, unknown)
        assert wait is not None
        assert wait > 0, "nothing is looked at over and over"
    over = look(held, at(HOUR))
    assert kinds(over, at(HOUR)) == []
    assert reason(over) == "its time is over"
    # Without any signed time it ends once it was in force for its whole length with the machine on.
    alone = look(look(held, at(1, floor=0)).table, at(HOUR + 2, floor=0))
    assert kinds(alone, at(HOUR + 2, floor=0)) == []


def test_while_a_device_is_lost_nothing_is_loosened_on_it() -> None:
    opened_first = given(statement(GrantKind.OBSERVE), TECHNICIAN, DSL)
    assert kinds(opened_first) == [GrantKind.OBSERVE]
    lost = given(statement(GrantKind.LOST), DSL, table=opened_first.table)
    assert kinds(lost) == [GrantKind.LOST]
    (released,) = [one for one in lost.table.held if one.statement.kind is GrantKind.LOST]
    back = given(
        statement(GrantKind.RELEASE, payload=ends(released.statement.grant_id)),
        TECHNICIAN,
        DSL,
        table=lost.table,
    )
    assert kinds(back) == [GrantKind.OBSERVE]
    assert all(holds(one, at()) for one in back.table.held)


def test_the_officer_s_program_and_the_collector_ask_the_same() -> None:
    said = statement(GrantKind.RELEASE, payload=ends(b"i" * 16))
    found = granting.check(said, (TECHNICIAN.officer,), GROUND)
    assert isinstance(found, granting.Refused)
    held = {b"i" * 16: GrantKind.ISOLATE}
    assert isinstance(
        granting.check(said, (TECHNICIAN.officer, DSL.officer), GROUND, held=held), granting.Permitted
    )
    assert isinstance(granting.check(replace(said, payload=b""), SIGNERS, GROUND), granting.Refused)
