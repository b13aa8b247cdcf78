"""The recovery key of an encrypted stick: the server finds it by its number and cannot read it; a technician can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from schoolkeeper_collector.cli import make_app
from schoolkeeper_collector.devices.recovery_keys import escrowed
from schoolkeeper_collector.ledger.proofs import event_proof
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_policies.officer import keyfile
from schoolkeeper_policies.officer.recovery_cli import recovery_key
from schoolkeeper_proto import model, sealing
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.trust import Duty
from support.collector import Collector, TestSchool, add_school
from support.device import NOW_MS, SimulatedDevice, started
from support.school import School
from support.stores import migrated

SCHOOL = TestSchool()
TECHNICIAN = keyfile.new_keys("technician", Duty.TECHNICAL)
KEY = b"abacus-badger-cello"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    urls = f"sqlite:///{tmp_path}/collector.db", f"sqlite:///{tmp_path}/keystore.db"
    migrated(*urls)
    store = open_store(*urls)
    add_school(store)
    yield store
    store.close()


@pytest.fixture
def collector(store: Store) -> Iterator[Collector]:
    collector = Collector(store, SCHOOL)
    yield collector
    collector.close()


def encrypted(device: SimulatedDevice, reference: str) -> bytes:
    """The event as a device makes it before it overwrites the first byte."""
    event_id = os.urandom(16)
    binding = sealing.Binding(
        school_id=SCHOOL.school_id, device_id=device.identity.device_id, epoch=device.epoch
    )
    context = sealing.FieldContext(binding=binding, event_id=event_id, category="media.recovery-key")
    to = [sealing.Recipient(name="technician", public_key=TECHNICIAN.sealing.public_key())]
    body = model.MediumEncrypted(
        medium=model.Medium(kernel_name="sdb", bus="usb", vendor_id="0781", product_id="5581"),
        state="begun",
        recovery_key=sealing.seal_field(KEY, model.SealingScheme.ANY_ONE, to, context),
        reference=reference,
    )
    return encode(
        model.Event(
            id=model.EventId(event_id), wall_unix_ms=NOW_MS, monotonic_ms=1, boot_id=b"b" * 16, body=body
        )
    )


def test_the_server_finds_it_and_only_the_technician_reads_it(
    collector: Collector, store: Store, tmp_path: Path
) -> None:
    device = collector.device()
    medium = model.Medium(kernel_name="sdb")
    device.record([started(), encrypted(device, "1A2B3C4D")])
    device.record([encrypted(device, "99887766"), model.MediumEncrypted(medium=medium, state="done")])
    collector.deliver_all(device)
    with store.read() as connection:
        newest, first = escrowed(store, connection, SCHOOL.school_id)
        assert (newest.reference, first.reference) == ("99887766", "1A2B3C4D")
        assert (first.medium, first.sealed_to) == ("usb 0781:5581", ("technician",))
        text = event_proof(connection, store.keystore, SCHOOL.school_id, first.event_no).to_json()
    assert recovery_key(text, TECHNICIAN.sealing) == ("1A2B3C4D", KEY.decode())
    for file in tmp_path.glob("*.db*"):
        assert KEY not in file.read_bytes(), file


def test_a_number_that_nobody_knows_is_said_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = School(tmp_path / "collector")
    school.close()
    monkeypatch.setenv("SCHOOLKEEPER_CONFIG", os.devnull)
    monkeypatch.setenv("SCHOOLKEEPER_STATE_DIR", str(school.folder))
    listed = CliRunner().invoke(make_app(), ["recovery-key"])
    assert (listed.exit_code, listed.output) == (
        0,
        "no stick was encrypted on a device, or its time is over\n",
    )
    refused = CliRunner().invoke(make_app(), ["recovery-key", "1A2B"])
    assert refused.exit_code == 1
    assert (
        "there is no recovery key number 1A2B: `schoolkeeper-collector recovery-key` lists all"
        in refused.output
    )
