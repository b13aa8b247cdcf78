"""Held devices in the console: asked is not done, quiet ones only to whoever holds the ground, and the sheet."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.devices.held import Held, HeldState, held_devices
from schoolkeeper_collector.ingest.changes import Changes
from schoolkeeper_collector.ingest.telling import tell
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from schoolkeeper_proto import model, policy, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import GrantKind
from support.console import SCHOOL, Bench, text_of
from support.granting import DSL, OFFICERS, TECHNICIAN, Person, ends, signed, statement

NOW = 1_795_428_000_000
HOUR = 3_600_000
DEVICE = b"\x01" * 16
PLACE = DEVICE.hex()


def add_device(store: Store, **values: Any) -> None:
    row = {
        "device_no": 1, "school_id": SCHOOL, "device_id": DEVICE, "device_group": "ks2-laptops", "status": "active",
        "simulated": False, "hostname": "laptop-1", "serial": "SN1", "vendor": "", "model": "",
        "operating_system": "Debian 12", "platform": "linux", "agent_version": "1", "machine_hash": b"",
        "key_storage": "file", "token_id": "t", "enrolled_ms": 1, "last_contact_ms": NOW - 1_000,
        "last_address": "192.0.2.7", "spool_pending_events": 0, "spool_oldest_seconds": 0, "skew_ms": 0,
        "bundle_version": 4, **values,
    }  # fmt: skip
    with store.write() as connection:
        connection.execute(insert(tables.devices).values(row))


def ask(store: Store, kind: GrantKind, *people: Person, **fields: Any) -> wire.GrantStatement:
    whom: dict[str, Any] = {
        "school_id": SCHOOL,
        "not_before_unix_ms": NOW - HOUR,
        "expires_unix_ms": NOW + HOUR,
    }
    said = statement(kind, **(whom | fields))
    row = {
        "school_id": SCHOOL, "grant_id": said.grant_id, "grant_bytes": encode(signed(said, *people)),
        "kind": kind.value, "created_ms": NOW - HOUR, "expires_ms": said.expires_unix_ms,
    }  # fmt: skip
    with store.write() as connection:
        connection.execute(insert(tables.grants).values(row))
    return said


def says(store: Store, *bodies: model.Body, at_ms: int = NOW - 60_000) -> None:
    """The device says so, as ingest takes it."""
    changes = Changes(SCHOOL)
    with store.write() as connection:
        for number, body in enumerate(bodies):
            event = model.Event(
                id=model.EventId(bytes(16)),
                wall_unix_ms=at_ms + number,
                monotonic_ms=1,
                boot_id=b"b",
                body=body,
            )
            tell(connection, changes, 1, event, NOW)
        changes.flush(connection, store.keystore, NOW)


def changed(said: wire.GrantStatement, state: str, detail: str = "") -> model.IsolationChanged:
    return model.IsolationChanged(isolated=False, grant_id=said.grant_id, state=state, detail=detail)


def listed(store: Store) -> list[Held]:
    with store.read() as connection:
        return list(held_devices(connection, SCHOOL, OFFICERS, NOW))


def state(store: Store) -> HeldState:
    (one,) = listed(store)
    return one.state


@pytest.mark.requirement("T-62")
def test_what_was_asked_is_done_only_when_the_device_says_so(bench: Bench) -> None:
    store = bench.store
    add_device(store)
    said = ask(store, GrantKind.ISOLATE, TECHNICIAN)
    assert state(store) is HeldState.ASKED
    assert listed(store)[0].by == ("technician",)
    client = bench.signed_in(Role.TECHNICIAN)
    for page in ("/held", f"/devices/{PLACE}"):
        assert "Asked, not yet confirmed: nothing has been heard" in text_of(client.get(page).text)

    says(store, model.GrantApplied(grant_id=said.grant_id), at_ms=NOW - 70_000)
    assert state(store) is HeldState.TAKEN
    for word, shown in (
        ("in-place", "In place, says the device."),
        ("on", "the device reports through it"),
        ("not-confirmed", "it could not reach the collector"),
        ("rolled-back", "NOT in place: it was taken off again"),
        ("failed", "NOT in place: the device could not do it. "),
        ("nobody-knows-this-word", "NOT in place"),
        ("on", "the device reports through it"),
    ):
        says(store, changed(said, word, "why <so>"))
        page = client.get(f"/devices/{PLACE}").text
        assert shown in text_of(page)
        assert "why &lt;so&gt;" in page

    ask(store, GrantKind.RELEASE, TECHNICIAN, DSL, payload=ends(said.grant_id))
    assert state(store) is HeldState.RELEASE_ASKED
    assert "the device may still be held" in text_of(client.get("/held").text)
    says(store, model.GrantEnded(grant_id=said.grant_id, reason="revoked"), changed(said, "off"), at_ms=NOW)
    assert listed(store) == []
    assert "None that you may see." in text_of(client.get("/held").text)


def test_one_whose_time_is_over_is_owed_until_the_device_lets_go(bench: Bench) -> None:
    add_device(bench.store)
    never = ask(bench.store, GrantKind.ISOLATE, TECHNICIAN, expires_unix_ms=NOW - 1)
    assert listed(bench.store) == [], "asked, never heard, over: nothing is in place"
    says(bench.store, changed(never, "on"))
    assert state(bench.store) is HeldState.RELEASE_ASKED


@pytest.mark.requirement("W-104")
def test_a_quiet_one_is_shown_to_whoever_holds_its_ground_and_to_nobody_else(bench: Bench) -> None:
    add_device(bench.store)
    terms = policy.IsolationTerms(quiet=True, ground_by="head", ground_reference="case 2026-14")
    ask(bench.store, GrantKind.ISOLATE, DSL, payload=encode(policy.GrantPayload(isolation=terms)))
    for role in (Role.TECHNICIAN, Role.DSL):
        shown = bench.signed_in(role).get("/held").text
        assert "laptop-1" not in shown
        assert "case 2026-14" not in shown
    assert "Off the network" not in bench.signed_in(Role.TECHNICIAN).get(f"/devices/{PLACE}").text
    seen = text_of(bench.signed_in(Role.HEAD).get("/held").text)
    assert "Ground: case 2026-14" in seen
    assert "A dead network is noticed all the same" in seen


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (None, "Not known whether it is encrypted. Treat it as not encrypted."),
        (("unknown", NOW - HOUR), "Not known whether it is encrypted"),
        (("pass", NOW - HOUR), "Encrypted when last seen at"),
        (("pass", NOW - 30 * HOUR), "too old to say anything"),
        (("fail", NOW - HOUR), "NOT encrypted when last looked at"),
    ],
)
def test_the_sheet_of_a_lost_device_says_encrypted_only_when_it_is_known(
    bench: Bench, check: tuple[str, int] | None, words: str
) -> None:
    store = bench.store
    add_device(store)
    client = bench.signed_in(Role.HEAD)
    assert client.get(f"/held/{PLACE}").status_code == 404, "it is not lost"
    said = ask(store, GrantKind.LOST, DSL)
    says(store, model.IsolationChanged(isolated=True, what="lost", grant_id=said.grant_id, state="in-place"))
    if check is not None:
        row = {
            "school_id": SCHOOL, "device_no": 1, "check_name": "disk-encryption", "result": check[0],
            "since_ms": check[1], "evaluated_ms": check[1], "evidence": "dm-crypt below /", "unknown_because": "",
        }  # fmt: skip
        with store.write() as connection:
            connection.execute(insert(tables.posture).values(row))
    page = text_of(client.get(f"/held/{PLACE}").text)
    assert words in page
    assert ("Encrypted when last seen at" in page) == words.startswith("Encrypted")
    assert "192.0.2.7" in page
    assert "72 hours" in page
    assert "In place, says the device." in page
