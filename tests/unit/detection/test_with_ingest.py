"""From a device's signed batch to an alert whose page says that it is in the log: real ingest, ledger and store."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import insert

from schoolkeeper_collector.detection.calendar import Calendar
from schoolkeeper_collector.detection.engine import Detection
from schoolkeeper_collector.incidents.case_file import CaseFile
from schoolkeeper_collector.incidents.model import Audience, ObjectType, ProofState, Viewer
from schoolkeeper_collector.incidents.words import IngestKeys
from schoolkeeper_collector.store import tables
from schoolkeeper_policies.detection.load import load_rules
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.sealing import Binding, FieldContext, Recipient, seal_field
from schoolkeeper_proto.wire import Lane
from support.collector import SCHOOL, Collector, TestSchool, sqlite_store
from support.detection import DSL, account_row, refused, user
from support.device import NOW_MS

VIEWER = Viewer(school_id=SCHOOL, account_id=DSL, audience=Audience.DSL)


def test_a_refusal_and_a_report_become_incidents_that_are_in_the_log(tmp_path: Path) -> None:
    store, school = sqlite_store(tmp_path), TestSchool()
    with store.write() as connection:
        connection.execute(insert(tables.accounts).values({**account_row(DSL, "dsl"), "school_id": SCHOOL}))
    rules = load_rules("default")
    collector = Collector(store, school)
    detection = Detection(store, rules, school_id=SCHOOL, calendar=Calendar(load_pack("default").school))
    device = collector.device()
    peer = collector.greet(device)
    body = refused("x", model.DecisionKind.BLOCK_AND_RAISE)
    device.record([model.Heartbeat(), body], Lane.NORMAL)
    device.record([report(device.epoch, device.identity.device_id, school)], Lane.CRITICAL)
    collector.deliver_all(device, peer)
    for _ in range(3):
        with store.write() as connection:
            collector.sequencer.begin(connection)
            detection.step(connection, NOW_MS)
    file = CaseFile(store, rules, opener=IngestKeys([school.ingest]))
    incidents = file.incidents(VIEWER, now_ms=NOW_MS)
    assert {incident.category for incident in incidents} == {"unacceptable-and-illegal", "person-report"}
    for incident in incidents:
        page = file.incident(VIEWER, incident.incident_id, now_ms=NOW_MS)
        assert page.alert is not None
        assert [item.proof for item in page.alert.what_happened] == [ProofState.IN_LOG]
        if incident.category == "person-report":
            assert [words.text for words in page.alert.reported] == ["Please talk to me."]
    note = file.add_note(
        VIEWER, ObjectType.INCIDENT, incidents[0].incident_id, "Spoke at noon.", now_ms=NOW_MS
    )
    assert not note.in_ledger
    device.record([model.Heartbeat()])
    collector.deliver_all(device, peer)
    entries = file.incident(VIEWER, incidents[0].incident_id, now_ms=NOW_MS).entries
    assert [entry.text for entry in entries][-1] == "Spoke at noon."
    assert all(entry.in_ledger for entry in entries)
    assert collector.fsck() == []
    collector.close()


def report(epoch: bytes, device_id: bytes, school: TestSchool) -> bytes:
    """A serialised report whose words are sealed to the collector."""
    event_id = model.EventId(b"\x07" * 16)
    context = FieldContext(
        binding=Binding(school_id=SCHOOL, device_id=device_id, epoch=epoch),
        event_id=event_id,
        category="report",
    )
    recipients = [Recipient(name="collector", public_key=school.ingest.public_key())]
    words = seal_field(b"Please talk to me.", model.SealingScheme.COLLECTOR, recipients, context)
    return encode(
        model.Event(
            id=event_id,
            wall_unix_ms=NOW_MS,
            monotonic_ms=1,
            boot_id=b"b" * 16,
            user=user("pupil"),
            body=model.PersonReport(recipient="dsl", words=words),
        )
    )
