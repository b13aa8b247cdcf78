"""Accounts without a person and people without an account, counted and listed for the technician."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.detection.accounts_seen import KEEP_MS
from schoolkeeper_collector.store import tables
from schoolkeeper_proto import model
from support.console import new_bench, text_of
from support.detection import HOUR_MS, NOON_MS, Bench, pseudonym, user
from support.stores import StoreUrls


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    made = Bench.make(StoreUrls.of("sqlite", tmp_path, request))
    yield made
    made.store.close()


def sign_in(bench: Bench, device: int, who: model.UserRef, at_ms: int = NOON_MS) -> None:
    bench.event(device, model.SignedIn(session_id="c1", session_type="wayland"), who=who, at_ms=at_ms)


@pytest.mark.requirement("T-36")
@pytest.mark.requirement("W-58")
def test_an_account_without_a_person_is_listed_and_a_person_without_an_account_too(bench: Bench) -> None:
    one, two = bench.device("laptop-1"), bench.device("laptop-2")
    known = bench.person("rowan", "pupil")
    bench.person("kit", "pupil")
    stranger = user("stranger")
    for device, who, hour in ((one, known, 1), (one, stranger, 2), (two, stranger, 5), (one, stranger, 3)):
        sign_in(bench, device, who, NOON_MS + hour * HOUR_MS)
    sign_in(bench, one, user("class-1", model.UserKind.SHARED))
    sign_in(bench, one, model.UserRef(kind=model.UserKind.NONE))
    bench.run()
    console = new_bench(bench.store)
    client = console.signed_in(Role.TECHNICIAN)
    page = text_of(client.get("/accounts").text)
    assert "Devices saw 2 accounts in the last 90 days; the register of people has 2." in page
    assert "On devices and in no register: 1" in page
    assert pseudonym("stranger").hex()[:12] in page
    assert "laptop-1, laptop-2" in page
    assert "In the register and on no device: 1" in page
    assert "kit" in page
    assert "rowan" not in page
    assert console.signed_in(Role.DSL).get("/accounts").status_code == 403
    with bench.store.read() as connection:
        looked = connection.execute(
            select(tables.access_log.c.account_id).where(tables.access_log.c.action == "accounts.listed")
        ).all()
    assert len(looked) == 1


def test_who_left_is_a_stray_only_when_seen_afterwards(bench: Bench) -> None:
    device = bench.device("laptop-1")
    gone, back = bench.person("gone", "pupil"), bench.person("back", "staff")
    for who in (gone, back):
        sign_in(bench, device, who, NOON_MS)
    sign_in(bench, device, back, NOON_MS + 5 * HOUR_MS)
    with bench.store.write() as connection:
        connection.execute(tables.people.update().values(left_ms=NOON_MS + 2 * HOUR_MS))
    bench.run()
    page = text_of(new_bench(bench.store).signed_in(Role.TECHNICIAN).get("/accounts").text)
    assert "On devices and in no register: 1" in page
    assert "back left the register" in page
    assert "gone" not in page
    assert "No register was imported" in page


def test_who_was_not_seen_for_long_is_forgotten(bench: Bench) -> None:
    device = bench.device("laptop-1")
    sign_in(bench, device, user("old"), NOON_MS)
    bench.run()
    assert len(bench.rows("accounts_seen")) == 1
    bench.run(NOON_MS + KEEP_MS + 25 * HOUR_MS)
    assert bench.rows("accounts_seen") == []
