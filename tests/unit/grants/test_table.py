"""The device's table of grants: what begins, is suspended, ends, and never comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.grants import keeping
from schoolkeeper_agent.grants.table import (
    BEHIND_MS,
    SET_BACK,
    Instant,
    Judge,
    Step,
    Table,
    in_force,
    judge_again,
    look,
    next_ms,
    take,
)
from schoolkeeper_proto import model, wire
from schoolkeeper_proto.granting import ground_of
from schoolkeeper_proto.wire import GrantKind
from support.granting import (
    DSL,
    HOUR,
    MINUTE,
    OFFICERS,
    SCHOOL,
    START,
    TECHNICIAN,
    Person,
    app_rule,
    block_payload,
    ends,
    opened,
    signed,
    statement,
)

GROUND = ground_of(opened((app_rule("games", "/usr/games/chess"),)))
JUDGE = Judge(school_id=SCHOOL, device_id=b"d" * 16, group="ks2-laptops", officers=OFFICERS, ground=GROUND)
BOTH = (TECHNICIAN, DSL)


def at(ms: int = 0, *, wall: int | None = None, floor: int | None = None, boot: bytes = b"b" * 16) -> Instant:
    """``ms`` after the grants' start, with every clock right unless it is given."""
    return Instant(
        now=Moment(wall_ms=START + (ms if wall is None else wall), monotonic_ms=1_000_000 + ms),
        boot_id=boot,
        believed_ms=START + ms,
        floor_ms=START + ms if floor is None else floor,
    )


def given(
    said: wire.GrantStatement, *people: Person, table: Table | None = None, now: Instant | None = None
) -> Step:
    return take(table or Table(), signed(said, *(people or BOTH)), JUDGE, now or at())


def reasons(step: Step) -> list[str]:
    return [event.reason for event in step.events if isinstance(event, model.GrantEnded)]


def forces(step: Step, now: Instant) -> list[GrantKind]:
    return [one.kind for one in in_force(step.table, GROUND, now)]


def test_a_grant_is_in_force_from_its_beginning_to_its_end() -> None:
    said = statement(GrantKind.OBSERVE, not_before_unix_ms=START + MINUTE, notice="A trial of an hour.")
    step = given(said)
    assert step.events == ()
    assert forces(step, at()) == []
    assert next_ms(step.table, at()) == MINUTE
    begun = look(step.table, at(MINUTE))
    assert [type(event) for event in begun.events] == [model.GrantApplied]
    assert begun.tell == ("A trial of an hour.",)
    assert forces(begun, at(MINUTE)) == [GrantKind.OBSERVE]
    over = look(begun.table, at(HOUR))
    assert reasons(over) == ["its time is over"]
    assert over.table.held == ()


def test_what_is_sent_again_changes_nothing_and_what_is_over_does_not_come_back() -> None:
    said = statement(GrantKind.OBSERVE)
    first = given(said)
    again = given(said, table=first.table)
    assert again.table is first.table
    assert again.events == ()
    # By its powered-on time it is over long before its expiry: a replay would begin anew.
    short = statement(GrantKind.OBSERVE, powered_on_seconds=60)
    held = given(short)
    over = look(held.table, at(MINUTE))
    assert reasons(over) == ["it has been in force for its whole length"]
    replayed = given(short, table=over.table, now=at(2 * MINUTE))
    assert replayed.events == ()
    assert forces(replayed, at(2 * MINUTE)) == []


@pytest.mark.parametrize("held", [False, True])
def test_a_revocation_ends_a_grant_whether_it_came_before_or_after(held: bool) -> None:
    said = statement(GrantKind.OBSERVE)
    revoke = statement(GrantKind.REVOKE, payload=ends(said.grant_id))
    if held:
        step = given(revoke, TECHNICIAN, table=given(said).table)
    else:
        step = given(said, table=given(revoke, TECHNICIAN).table)
    assert reasons(step) in (["revoked"], ["revoked before it came"])
    assert forces(step, at()) == []


def test_one_officer_cannot_end_a_block_before_it_comes() -> None:
    block = statement(GrantKind.EMERGENCY_BLOCK, payload=block_payload())
    revoke = statement(GrantKind.REVOKE, payload=ends(block.grant_id))
    for people, still in (((TECHNICIAN,), True), (BOTH, False)):
        step = given(block, TECHNICIAN, table=given(revoke, *people).table)
        assert bool(forces(step, at())) is still


def test_a_wall_clock_that_is_set_back_suspends_what_loosens_and_nothing_else() -> None:
    block = statement(GrantKind.EMERGENCY_BLOCK, payload=block_payload())
    held = given(block, TECHNICIAN, table=given(statement(GrantKind.OBSERVE)).table)
    back = at(MINUTE, wall=MINUTE - BEHIND_MS - 1)
    suspended = look(held.table, back)
    assert reasons(suspended) == [SET_BACK]
    assert forces(suspended, back) == [GrantKind.EMERGENCY_BLOCK]
    right = look(suspended.table, at(2 * MINUTE))
    assert [type(event) for event in right.events] == [model.GrantApplied]
    assert forces(right, at(2 * MINUTE)) == [GrantKind.OBSERVE, GrantKind.EMERGENCY_BLOCK]


def test_nothing_loosens_while_nothing_is_known_of_the_time() -> None:
    block = statement(GrantKind.EMERGENCY_BLOCK, payload=block_payload())
    held = given(block, TECHNICIAN, table=given(statement(GrantKind.OBSERVE)).table)
    started = judge_again(held.table, JUDGE, at(MINUTE, floor=0))
    assert started.events == ()
    assert forces(started, at(MINUTE, floor=0)) == [GrantKind.EMERGENCY_BLOCK]


def test_powered_on_time_counts_over_restarts_and_no_clock_can_give_it_back() -> None:
    """Offline, rebooted again and again with the clock at the floor: believed time stands still, use does not."""
    table = given(statement(GrantKind.OBSERVE, minutes=10)).table
    for boot in range(1, 12):
        started = Instant(
            now=Moment(wall_ms=START, monotonic_ms=0),
            boot_id=bytes([boot]) * 16,
            believed_ms=START,
            floor_ms=START,
        )
        ran = replace(started, now=Moment(wall_ms=START, monotonic_ms=MINUTE))
        table = look(look(table, started).table, ran).table
    assert table.held == ()


def test_a_refusal_is_told_once_for_each_reason_and_heals() -> None:
    said = statement(GrantKind.OBSERVE)
    refused = given(said, TECHNICIAN)
    assert "one technical and one safeguarding" in reasons(refused)[0]
    assert given(said, TECHNICIAN, table=refused.table).events == ()
    assert forces(given(said, table=refused.table), at()) == [GrantKind.OBSERVE]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"school_id": "another.example"}, "another school"),
        ({"kind": GrantKind.RELEASE}, "a release must name the grants that end"),
        ({"not_before_unix_ms": START - HOUR, "expires_unix_ms": START}, "expired"),
    ],
)
def test_what_is_refused_says_why(fields: dict[str, object], word: str) -> None:
    said = replace(statement(GrantKind.OBSERVE), **fields)  # type: ignore[arg-type]
    assert word in reasons(given(said))[0]


def test_a_grant_for_others_is_no_news() -> None:
    step = given(statement(GrantKind.OBSERVE, groups=("staff",), device_ids=(b"e" * 16,)))
    assert step == Step(table=Table())


def test_an_officer_who_is_no_longer_one_ends_what_stands_on_the_signature() -> None:
    held = given(statement(GrantKind.OBSERVE))
    step = judge_again(held.table, replace(JUDGE, officers=(TECHNICIAN.officer,)), at())
    assert reasons(step)[0].startswith("no longer permitted: signed by technician alone")
    assert step.table.held == ()


def test_a_device_that_leaves_the_group_leaves_its_grants() -> None:
    held = given(statement(GrantKind.OBSERVE))
    step = judge_again(held.table, replace(JUDGE, group="staff"), at())
    assert step.table.held == ()


def test_the_table_survives_on_the_disk_as_it_is(tmp_path: Path) -> None:
    table = given(statement(GrantKind.OBSERVE)).table
    table = given(
        statement(GrantKind.EMERGENCY_BLOCK, payload=block_payload()), TECHNICIAN, table=table
    ).table
    revoke = statement(GrantKind.REVOKE, payload=ends(b"x" * 16))
    table = given(revoke, TECHNICIAN, table=table).table
    table = given(statement(GrantKind.LESSON, rule_ids=("games",)), table=table).table
    table = look(table, at(MINUTE)).table
    keeping.save(tmp_path, table)
    assert keeping.load(tmp_path) == (table, "")


def test_a_damaged_file_holds_no_grants_and_says_so(tmp_path: Path) -> None:
    assert keeping.load(tmp_path) == (Table(), "")
    keeping.save(tmp_path, given(statement(GrantKind.OBSERVE)).table)
    path = tmp_path / keeping.NAME
    path.write_bytes(path.read_bytes()[:-20])
    table, problem = keeping.load(tmp_path)
    assert table == Table()
    assert str(path) in problem


def test_a_hand_in_the_file_makes_no_right(tmp_path: Path) -> None:
    """Somebody with the disk puts in a grant that one officer signed, and gives it more time than it has."""
    forged = given(statement(GrantKind.EMERGENCY_BLOCK, payload=block_payload()), TECHNICIAN).table
    (one,) = forged.held
    false = signed(statement(GrantKind.OBSERVE), TECHNICIAN)
    held = replace(one, grant=false)
    keeping.save(tmp_path, replace(forged, held=(held,)))
    table, _ = keeping.load(tmp_path)
    step = judge_again(table, JUDGE, at())
    assert step.table.held == ()
