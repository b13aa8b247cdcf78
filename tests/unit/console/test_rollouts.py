"""The pages of a rollout and of requests: what is unknown is said to be, who may decide, and what a decision does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.fleet import Remedy, load_fleet
from schoolkeeper_collector.devices.orders import commands_of
from schoolkeeper_collector.ingest.directives import DirectiveSource
from schoolkeeper_collector.rollout import requests
from schoolkeeper_collector.rollout.running import Rollouts
from schoolkeeper_collector.store.tables import access_log, exception_requests
from schoolkeeper_policies.officer.verifying import open_whole
from schoolkeeper_proto import policy, wire
from schoolkeeper_proto.codec import decode
from schoolkeeper_proto.trust import bundle_target, target_file_name
from support.console import Bench, Clock, new_bench, post, text_of
from support.rollouts import add_device, publish_rollout
from support.school import DAY_MS, GROUP, School

PILOT, OLD, LOST = (bytes([n]) * 16 for n in (1, 2, 3))
RINGS = (
    policy.RolloutRing(name="pilot", device_ids=(PILOT,)),
    policy.RolloutRing(name="all", per_mille=1000),
)


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path / "school")
    yield made
    made.close()


@pytest.fixture
def bench(school: School) -> Bench:
    """A console over a whole school, so that its pages read what officers published."""
    return new_bench(school.store, Clock(school.now_ms()), state_dir=school.folder)


def begin(school: School, now_ms: int) -> None:
    """The pilot has version 2, one has version 1, one was never heard of."""
    held = school.repository.current().bundles[GROUP]
    plan = publish_rollout(school, RINGS, policy.RolloutTerms(in_lessons_because="test"))
    with school.store.write() as connection:
        add_device(
            connection,
            school,
            PILOT,
            "pilot",
            last_contact_ms=now_ms,
            bundle=(plan.to_bundle_hash, 2, now_ms),
        )
        add_device(
            connection, school, OLD, "old", last_contact_ms=now_ms - 3 * DAY_MS, bundle=(held[0], 1, now_ms)
        )
        add_device(connection, school, LOST, "lost", last_contact_ms=None)
    Rollouts(school.store, school.repository, school.school_id, school.keys.online, school.folder).step(
        now_ms
    )


def test_a_rollout_is_shown_ring_by_ring_and_unknown_is_never_fine(school: School, bench: Bench) -> None:
    begin(school, bench.clock.now_ms)
    page = text_of(bench.signed_in(Role.TECHNICIAN).get("/rollouts").text)
    assert f"{GROUP}: version 1 to 2 running" in page
    assert "Ring Devices online now fine new, being tried waiting refuses it not heard today unknown" in page
    assert "pilot open 1 1 – 1 – – – –" in page
    assert "all closed 2 – – – – – 1 1" in page
    # Who runs what since when, by hash; of what was not heard nobody claims to know.
    assert "version 2 1 1 today" in page
    assert "version 1 older 1 0 1 not heard today" in page
    assert "not known 1 0" in page


def test_who_waits_for_their_ring_needs_no_policy_and_who_has_none_does(school: School, bench: Bench) -> None:
    begin(school, bench.clock.now_ms)
    with school.store.read() as connection:
        fleet = load_fleet(connection, school.school_id, bench.clock.now_ms)
    need = {d.hostname for d in fleet.devices if Remedy.GIVE_POLICY in d.remedies}
    assert need == {"lost"}
    assert {d.hostname for d in fleet.devices if d.behind} == {"old", "lost"}


def test_a_technician_pauses_with_a_reason_and_it_is_on_the_record(school: School, bench: Bench) -> None:
    begin(school, bench.clock.now_ms)
    client = bench.signed_in(Role.TECHNICIAN)
    assert post(client, f"/rollouts/{GROUP}", action="pause", reason=" ").status_code == 422
    assert post(client, f"/rollouts/{GROUP}", action="pause", reason="the head asks").status_code == 303
    page = text_of(client.get("/rollouts").text)
    assert "paused" in page
    assert "technician: paused; the head asks" in page
    assert post(client, f"/rollouts/{GROUP}", action="pause", reason="again").status_code == 422
    with school.store.read() as connection:
        assert "rollout.pause" in connection.execute(select(access_log.c.action)).scalars().all()
    # The console holds no key: the collector's own process tells devices.
    stage = school.repository.current().stage
    assert stage is not None
    assert not stage.groups[0].paused
    Rollouts(
        school.store, school.repository, school.school_id, school.keys.online, school.folder
    ).tell_devices(bench.clock.now_ms)
    stage = school.repository.current().stage
    assert stage is not None
    assert stage.groups[0].paused


def test_without_a_rollout_the_page_says_how_to_go_in_rings(school: School, bench: Bench) -> None:
    page = text_of(bench.signed_in(Role.TECHNICIAN).get("/rollouts").text)
    assert "No rollout: every device takes its group's newest policy at once." in page.replace("&#39;", "'")
    assert "No device is enrolled." in page


def ask(school: School, request_id: bytes, rule_id: str, now_ms: int) -> None:
    with school.store.write() as connection:
        number = add_device(connection, school, request_id, "laptop-7", last_contact_ms=now_ms)
        connection.execute(
            insert(exception_requests).values(
                school_id=school.school_id, request_id=request_id, device_no=number, asked_ms=now_ms,
                received_ms=now_ms, rule_id=rule_id, reason="lesson", wanted="Minetest", reference="R-7",
                asked_by=b"p" * 16, state="waiting",
            )
        )  # fmt: skip


def rules(school: School) -> dict[bool, str]:
    """A rule in force that is for safeguarding, and one that is not."""
    sha256 = school.repository.current().bundles[GROUP][0].hex()
    data = school.repository.read_file(f"targets/{target_file_name(bundle_target(GROUP), sha256)}")
    opened = open_whole(data, school.school_id, GROUP)
    return {rule.text.safeguarding: rule.text.rule_id for rule in opened.applications.rules}


def test_the_technician_approves_and_is_told_what_officers_sign(school: School, bench: Bench) -> None:
    rule = rules(school).get(False)
    if rule is None:
        pytest.skip("the default pack has no rule that is not for safeguarding")
    ask(school, PILOT, rule, bench.clock.now_ms)
    client = bench.signed_in(Role.TECHNICIAN)
    page = text_of(client.get("/requests").text)
    assert "laptop-7 was refused: Minetest waiting" in page
    assert "for a lesson; number R-7" in page
    assert "70707070" not in page, "nobody's pseudonym"
    assert post(client, f"/requests/{PILOT.hex()}", decision="approve", because="").status_code == 422
    assert post(client, f"/requests/{PILOT.hex()}", decision="approve", because="lesson 3").status_code == 303
    page = text_of(client.get("/requests").text)
    assert f"grant new --kind exception --device {PILOT.hex()} --rule {rule}" in page
    assert post(client, f"/requests/{PILOT.hex()}", decision="decline", because="no").status_code == 422
    assert "Nobody has asked" in bench.signed_in(Role.DSL).get("/requests").text


def test_who_asks_twice_for_the_same_has_one_request_and_one_decision(school: School, bench: Bench) -> None:
    rule, now_ms = "no.such.rule", bench.clock.now_ms
    ask(school, PILOT, rule, now_ms)
    again, other, nobody = b"2" * 16, b"3" * 16, b"4" * 16
    with school.store.write() as connection:
        held = connection.execute(select(exception_requests)).mappings().one()
        for request_id, later, changed in (
            (again, 60_000, {"reference": "R-8"}),
            (other, 120_000, {"reference": "R-9", "asked_by": b"q" * 16}),
            (nobody, 130_000, {"reference": "R-0", "asked_by": b""}),
        ):
            row = dict(held) | {"request_id": request_id, "asked_ms": now_ms + later} | changed
            connection.execute(insert(exception_requests).values(row))
    with school.store.read() as connection:
        assert requests.waiting(connection, school.school_id) == 3
    found = {one.reference: one for one in requests.requests(school.store, school.school_id, now_ms)}
    assert found.keys() == {"R-7, R-8", "R-9", "R-0"}
    assert (found["R-7, R-8"].asks, found["R-7, R-8"].request_id) == (2, PILOT)
    dsl = bench.signed_in(Role.DSL)
    assert ", 2 times, for a lesson; number R-7, R-8" in text_of(dsl.get("/requests").text)
    assert post(dsl, f"/requests/{PILOT.hex()}", decision="decline", because="no").status_code == 303
    with school.store.read() as connection:
        states = dict(
            connection.execute(select(exception_requests.c.request_id, exception_requests.c.state)).all()
        )
    assert states == {PILOT: "declined", again: "declined", other: "waiting", nobody: "waiting"}
    after = {one.reference: one for one in requests.requests(school.store, school.school_id, now_ms)}
    assert after["R-7, R-8"].state == "declined"


@pytest.mark.parametrize("gone", [True, False])
def test_of_a_safeguarding_rule_the_dsl_decides_and_the_technician_does_not(
    school: School, bench: Bench, gone: bool
) -> None:
    """A rule that is not in force any more counts as one: nobody knows what it was for."""
    rule = "no.such.rule" if gone else rules(school).get(True, "no.such.rule")
    ask(school, PILOT, rule, bench.clock.now_ms)
    technician, dsl = bench.signed_in(Role.TECHNICIAN), bench.signed_in(Role.DSL)
    for client in (technician, dsl):
        assert "the DSL or the head decides" in text_of(client.get("/requests").text)
    assert post(technician, f"/requests/{PILOT.hex()}", decision="approve", because="x").status_code == 404
    assert (
        post(dsl, f"/requests/{PILOT.hex()}", decision="decline", because="not in lessons").status_code == 303
    )
    assert "declined" in text_of(technician.get("/requests").text)


def test_a_no_goes_to_the_device_with_the_words_for_whoever_asked_and_not_with_the_reason(
    school: School,
) -> None:
    clock = Clock(school.now_ms())
    bench = new_bench(school.store, clock, state_dir=school.folder, lesson_signer=school.keys.command)
    ask(school, PILOT, "no.such.rule", bench.clock.now_ms)
    dsl = bench.signed_in(Role.DSL)
    sent = {"decision": "decline", "because": "we worry about this child", "for_asker": "Come and see me."}
    answer = post(dsl, f"/requests/{PILOT.hex()}", None, **sent)
    assert (answer.status_code, answer.headers["location"]) == (303, "/requests")
    (found,) = DirectiveSource(school.store, school.school_id).poll(bench.clock.now_ms).commands
    statement = decode(wire.CommandStatement, found.command.statement)
    assert statement.device_id == PILOT
    assert statement.expires_unix_ms == bench.clock.now_ms + 14 * DAY_MS
    assert statement.order == wire.RequestDeclined(
        reference="R-7", rule_id="no.such.rule", decided_by="dsl", words="Come and see me.",
        decided_unix_ms=bench.clock.now_ms,
    )  # fmt: skip
    assert b"worry" not in found.command.statement
    with school.store.read() as connection:
        (line,) = commands_of(connection, school.school_id, PILOT, bench.clock.now_ms)
    assert (line.word, line.state) == ("request-declined", "waiting")


def test_where_the_device_cannot_be_told_the_page_says_so(school: School, bench: Bench) -> None:
    ask(school, PILOT, "no.such.rule", bench.clock.now_ms)
    dsl = bench.signed_in(Role.DSL)
    answer = post(dsl, f"/requests/{PILOT.hex()}", decision="decline", because="no")
    assert "Tell them yourself" in text_of(dsl.get(answer.headers["location"]).text)
