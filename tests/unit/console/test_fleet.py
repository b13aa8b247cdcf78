"""The fleet against the register: nothing unknown or old is shown as fine."""

from typing import Any

import pytest
from sqlalchemy import insert

from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.fleet import (
    SILENT_MS,
    TODAY_MS,
    Contact,
    Device,
    Fleet,
    Remedy,
    load_fleet,
    reach,
)
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from schoolkeeper_proto.model import PostureResult
from support.console import SCHOOL, Bench, text_of

NOW = 1_795_428_000_000


def add_device(store: Store, number: int, **values: Any) -> None:
    row = {
        "device_no": number,
        "school_id": SCHOOL,
        "device_id": bytes([number]) * 16,
        "device_group": "ks2-laptops",
        "status": "active",
        "simulated": False,
        "hostname": f"laptop-{number}",
        "serial": f"SN{number}",
        "vendor": "",
        "model": "",
        "operating_system": "Debian 12",
        "platform": "linux",
        "agent_version": "0.1.0",
        "machine_hash": b"",
        "key_storage": "file",
        "token_id": "t",
        "enrolled_ms": 1,
        "last_contact_ms": NOW - 1_000,
        "bundle_version": 4,
        "spool_pending_events": 0,
        "spool_oldest_seconds": 0,
        "skew_ms": 0,
        **values,
    }
    with store.write() as connection:
        connection.execute(insert(tables.devices).values(row))


def add_check(
    store: Store, number: int, result: str, evaluated_ms: int = NOW - 60_000, name: str = "disk"
) -> None:
    row = {
        "school_id": SCHOOL,
        "device_no": number,
        "check_name": name,
        "result": result,
        "since_ms": NOW - 10 * TODAY_MS,
        "evaluated_ms": evaluated_ms,
        "evidence": "seen",
        "unknown_because": "",
    }
    with store.write() as connection:
        connection.execute(insert(tables.posture).values(row))


def add_asset(store: Store, tag: str, serial: str) -> None:
    row = {
        "school_id": SCHOOL,
        "asset_tag": tag,
        "serial": serial,
        "description": "Laptop",
        "platform": "linux",
        "assigned_to": "Year 4",
        "imported_ms": 1,
    }
    with store.write() as connection:
        connection.execute(insert(tables.assets).values(row))


def fleet(store: Store) -> Fleet:
    with store.read() as connection:
        return load_fleet(connection, SCHOOL, NOW)


def only(store: Store) -> Device:
    (device,) = fleet(store).devices
    return device


@pytest.mark.requirement("T-18")
@pytest.mark.parametrize(
    ("age_ms", "contact"),
    [
        (0, Contact.ONLINE),
        (4 * 60_000, Contact.TODAY),
        (TODAY_MS, Contact.OFFLINE),
        (SILENT_MS, Contact.SILENT),
        (None, Contact.NEVER),
    ],
)
def test_contact_is_said_by_age(store: Store, age_ms: int | None, contact: Contact) -> None:
    add_device(store, 1, last_contact_ms=None if age_ms is None else NOW - age_ms)
    assert only(store).contact is contact


@pytest.mark.parametrize(
    ("results", "shown"),
    [
        ([], PostureResult.UNKNOWN),
        ([("pass", 0)], PostureResult.PASS),
        ([("pass", 0), ("unknown", 0)], PostureResult.UNKNOWN),
        ([("pass", 0), ("fail", 0), ("unknown", 0)], PostureResult.FAIL),
        ([("pass", 0), ("pass", TODAY_MS + 60_001)], PostureResult.UNKNOWN),
        ([("fail", TODAY_MS + 60_001)], PostureResult.UNKNOWN),
        ([("pass", -600_000)], PostureResult.UNKNOWN),
    ],
)
def test_posture_is_never_better_than_what_is_known(
    store: Store, results: list[tuple[str, int]], shown: PostureResult
) -> None:
    add_device(store, 1)
    for number, (result, age) in enumerate(results):
        add_check(store, 1, result, NOW - age, name=f"check-{number}")
    assert only(store).posture is shown


def test_a_device_in_order_needs_nothing_and_each_trouble_its_own_remedy(store: Store) -> None:
    add_device(store, 1)
    add_check(store, 1, "pass")
    assert only(store).remedies == ()
    troubles: list[tuple[dict[str, Any], Remedy]] = [
        ({"proof_failure": "no consistency"}, Remedy.REPAIR_PROOF),
        ({"same_serial_as": bytes(16)}, Remedy.DECIDE_TWIN),
        ({"last_contact_ms": None}, Remedy.FIND),
        ({"bundle_version": 3}, Remedy.GIVE_POLICY),
        ({"bundle_version": 0}, Remedy.GIVE_POLICY),
        ({"spool_oldest_seconds": 7200}, Remedy.EMPTY_SPOOL),
        ({"evicted_events": 1}, Remedy.LOST_EVENTS),
        ({"set_aside_events": 1}, Remedy.LOST_EVENTS),
        ({"skew_ms": -600_000}, Remedy.SET_CLOCK),
    ]
    for number, (values, _) in enumerate(troubles, 2):
        add_device(store, number, **values)
        add_check(store, number, "pass")
    found = {device.device_no: device.remedies for device in fleet(store).devices}
    for number, (values, remedy) in enumerate(troubles, 2):
        assert found[number] == (remedy,), values


@pytest.mark.requirement("T-18")
def test_the_register_is_the_denominator(store: Store) -> None:
    add_device(store, 1)
    add_device(store, 2, last_contact_ms=NOW - 2 * TODAY_MS, serial="SN2 ")
    add_device(store, 3, status="revoked")
    add_asset(store, "W1", "sn1")
    add_asset(store, "W2", "SN2")
    add_asset(store, "W3", "SN3")
    add_asset(store, "W4", "SN4")
    lines = {device.name: device.contact for device in fleet(store).devices}
    assert lines == {
        "laptop-1": Contact.ONLINE,
        "laptop-2": Contact.OFFLINE,
        "laptop-3": Contact.REVOKED,
        "W3": Contact.NO_AGENT,
        "W4": Contact.NO_AGENT,
    }
    with store.read() as connection:
        line = reach(connection, SCHOOL, NOW)
    assert (line.reached, line.all, line.no_agent, line.silent) == (1, 4, 2, 1)


def test_a_device_outside_the_register_is_named_only_when_there_is_one(store: Store) -> None:
    add_device(store, 1)
    assert Remedy.REGISTER not in only(store).remedies
    add_asset(store, "W9", "SN9")
    assert Remedy.REGISTER in fleet(store).devices[0].remedies


@pytest.mark.requirement("T-18")
def test_the_technicians_pages_show_it_all(bench: Bench) -> None:
    add_device(bench.store, 1)
    add_device(
        bench.store, 2, last_contact_ms=None, bundle_version=0, spool_pending_events=None, skew_ms=None
    )
    add_check(bench.store, 1, "pass", name="disk-encryption")
    add_check(bench.store, 1, "fail", name="updates")
    add_check(bench.store, 1, "pass", NOW - 2 * TODAY_MS, name="antivirus")
    add_asset(bench.store, "W7", "SN7")
    client = bench.signed_in(Role.TECHNICIAN)
    front = text_of(client.get("/").text)
    assert "No agent 1" in front
    assert "Silent for a week, or never seen 1" in front
    listed = text_of(client.get("/devices").text)
    assert "laptop-2 Never seen never none unknown unknown not in the register" in listed
    assert "W7 No agent never – unknown unknown W7" in listed
    assert "W7" not in text_of(client.get("/devices?contact=online").text)
    device = text_of(client.get("/devices/" + "01" * 16).text)
    assert "updates Fail" in device
    assert "What to do: Install the updates that wait." in device
    assert "antivirus Unknown: too old" in device
    assert client.get("/devices/" + "09" * 16).status_code == 404
    assert "not independently witnessed" in text_of(client.get("/collector").text)
