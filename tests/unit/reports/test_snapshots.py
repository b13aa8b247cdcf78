"""The technical audit: the same bytes for the same moment, nobody's name, and a signed log that dates it."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update
from typer.testing import CliRunner

from schoolkeeper_collector.cli import make_app
from schoolkeeper_collector.console import registers
from schoolkeeper_collector.devices.inventory import Told, ToldDevice, store_inventory
from schoolkeeper_collector.ledger.sequencer import Sequencer
from schoolkeeper_collector.reports.snapshot import snapshot_bytes
from schoolkeeper_collector.reports.snapshots import (
    Snapshot,
    State,
    Verdict,
    Verifier,
    list_snapshots,
    make_snapshot,
)
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from support.console import SCHOOL, store_at
from support.school import DAY_MS, HOUR_MS, School
from support.stores import ENGINES, StoreUrls

NOW = 1_795_428_000_123  # 2026-11-23T10:00:00.123Z
ASSETS = b"asset_tag,serial,description,platform,assigned_to\nW1,S1,Rowan's laptop,,Rowan Ash\nW2,S2,,,\n"


def fill(store: Store, school_id: str = SCHOOL, order: int = 1) -> None:
    """An enrolled device with three checks, an asset without an agent, one that only Intune tells of."""
    device = {
        "device_no": 1, "school_id": school_id, "device_id": b"\x01" * 16, "device_group": "g", "status": "active",
        "simulated": False, "hostname": "rowans-laptop", "serial": "s1", "vendor": "", "model": "",
        "operating_system": "Debian 12", "platform": "linux", "agent_version": "1", "machine_hash": b"",
        "key_storage": "file", "token_id": "t", "enrolled_ms": 1, "last_contact_ms": NOW - 1_000,
        "bundle_version": 7, "bundle_since_ms": NOW - DAY_MS,
    }  # fmt: skip
    checks = [
        ("disk-encryption", "pass", NOW - HOUR_MS),
        ("local-admins", "fail", NOW - HOUR_MS),
        ("updates", "pass", NOW - 3 * DAY_MS),
    ][::order]
    told = [
        ToldDevice(
            key=key, serial=serial, name=f"Rowan's {key}", operating_system="iOS 17", last_sync_ms=NOW - DAY_MS,
            encryption=Told.YES, compliance="Compliant",
        )
        for key, serial in (("a1", "S3"), ("a2", ""))
    ][::order]  # fmt: skip
    with store.write() as connection:
        connection.execute(insert(tables.devices).values(device))
        for name, result, evaluated in checks:
            row = {"school_id": school_id, "device_no": 1, "check_name": name, "result": result}
            row |= {"since_ms": 5, "evaluated_ms": evaluated, "evidence": "rowan", "unknown_because": ""}
            connection.execute(insert(tables.posture).values(row))
        registers.store_assets(connection, school_id, registers.read_assets(ASSETS, "a.csv"), now_ms=1)
        store_inventory(connection, school_id, "Intune", told, told_ms=NOW - HOUR_MS, now_ms=NOW, actor="t")


def bytes_of(store: Store, at_ms: int = NOW) -> bytes:
    with store.read() as connection:
        return snapshot_bytes(connection, SCHOOL, at_ms, 14)[0]


@pytest.mark.requirement("T-33", "W-67")
@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_moment_gives_the_same_bytes_whatever_the_order_of_rows(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found = []
    for order in (1, -1):
        folder = tmp_path / f"order{order}"
        folder.mkdir()
        urls = StoreUrls.of(engine, folder, request)
        store = store_at(urls.store, urls.keystore)
        fill(store, order=order)
        found += [bytes_of(store), bytes_of(store)]
        with store.write() as connection:
            made = make_snapshot(connection, SCHOOL, NOW, actor="t", stale_days=14)
            again = make_snapshot(connection, SCHOOL, NOW, actor="t", stale_days=14)
            assert made == again
            assert list_snapshots(connection, SCHOOL) == (made,)
        assert bytes_of(store, NOW + 1) != found[0]
        store.close()
    assert len(set(found)) == 1


def test_every_device_is_in_it_with_what_may_be_said_and_nobodys_name(tmp_path: Path) -> None:
    store = store_at(f"sqlite:///{tmp_path}/c.db", f"sqlite:///{tmp_path}/k.db")
    fill(store)
    data = bytes_of(store)
    assert b"owan" not in data, "names of people and of devices, evidence, descriptions"
    told: dict[str, Any] = json.loads(data)
    assert told["as_of"] == "2026-11-23T10:00:00.123Z"
    lines = {(one["serial"] or "none").lower(): one for one in told["devices"]}
    assert set(lines) == {"s1", "s2", "s3", "none"}
    enrolled = lines["s1"]
    assert (enrolled["asset_tag"], enrolled["posture"], enrolled["policy"]["version"]) == ("W1", "fail", 7)
    assert {one["check"]: one["state"] for one in enrolled["checks"]} == {
        "disk-encryption": "pass", "local-admins": "fail", "updates": "stale",
    }  # fmt: skip
    assert lines["s2"]["known_by"] == "asset register only: no agent"
    assert (lines["s2"]["policy"], lines["s2"]["last_seen"], lines["s2"]["posture"]) == (
        None,
        None,
        "unknown",
    )
    assert (lines["s3"]["posture"], lines["s3"]["told"][0]["source"]) == ("unknown", "Intune")
    assert told["counts"]["posture"] == {"pass": 0, "fail": 1, "unknown": 3}
    store.close()


def sign(school: School) -> None:
    """What a running collector does with the queue."""
    sequencer = Sequencer(school.store, school.school_id, school.keys.ledger, "test")
    sequencer.take_office(NOW)
    with school.store.write() as connection:
        sequencer.begin(connection)
        sequencer.finish(connection, NOW)
    sequencer.leave_office()


def verdict(school: School, made: Snapshot, **wrong: Any) -> Verdict:
    with school.store.read() as connection:
        keys = wrong.get("keys", school.keys.ledger_public)
        return Verifier(connection, school.school_id, keys).check(made, wrong.get("body"))


@pytest.mark.requirement("T-33", "W-67")
def test_it_is_dated_and_signed_by_the_log_and_every_change_is_seen(school: School) -> None:
    fill(school.store, school.school_id)
    with school.store.write() as connection:
        made = make_snapshot(connection, school.school_id, NOW, actor="t", stale_days=14)
    assert verdict(school, made).state is State.WAITING
    sign(school)
    good = verdict(school, made)
    assert good.state is State.VERIFIED, good.because
    assert verdict(school, made, keys=()).state is State.UNKNOWN
    assert verdict(school, made, keys=(bytes(32),)).state is State.WRONG
    assert verdict(school, made, body=b"{}").state is State.WRONG
    # Whoever can write to the database changes bytes and hash alike: the log still says otherwise.
    other = b'{"devices":[]}\n'
    with school.store.write() as connection:
        digest = hashlib.sha256(other).digest()
        connection.execute(update(tables.posture_snapshots).values(body=other, sha256=digest))
        (forged,) = list_snapshots(connection, school.school_id)
    assert "does not state it" in verdict(school, forged).because
    with school.store.write() as connection:
        connection.execute(update(tables.posture_snapshots).values(at_ms=NOW + 1))
        (moved,) = list_snapshots(connection, school.school_id)
    assert verdict(school, moved).state is State.WRONG
    with school.store.write() as connection:
        where = tables.ledger_entries.c.leaf_index == good.leaf
        connection.execute(update(tables.ledger_entries).where(where).values(entry=b"\xff"))
    assert verdict(school, made, body=b"{}").state is State.WRONG


def test_the_command_line_makes_lists_shows_and_verifies(
    school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(school.folder))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(make_app(), ["snapshot", *arguments])

    assert "no snapshot was made yet" in run("list").output
    refused = run("show", "latest")
    assert refused.exit_code == 1
    assert "snapshot list" in refused.output
    assert "made " in run("make").output
    waits = run("verify")
    assert (waits.exit_code, waits.output.split()[0]) == (1, "waits")
    sign(school)
    good = run("verify", "latest")
    assert (good.exit_code, good.output.split()[0]) == (0, "verified"), good.output
    assert "0 devices  by shell:" in run("list").output
    file = tmp_path / "audit.json"
    run("show", good.output.split()[1], "--out", str(file))
    assert run("show").stdout_bytes == file.read_bytes()
    assert run("verify", str(file)).exit_code == 0
    file.write_bytes(file.read_bytes() + b" ")
    changed = run("verify", str(file))
    assert changed.exit_code == 1
    assert "none of this school's snapshots" in changed.output
