"""Who agreed to which version of the rules: from devices' events to the page, for those who may know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.agreements import InForce, State, load_agreements
from schoolkeeper_collector.console.in_force import in_force
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.expiry import Expiry
from schoolkeeper_proto import model
from schoolkeeper_proto.notices.agreement import Band, version_of
from support.console import Clock, new_bench, text_of
from support.detection import HOUR_MS, NOON_MS, SCHOOL, Bench, pseudonym, user
from support.school import GROUP, OTHER_GROUP, School
from support.stores import StoreUrls

DAY_MS = 24 * HOUR_MS
NOW = InForce(versions={"2/new": 366, "2/staff": 0}, bands=frozenset({Band.KS2, Band.STAFF}))
SHOWN = model.AcceptableUseShown(document="aup", document_version="2/new", age_band="ks2", language="cy")
AGREED = model.AcceptableUseAccepted(
    document="aup", document_version="2/new", accepted_by="self", age_band="ks2", language="cy"
)
LATER = model.AcceptableUseDeferred(
    document="aup", document_version="2/new", age_band="ks2", times=1, allowed=3
)


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench.make(StoreUrls.of("sqlite", tmp_path, request))
    yield made
    made.store.close()


def states(bench: Bench, now: InForce = NOW, at_ms: int = NOON_MS + DAY_MS) -> dict[str, State]:
    bench.run()
    with bench.store.read() as connection:
        return {one.name: one.state for one in load_agreements(connection, SCHOOL, now, at_ms).people}


def test_each_person_s_state_is_told_and_never_asked_is_not_unknown(bench: Bench) -> None:
    device = bench.device()
    who = {
        name: bench.person(name, "pupil") for name in ("agrees", "often", "once", "looked", "never", "old")
    }
    bench.person("visitor", "guest")
    bench.event(device, SHOWN, who=who["agrees"])
    bench.event(device, AGREED, who=who["agrees"], at_ms=NOON_MS + 1)
    bench.event(device, LATER, who=who["once"], at_ms=NOON_MS + 1)
    for times in (1, 2, 3, 4):
        bench.event(device, replace(LATER, times=times), who=who["often"], at_ms=NOON_MS + times)
    bench.event(device, SHOWN, who=who["looked"])
    bench.event(device, replace(AGREED, document_version="1/old"), who=who["old"])
    assert states(bench) == {
        "often": State.OFTEN, "once": State.PUT_OFF, "looked": State.SHOWN, "old": State.EARLIER,
        "never": State.NEVER, "agrees": State.AGREED, "visitor": State.NOT_ASKED,
    }  # fmt: skip
    unreadable = InForce(problem="the disk is gone")
    assert set(states(bench, unreadable).values()) == {State.UNKNOWN}


@pytest.mark.requirement("T-19")
def test_a_new_version_leaves_everybody_pending_and_so_do_the_school_s_days(bench: Bench) -> None:
    device = bench.device()
    for name in ("one", "two"):
        bench.event(device, AGREED, who=bench.person(name, "pupil"))
    assert set(states(bench).values()) == {State.AGREED}
    changed = InForce(versions={"3/new": 366}, bands=NOW.bands)
    assert set(states(bench, changed).values()) == {State.EARLIER}
    assert set(states(bench, at_ms=NOON_MS + 367 * DAY_MS).values()) == {State.EARLIER}
    without_end = InForce(versions={"2/new": 0}, bands=NOW.bands)
    assert set(states(bench, without_end, NOON_MS + 367 * DAY_MS).values()) == {State.AGREED}


def test_events_in_another_order_or_from_two_devices_give_the_same_line(bench: Bench) -> None:
    one, two = bench.device("d1"), bench.device("d2")
    who = bench.person("pupil", "pupil")
    bench.event(one, AGREED, who=who, at_ms=NOON_MS + 9)
    bench.event(two, LATER, who=who, at_ms=NOON_MS + 5)
    bench.event(two, SHOWN, who=who, at_ms=NOON_MS + 4)
    bench.event(one, SHOWN, who=who, at_ms=NOON_MS + 1)
    assert states(bench) == {"pupil": State.AGREED}
    (line,) = bench.rows("agreements_seen")
    assert (line["shown_ms"], line["put_off"], line["agreed_ms"]) == (NOON_MS + 4, 1, NOON_MS + 9)
    bench.event(two, LATER, who=who, at_ms=NOON_MS + 20)
    assert states(bench) == {"pupil": State.PUT_OFF}, "asked again, and not answered"


@pytest.mark.requirement("T-19")
def test_names_are_for_those_whom_the_notice_names_and_who_looked_is_written_down(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    school = School(tmp_path_factory.mktemp("school"), pack="westgate-primary")
    held = [in_force(school.folder, school.school_id, group) for group in (GROUP, OTHER_GROUP)]
    assert held[0] is not None
    version = version_of(held[0].bundle, Band.KS2)
    with school.store.write() as connection:
        for name, kind in (("Efa Lloyd", "pupil"), ("Kit Ash", "pupil"), ("class-1", "shared")):
            person = {"school_id": school.school_id, "pseudonym": pseudonym(name), "kind": kind}
            connection.execute(insert(tables.people).values(**person, display_name=name, account_name=name))
        line = {
            "school_id": school.school_id, "pseudonym": pseudonym("Efa Lloyd"), "document": "acceptable-use",
            "version": version, "shared": False, "band": "ks2", "shown_ms": NOON_MS, "put_off": 0, "often": False,
            "put_off_ms": None, "agreed_ms": NOON_MS, "agreed_by": "self", "last_ms": NOON_MS,
        }  # fmt: skip
        connection.execute(insert(tables.agreements_seen).values(line))
    console = new_bench(school.store, Clock(), state_dir=school.folder)
    for role in (Role.DSL, Role.HEAD):
        page = text_of(console.signed_in(role).get("/agreements").text)
        assert "Agreed to what is in force: 1 " in page
        assert "Efa Lloyd" in page
        assert version in page
        assert "Never asked: no device has shown it: 2 " in page
        assert "Kit Ash" in page
    page = text_of(console.signed_in(Role.TECHNICIAN).get("/agreements").text)
    assert "Efa" not in page
    assert "Kit" not in page
    assert "Never asked: no device has shown it 1 0 0 1" in page, "pupils, staff, guests, shared accounts"
    for role in (Role.CHAIR, Role.STAFF):
        assert console.signed_in(role).get("/agreements").status_code == 403
    with school.store.read() as connection:
        looked = connection.execute(
            select(tables.access_log.c.account_id).where(tables.access_log.c.action == "agreements.listed")
        ).all()
    assert len(looked) == 2
    school.close()


def test_a_shared_account_s_answer_is_no_child_s_and_a_stranger_s_is_counted(bench: Bench) -> None:
    device = bench.device()
    bench.person("reception", "shared")
    shared = user("reception", model.UserKind.SHARED)
    bench.event(device, replace(AGREED, accepted_by="staff"), who=shared)
    bench.event(device, AGREED, who=user("nobody in the register"))
    bench.run()
    with bench.store.read() as connection:
        found = load_agreements(connection, SCHOOL, NOW, NOON_MS)
    (one,) = found.people
    assert (one.state, one.kind, one.by, found.unregistered) == (State.AGREED, "shared", "staff", 1)


def test_the_line_is_forgotten_with_its_events(bench: Bench) -> None:
    bench.event(bench.device(), AGREED, who=bench.person("pupil", "pupil"))
    bench.run()
    expiry = Expiry(SCHOOL, bench.store.keystore)
    for at_ms, left in ((NOON_MS + 366 * DAY_MS, 1), (NOON_MS + 366 * DAY_MS + HOUR_MS, 0)):
        for _ in range(50):
            with bench.store.write() as connection:
                step = expiry.step(connection, lambda *_: None, at_ms)  # type: ignore[arg-type]
            expiry.committed(step, at_ms)
            if not expiry.due(at_ms):
                break
        assert len(bench.rows("agreements_seen")) == left
