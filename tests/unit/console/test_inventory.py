"""What other systems tell of devices: as told, once each, and never fine by us."""

import os
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import insert, select
from starlette.testclient import TestClient
from typer.testing import CliRunner

from schoolkeeper_collector.cli import make_app
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.fleet import Contact, Device, Remedy, load_fleet, reach
from schoolkeeper_collector.devices.inventory import DAY_MS
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from schoolkeeper_proto.model import PostureResult
from support.console import OWN_PAGE, SCHOOL, Bench, text_of
from support.school import School

NOW = 1_795_428_000_000
INTUNE = (
    '"Device ID","Device name","Last check-in","OS version","Serial number","Compliance","Encrypted","OS","IMEI"\n'
    '"a1","DESK-1","2026-11-22 14:00:00.0000000","10.0.22631.1","PF1","Compliant","True","Windows",""\n'
    '"a2","iPad 7","2026-10-01 08:00:00.0000000","17.2","DMP2","Not evaluated","False","iOS","35"\n'
    '"a3","laptop-1","2026-11-22 08:00:00.0000000","12","SN1","Compliant","True","Linux",""\n'
)


def add_device(store: Store, number: int) -> None:
    row = {
        "device_no": number, "school_id": SCHOOL, "device_id": bytes([number]) * 16, "device_group": "g",
        "status": "active", "simulated": False, "hostname": f"laptop-{number}", "serial": f"SN{number}",
        "vendor": "", "model": "", "operating_system": "Debian 12", "platform": "linux", "agent_version": "1",
        "machine_hash": b"", "key_storage": "file", "token_id": "t", "enrolled_ms": 1, "last_contact_ms": NOW,
        "bundle_version": 1,
    }  # fmt: skip
    with store.write() as connection:
        connection.execute(insert(tables.devices).values(row))


def add_asset(store: Store, tag: str, serial: str) -> None:
    row = {"school_id": SCHOOL, "asset_tag": tag, "serial": serial, "description": "", "platform": ""}
    with store.write() as connection:
        connection.execute(insert(tables.assets).values(**row, assigned_to="", imported_ms=1))


def send(client: TestClient, data: bytes, **fields: str) -> httpx2.Response:
    answer: httpx2.Response = client.post(
        "/inventory", data={"source": "intune", **fields}, files={"file": ("x.csv", data)}, headers=OWN_PAGE
    )
    return answer


def lines(store: Store, **options: Any) -> dict[str, Device]:
    with store.read() as connection:
        return {device.name: device for device in load_fleet(connection, SCHOOL, NOW, **options).devices}


@pytest.mark.requirement("T-18")
def test_a_device_is_shown_once_as_told_and_never_as_fine(bench: Bench) -> None:
    add_device(bench.store, 1)
    add_asset(bench.store, "W1", "sn1")
    add_asset(bench.store, "W2", "dmp2")
    add_asset(bench.store, "W3", "X3")
    client = bench.signed_in(Role.TECHNICIAN)
    answer = send(client, INTUNE.encode())
    assert answer.status_code == 200
    assert "Intune tells of 3 devices: 3 added, 0 changed, 0 no longer told of" in answer.text
    assert "1 column not taken" in answer.text
    found = lines(bench.store)
    assert set(found) == {"laptop-1", "DESK-1", "iPad 7", "W3"}
    assert found["laptop-1"].contact is Contact.ONLINE
    assert found["laptop-1"].told, "its own page says what Intune says"
    desk, pad = found["DESK-1"], found["iPad 7"]
    assert desk.contact is pad.contact is Contact.TOLD
    assert desk.posture is PostureResult.UNKNOWN, "compliant as told is nothing that we know"
    assert desk.remedies == (Remedy.REGISTER,)
    assert pad.asset is not None
    assert pad.remedies == (Remedy.TOLD_OPEN, Remedy.TOLD_OLD)
    with bench.store.read() as connection:
        line = reach(connection, SCHOOL, NOW)
    assert (line.reached, line.all, line.no_agent) == (1, 4, 3), "what only Intune tells of reaches nobody"
    page = text_of(client.get("/devices").text)
    assert re.search(r"DESK-1 Told by others as told by Intune, .{0,80} not looked at by us", page)
    assert "encrypted, as told: yes" in page
    assert "What other systems tell" in client.get(f"/devices/{(bytes([1]) * 16).hex()}").text


def test_what_was_told_long_ago_is_marked_old(bench: Bench) -> None:
    client = bench.signed_in(Role.TECHNICIAN)
    send(client, INTUNE.encode())
    assert lines(bench.store)["DESK-1"].told[0].stale is False
    assert lines(bench.store, stale_days=1)["laptop-1"].told[0].stale is True
    bench.clock.now_ms += 15 * DAY_MS
    page = text_of(bench.signed_in(Role.TECHNICIAN).get("/devices").text)
    assert "encrypted, as told: unknown (old: yes)" in page


@pytest.mark.parametrize(
    ("data", "fields", "said"),
    [
        (b"", {}, "Choose the CSV file"),
        (b"serial\nS1\n", {"source": "other"}, "Say which system tells"),
        (b"serial\nS1\n", {"source": "other", "name": "x" * 65}, "is no name of 1 to 64 characters"),
        (b"Serial number\n\xe9\n", {}, "The file, line 2: not UTF-8"),
        (INTUNE.replace("2026-11-22 14", "22/11/2026 14").encode(), {}, "line 2: the last contact"),
        (INTUNE.encode(), {"exported_on": "2027-01-01"}, "lies in the future"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(
    bench: Bench, data: bytes, fields: dict[str, str], said: str
) -> None:
    client = bench.signed_in(Role.TECHNICIAN)
    send(client, INTUNE.encode())
    answer = send(client, data, **fields)
    assert answer.status_code == 422
    assert said in text_of(answer.text)
    assert "nothing was changed" in answer.text
    assert len(lines(bench.store)) == 3


def test_a_large_export_fits_and_a_larger_one_is_refused(bench: Bench) -> None:
    client = bench.signed_in(Role.TECHNICIAN)
    rows = "".join(f"S{number},{'n' * 60}\n" for number in range(3000))
    assert send(client, f"serial,name\n{rows}".encode(), source="other", name="GLPI").status_code == 200
    assert send(client, b"x" * (9 << 20)).status_code == 413
    assert client.post("/changes/signatures", content=b"x" * 70_000, headers=OWN_PAGE).status_code == 413


def test_who_imported_what_is_in_the_log_and_only_technicians_may(bench: Bench) -> None:
    send(bench.signed_in(Role.TECHNICIAN), INTUNE.encode())
    assert send(bench.signed_in(Role.DSL), INTUNE.encode()).status_code == 403
    with bench.store.read() as connection:
        rows = connection.execute(
            select(tables.access_log.c.reason).where(tables.access_log.c.action == "inventory.import")
        ).all()
    assert [row.reason for row in rows] == ["Intune: 3 devices"]


def test_the_command_line_takes_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    school = School(tmp_path / "collector")
    school.close()
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(school.folder))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(make_app(), ["inventory", *arguments])

    file = tmp_path / "devices.csv"
    file.write_text("serial,name,last_sync\nS1,one,2026-01-02\n,two,\n")
    refused = run("import", str(file), "--from", "GLPI")
    assert refused.exit_code == 1
    assert "devices.csv, line 3: no serial number and no id" in refused.output
    assert "Nothing was changed." in refused.output
    assert "no other system" in run("list").output
    file.write_text("serial,name,last_sync\nS1,one,2026-01-02\n")
    taken = run("import", str(file), "--from", "GLPI")
    assert "GLPI tells of 1 device: 1 added" in taken.output
    assert "no column for the operating system, its version, encryption" in taken.output
    assert "1 devices, 1 of them old" in run("list").output
    assert run("forget", "Intune").exit_code == 1
    assert "forgotten" in run("forget", "GLPI").output
    assert "no other system" in run("list").output
