"""What people do with an item: look, note, judge, take back, raise."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import delete, select, update

from schoolkeeper_collector.incidents.case_file import CaseFile
from schoolkeeper_collector.incidents.cases import CaseFileError
from schoolkeeper_collector.incidents.holds import HoldBook
from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.incidents.model import (
    Audience,
    HeldBy,
    ItemState,
    ObjectType,
    Verdict,
    Viewer,
)
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.retention import DAY_MS, INCIDENT_DAYS
from schoolkeeper_proto import model, wire
from schoolkeeper_proto.codec import decode
from support.detection import DSL, HEAD, NOON_MS, SCHOOL, TECH, Bench, pseudonym, refused, user

DSL_VIEW = Viewer(school_id=SCHOOL, account_id=DSL, audience=Audience.DSL)
HEAD_VIEW = Viewer(school_id=SCHOOL, account_id=HEAD, audience=Audience.HEAD)
TECH_VIEW = Viewer(school_id=SCHOOL, account_id=TECH, audience=Audience.TECHNICIAN)
SECRET = "Spoke with the child; all is well."


@pytest.fixture
def file(bench: Bench) -> CaseFile:
    return CaseFile(bench.store, bench.rules, read_events=bench.read)


def an_alert(bench: Bench, file: CaseFile) -> bytes:
    bench.event(bench.device(), refused(), who=bench.person("pupil", "pupil"))
    bench.run()
    return file.alerts(DSL_VIEW, now_ms=NOON_MS)[0].alert_id


def queued(bench: Bench) -> list[wire.LedgerEntry]:
    return [decode(wire.LedgerEntry, bytes(row["entry"])) for row in bench.rows("ledger_queue")]  # type: ignore[call-overload]


def test_every_read_is_logged_and_in_the_ledgers_queue(bench: Bench, file: CaseFile) -> None:
    alert_id = an_alert(bench, file)
    file.alert(DSL_VIEW, alert_id, reason="morning round", now_ms=NOON_MS)
    rows = bench.rows("access_log")
    assert [(r["action"], r["account_id"]) for r in rows] == [("alerts.listed", DSL), ("alert.read", DSL)]
    assert rows[1]["reason"] == "morning round"
    assert [entry.type for entry in queued(bench)] == [wire.StatementType.AUDIT] * 2


def test_a_look_touches_and_a_touched_alert_does_not_close_by_itself(bench: Bench, file: CaseFile) -> None:
    device = bench.device()
    bench.event(device, model.Posture(check="updates", result=model.PostureResult.FAIL))
    bench.run()
    (alert,) = file.alerts(TECH_VIEW, now_ms=NOON_MS)
    assert alert.touched_ms is None
    detail = file.alert(TECH_VIEW, alert.alert_id, now_ms=NOON_MS + 1)
    assert (detail.summary.touched_by, detail.summary.touched_ms) == (TECH, NOON_MS + 1)
    bench.event(device, model.Posture(check="updates", result=model.PostureResult.PASS))
    bench.run()
    assert file.alerts(TECH_VIEW, now_ms=NOON_MS)[0].state is ItemState.OPEN


def test_a_note_is_encrypted_committed_and_never_changed(bench: Bench, file: CaseFile) -> None:
    alert_id = an_alert(bench, file)
    entry = file.add_note(DSL_VIEW, ObjectType.ALERT, alert_id, f"  {SECRET} ", now_ms=NOON_MS)
    assert (entry.text, entry.actor, entry.number) == (SECRET, DSL, 1)
    assert not entry.in_ledger
    file.add_note(DSL_VIEW, ObjectType.ALERT, alert_id, "second", now_ms=NOON_MS)
    for table in tables.SCHEMA.tables:
        assert SECRET not in repr(bench.rows(table)), table
    statement = decode(wire.AuditStatement, queued(bench)[-2].statement)
    assert (statement.action, statement.detail_commitment) == ("alert.note", entry.commitment)
    assert [e.text for e in file.alert(DSL_VIEW, alert_id, now_ms=NOON_MS).entries] == [SECRET, "second"]


def test_an_altered_note_is_noticed_and_an_erased_one_leaves_its_commitment(
    bench: Bench, file: CaseFile
) -> None:
    alert_id = an_alert(bench, file)
    for text in ("one", "two"):
        file.add_note(DSL_VIEW, ObjectType.ALERT, alert_id, text, now_ms=NOON_MS)
    entries = tables.case_entries
    with bench.store.write() as connection:
        connection.execute(update(entries).where(entries.c.number == 2).values(ciphertext=b"x" * 60))
    one, two = file.alert(DSL_VIEW, alert_id, now_ms=NOON_MS).entries
    assert one.text == "one"
    assert two.text is not None
    assert "altered" in two.text
    with bench.store.keystore.engine.begin() as connection:
        connection.execute(delete(tables.blob_keys))
    one, two = file.alert(DSL_VIEW, alert_id, now_ms=NOON_MS).entries
    assert (one.text, two.text) == (None, None)
    assert len(one.commitment) == 32


@pytest.mark.parametrize("text", ["", "   ", "x" * 20_001])
def test_an_empty_or_overlong_note_is_refused(bench: Bench, file: CaseFile, text: str) -> None:
    alert_id = an_alert(bench, file)
    with pytest.raises(CaseFileError, match=r"empty|Shorten"):
        file.add_note(DSL_VIEW, ObjectType.ALERT, alert_id, text, now_ms=NOON_MS)
    assert bench.rows("case_entries") == []


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict.FALSE_POSITIVE, ItemState.CLOSED),
        (Verdict.NO_CONCERN, ItemState.CLOSED),
        (Verdict.WATCH, ItemState.OPEN),
        (Verdict.RAISE, ItemState.CLOSED),
    ],
)
def test_a_verdict_and_its_undo_within_ten_seconds(
    bench: Bench, file: CaseFile, verdict: Verdict, state: ItemState
) -> None:
    alert_id = an_alert(bench, file)
    given = file.give_verdict(DSL_VIEW, alert_id, verdict, note="because", now_ms=NOON_MS)
    assert (given.state, given.verdict, given.verdict_by) == (state, verdict, DSL)
    other = Viewer(school_id=SCHOOL, account_id="someone", audience=Audience.DSL)
    with pytest.raises(CaseFileError, match="no verdict of yours"):
        file.undo_verdict(other, alert_id, now_ms=NOON_MS + 1)
    with pytest.raises(CaseFileError, match="Ten seconds have passed"):
        file.undo_verdict(DSL_VIEW, alert_id, now_ms=NOON_MS + 10_001)
    back = file.undo_verdict(DSL_VIEW, alert_id, now_ms=NOON_MS + 10_000)
    assert (back.state, back.verdict, back.incident_id) == (ItemState.OPEN, None, None)
    log = file.alert(DSL_VIEW, alert_id, now_ms=NOON_MS).entries
    assert [(entry.action, entry.text) for entry in log] == [
        (verdict.value, "because"),
        ("undo", f"Taken back: {verdict.value}"),
    ]


def test_raising_makes_an_incident_and_undo_withdraws_it_before_anybody_is_told(
    bench: Bench, file: CaseFile
) -> None:
    alert_id = an_alert(bench, file)
    raised = file.give_verdict(DSL_VIEW, alert_id, Verdict.RAISE, note="Serious.", now_ms=NOON_MS)
    assert raised.incident_id is not None
    (notice,) = bench.rows("notices")
    assert notice["next_attempt_ms"] == NOON_MS + 10_000
    detail = file.incident(DSL_VIEW, raised.incident_id, now_ms=NOON_MS)
    assert (detail.summary.raised_by, detail.summary.number, detail.entries[0].text) == (DSL, 1, "Serious.")
    assert detail.alert is not None
    kinds = [entry.type for entry in queued(bench)]
    assert kinds.count(wire.StatementType.INCIDENT) == 1
    file.undo_verdict(DSL_VIEW, alert_id, now_ms=NOON_MS + 5_000)
    assert bench.rows("notices") == []
    withdrawn = file.incident(DSL_VIEW, raised.incident_id, now_ms=NOON_MS)
    assert withdrawn.summary.state is ItemState.CLOSED
    assert [entry.action for entry in withdrawn.entries] == ["raised", "withdrawn"]
    again = file.give_verdict(DSL_VIEW, alert_id, Verdict.RAISE, now_ms=NOON_MS + 6_000)
    assert again.incident_id not in (None, raised.incident_id)


def test_an_incident_is_raised_once(bench: Bench, file: CaseFile) -> None:
    bench.event(bench.device(), refused(decision=model.DecisionKind.BLOCK_AND_RAISE), who=user("x"))
    bench.run()
    critical = file.alerts(DSL_VIEW, now_ms=NOON_MS)[0]
    assert critical.severity is model.Severity.CRITICAL
    with pytest.raises(CaseFileError, match="raised from this alert already"):
        file.give_verdict(DSL_VIEW, critical.alert_id, Verdict.RAISE, now_ms=NOON_MS)


def test_a_closed_alert_takes_no_second_verdict_and_the_machines_verdict_is_not_a_persons(
    bench: Bench, file: CaseFile
) -> None:
    alert_id = an_alert(bench, file)
    with pytest.raises(CaseFileError, match="machine only"):
        file.give_verdict(DSL_VIEW, alert_id, Verdict.RECOVERED, now_ms=NOON_MS)
    file.give_verdict(DSL_VIEW, alert_id, Verdict.NO_CONCERN, now_ms=NOON_MS)
    with pytest.raises(CaseFileError, match="closed already"):
        file.give_verdict(DSL_VIEW, alert_id, Verdict.WATCH, now_ms=NOON_MS)


def test_undo_is_refused_when_the_next_alert_is_open_already(bench: Bench, file: CaseFile) -> None:
    alert_id = an_alert(bench, file)
    file.give_verdict(DSL_VIEW, alert_id, Verdict.NO_CONCERN, now_ms=NOON_MS)
    bench.event(1, refused(), who=user("pupil"))
    bench.run()
    with pytest.raises(CaseFileError, match="newer alert"):
        file.undo_verdict(DSL_VIEW, alert_id, now_ms=NOON_MS + 1)
    assert [e.action for e in file.alert(DSL_VIEW, alert_id, now_ms=NOON_MS).entries] == ["no-concern"]


def test_severity_only_rises(bench: Bench, file: CaseFile) -> None:
    alert_id = an_alert(bench, file)
    with bench.store.write() as connection:
        connection.execute(update(tables.alerts).values(severity=5))
    bench.event(1, refused(), who=user("pupil"))
    bench.run()
    detail = file.alert(DSL_VIEW, alert_id, now_ms=NOON_MS)
    assert (detail.summary.severity, detail.summary.findings) == (model.Severity.CRITICAL, 2)


def test_an_incident_by_hand_goes_to_whom_its_subject_says(bench: Bench, file: CaseFile) -> None:
    bench.person("teacher", "staff")
    bench.person("pupil", "pupil")

    def raised(viewer: Viewer, subject: bytes | None) -> Audience:
        return file.raise_by_hand(
            viewer,
            title="Seen in the yard",
            category="other",
            severity=model.Severity.HIGH,
            text="...",
            subject_pseudonym=subject,
            now_ms=NOON_MS,
        ).audience

    assert raised(DSL_VIEW, None) is Audience.DSL
    assert raised(HEAD_VIEW, None) is Audience.HEAD
    assert raised(TECH_VIEW, None) is Audience.DSL
    assert raised(TECH_VIEW, pseudonym("teacher")) is Audience.HEAD
    assert raised(HEAD_VIEW, pseudonym("pupil")) is Audience.DSL
    assert [row["number"] for row in sorted(bench.rows("incidents"), key=lambda r: str(r["number"]))] == [
        1,
        2,
        3,
        4,
        5,
    ]


def test_the_mark_grows_with_every_change_of_the_viewers_lists(bench: Bench, file: CaseFile) -> None:
    before = file.change_mark(DSL_VIEW)
    alert_id = an_alert(bench, file)
    opened = file.change_mark(DSL_VIEW)
    file.give_verdict(DSL_VIEW, alert_id, Verdict.WATCH, now_ms=NOON_MS + 60_000)
    assert before < opened < file.change_mark(DSL_VIEW)
    assert file.change_mark(HEAD_VIEW) == 0


def test_evidence_names_what_a_finding_rests_on(bench: Bench, file: CaseFile) -> None:
    an_alert(bench, file)
    (finding,) = bench.rows("findings")
    assert json.loads(str(finding["evidence"])) == {"events": [1], "facts": []}


def test_an_incidents_page_says_why_its_record_is_held(bench: Bench, file: CaseFile) -> None:
    alert_id = an_alert(bench, file)
    raised = file.give_verdict(DSL_VIEW, alert_id, Verdict.RAISE, now_ms=NOON_MS)
    assert raised.incident_id is not None
    (held,) = file.incident(DSL_VIEW, raised.incident_id, now_ms=NOON_MS).held
    assert (held.held_by, held.since_ms, held.until_ms) == (HeldBy.OPEN, NOON_MS, None)
    book = HoldBook(SCHOOL, CaseLog(SCHOOL, bench.store.keystore))
    device = raised.device
    assert device is not None
    with bench.store.write() as connection:
        login = connection.execute(
            select(tables.accounts.c.login).where(tables.accounts.c.account_id == HEAD)
        ).scalar_one()
        book.on_incident(connection, 1, reason="Police, 4711", by=login, now_ms=NOON_MS + 1)
        book.on_device(connection, device.device_id, reason="Court", by=login, now_ms=NOON_MS + 2)
        closed = {"state": "closed", "closed_ms": NOON_MS + 3}
        connection.execute(update(tables.incidents).values(closed))
    detail = file.incident(DSL_VIEW, raised.incident_id, now_ms=NOON_MS + 4)
    assert [(one.held_by, one.by, one.reason) for one in detail.held] == [
        (HeldBy.CLOSED, "", ""),
        (HeldBy.HOLD, HEAD, "Police, 4711"),
        (HeldBy.DEVICE, HEAD, "Court"),
    ]
    assert detail.held[0].until_ms == NOON_MS + 3 + INCIDENT_DAYS * DAY_MS
    assert [one.action for one in detail.entries][-1] == "hold.placed"
    with bench.store.write() as connection:
        for number in (1, 2):
            book.release(connection, number, reason="Over", by=login, now_ms=NOON_MS + 5)
    assert file.incident(DSL_VIEW, raised.incident_id, now_ms=NOON_MS + 3000 * DAY_MS).held == ()
