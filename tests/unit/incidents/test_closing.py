"""A person closes an incident, and opens it again: who may, what it says, what it lets go, and what comes after."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from schoolkeeper_collector.incidents.case_file import CaseFile
from schoolkeeper_collector.incidents.cases import CaseFileError, NoSuchItem
from schoolkeeper_collector.incidents.holds import HoldBook
from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.incidents.model import (
    Audience,
    HeldBy,
    IncidentSummary,
    ItemState,
    ObjectType,
    Outcome,
    Verdict,
    Viewer,
)
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.holding import held_events
from schoolkeeper_collector.store.retention import DAY_MS, INCIDENT_DAYS
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import decode
from schoolkeeper_proto.model import Severity
from support.detection import DSL, HEAD, NOON_MS, SCHOOL, TECH, Bench, pseudonym, refused, user

DSL_VIEW = Viewer(school_id=SCHOOL, account_id=DSL, audience=Audience.DSL)
HEAD_VIEW = Viewer(school_id=SCHOOL, account_id=HEAD, audience=Audience.HEAD)
TECH_VIEW = Viewer(school_id=SCHOOL, account_id=TECH, audience=Audience.TECHNICIAN)
WHY = "Spoke with the child and the parents."
DONE = "Talk on Tuesday, with the class teacher."
INCIDENT_MS = INCIDENT_DAYS * DAY_MS


@pytest.fixture
def file(bench: Bench) -> CaseFile:
    return CaseFile(bench.store, bench.rules, read_events=bench.read)


def raised(bench: Bench, file: CaseFile, kind: str = "pupil", viewer: Viewer = DSL_VIEW) -> IncidentSummary:
    bench.event(bench.device(), refused(), who=bench.person("somebody", kind))
    bench.run()
    (alert,) = file.alerts(viewer, now_ms=NOON_MS)
    file.give_verdict(viewer, alert.alert_id, Verdict.RAISE, now_ms=NOON_MS)
    (incident,) = file.incidents(viewer, now_ms=NOON_MS)
    return incident


def close(file: CaseFile, incident: IncidentSummary, outcome: Outcome, viewer: Viewer = DSL_VIEW) -> None:
    file.close_incident(viewer, incident.incident_id, outcome, actions=DONE, reason=WHY, now_ms=NOON_MS + 5)


def held(bench: Bench, now_ms: int = NOON_MS + 6) -> set[int]:
    with bench.store.read() as connection:
        return held_events(connection, SCHOOL, 1, 99, now_ms, INCIDENT_MS)


@pytest.mark.requirement("T-60")
def test_closing_needs_a_decision_and_says_who_when_what_and_why(bench: Bench, file: CaseFile) -> None:
    incident = raised(bench, file)
    before = file.change_mark(DSL_VIEW)
    for outcome, actions, reason in (
        (Outcome.NO_CONCERN, "", "  "),
        (Outcome.INTERNAL, " ", WHY),
        (Outcome.OUTSIDE, "", WHY),
        (Outcome.POLICE, "", WHY),
        (Outcome.WATCH, "", "x" * 20_001),
    ):
        with pytest.raises(CaseFileError):
            file.close_incident(
                DSL_VIEW, incident.incident_id, outcome, actions=actions, reason=reason, now_ms=NOON_MS + 5
            )
    assert file.incident(DSL_VIEW, incident.incident_id, now_ms=NOON_MS).summary.state is ItemState.OPEN
    close(file, incident, Outcome.INTERNAL)
    detail = file.incident(DSL_VIEW, incident.incident_id, now_ms=NOON_MS + 6)
    closed = detail.summary
    assert (closed.state, closed.outcome, closed.closed_by) == (ItemState.CLOSED, Outcome.INTERNAL, DSL)
    assert (closed.closed_ms, detail.entries[-1].action) == (NOON_MS + 5, "closed")
    assert detail.entries[-1].text == f"Outcome: dealt with in school.\nWhat was done: {DONE}\nWhy: {WHY}"
    assert file.change_mark(DSL_VIEW) > before
    for table in tables.SCHEMA.tables:
        assert WHY not in repr(bench.rows(table)), table
    entry = decode(wire.LedgerEntry, bytes(bench.rows("ledger_queue")[-2]["entry"]))  # type: ignore[call-overload]
    assert entry.type is wire.StatementType.INCIDENT, "the last is the look at the page"
    statement = decode(wire.IncidentStatement, entry.statement)
    assert (statement.action, statement.actor, statement.incident_id) == ("closed", DSL, incident.incident_id)
    with pytest.raises(CaseFileError, match="closed already"):
        close(file, incident, Outcome.WATCH)


def test_the_technician_and_who_it_is_about_close_nothing(bench: Bench, file: CaseFile) -> None:
    incident = raised(bench, file, "staff", HEAD_VIEW)
    with bench.store.write() as connection:
        connection.execute(
            update(tables.people)
            .where(tables.people.c.pseudonym == pseudonym("somebody"))
            .values(account_id="acc-second-head")
        )
    subject = Viewer(school_id=SCHOOL, account_id="acc-second-head", audience=Audience.HEAD)
    for viewer in (TECH_VIEW, DSL_VIEW, subject):
        with pytest.raises(NoSuchItem):
            close(file, incident, Outcome.NO_CONCERN, viewer)
        with pytest.raises(NoSuchItem):
            file.reopen_incident(viewer, incident.incident_id, reason="again", now_ms=NOON_MS + 5)
    close(file, incident, Outcome.NO_CONCERN, HEAD_VIEW)


def test_what_waits_for_the_technician_is_closed_by_the_head(bench: Bench, file: CaseFile) -> None:
    incident = raised(bench, file)
    with bench.store.write() as connection:
        connection.execute(update(tables.incidents).values(audience="technician"))
        connection.execute(update(tables.alerts).values(audience="technician", state="open"))
    with pytest.raises(NoSuchItem):
        close(file, incident, Outcome.INTERNAL, TECH_VIEW)
    assert file.incidents(DSL_VIEW, now_ms=NOON_MS) == []
    assert [one.number for one in file.incidents(HEAD_VIEW, now_ms=NOON_MS)] == [incident.number]
    close(file, incident, Outcome.INTERNAL, HEAD_VIEW)
    assert file.alerts(TECH_VIEW, now_ms=NOON_MS) == [], "its alert is closed with it"


def test_closing_lets_go_of_what_it_held_and_a_legal_hold_stays(bench: Bench, file: CaseFile) -> None:
    incident = raised(bench, file)
    assert held(bench) == {1}
    close(file, incident, Outcome.NO_CONCERN)
    assert held(bench) == set(), "each kind has its own period again"
    detail = file.incident(DSL_VIEW, incident.incident_id, now_ms=NOON_MS + 6)
    assert detail.held == ()
    assert file.reopen_incident(DSL_VIEW, incident.incident_id, reason="More came out.", now_ms=NOON_MS + 7)
    assert held(bench) == {1}
    close(file, incident, Outcome.POLICE)
    assert held(bench, NOON_MS + INCIDENT_MS) == {1}, "the incident's own period"
    assert held(bench, NOON_MS + INCIDENT_MS + 6) == set()
    assert file.reopen_incident(DSL_VIEW, incident.incident_id, reason="Police ask.", now_ms=NOON_MS + 8)
    book = HoldBook(SCHOOL, CaseLog(SCHOOL, bench.store.keystore))
    with bench.store.write() as connection:
        login = connection.execute(
            select(tables.accounts.c.login).where(tables.accounts.c.account_id == HEAD)
        ).scalar_one()
        book.on_incident(connection, incident.number, reason="Police", by=login, now_ms=NOON_MS + 9)
    close(file, incident, Outcome.FALSE_POSITIVE)
    assert held(bench, NOON_MS + 2 * INCIDENT_MS) == {1}
    (why,) = file.incident(DSL_VIEW, incident.incident_id, now_ms=NOON_MS + 10).held
    assert why.held_by is HeldBy.HOLD


def test_what_comes_after_is_a_new_alert_that_says_after_which(bench: Bench, file: CaseFile) -> None:
    """Also where the rule itself raised the incident, so that its alert was open until then."""
    incident = raised(bench, file)
    with bench.store.write() as connection:
        connection.execute(update(tables.alerts).values(state="open", verdict="", verdict_ms=None))
    close(file, incident, Outcome.WATCH)
    assert file.alerts(DSL_VIEW, now_ms=NOON_MS + 5) == [], "its alert is closed with it"
    (old,) = bench.rows("alerts")
    with pytest.raises(CaseFileError, match="Open the incident again"):
        file.undo_verdict(DSL_VIEW, incident.alert_id or b"", now_ms=NOON_MS + 6)
    bench.event(1, refused(), who=user("somebody"), at_ms=NOON_MS + 60_000)
    bench.run(NOON_MS + 60_000)
    (new,) = file.alerts(DSL_VIEW, now_ms=NOON_MS + 60_000)
    assert new.alert_id != old["alert_id"]
    assert new.incident_id is None
    detail = file.alert(DSL_VIEW, new.alert_id, now_ms=NOON_MS + 60_000)
    (entry,) = detail.entries
    assert (entry.action, "after incident 1 was closed" in (entry.text or "")) == ("again", True)
    assert [(one.number, one.outcome) for one in detail.earlier] == [(1, Outcome.WATCH)]
    assert len(file.alert(DSL_VIEW, bytes(old["alert_id"]), now_ms=NOON_MS + 60_000).what_happened) == 1  # type: ignore[call-overload]


def test_another_subject_or_an_open_incident_is_not_said_to_come_again(bench: Bench, file: CaseFile) -> None:
    incident = raised(bench, file)
    bench.event(1, refused(), who=user("somebody"), at_ms=NOON_MS + 60_000)
    bench.run(NOON_MS + 60_000)
    (new,) = file.alerts(DSL_VIEW, now_ms=NOON_MS + 60_000)
    assert file.alert(DSL_VIEW, new.alert_id, now_ms=NOON_MS + 60_000).entries == ()
    close(file, incident, Outcome.WATCH)
    bench.event(1, refused(), who=bench.person("another", "pupil"), at_ms=NOON_MS + 60_000)
    bench.run(NOON_MS + 60_000)
    other = next(
        one
        for one in file.alerts(DSL_VIEW, now_ms=NOON_MS)
        if one.subject.key.endswith(pseudonym("another").hex())
    )
    assert file.alert(DSL_VIEW, other.alert_id, now_ms=NOON_MS + 60_000).earlier == ()


def test_what_is_opened_again_waits_for_whom_the_register_says_now(bench: Bench, file: CaseFile) -> None:
    incident = raised(bench, file)
    close(file, incident, Outcome.NO_CONCERN)
    with bench.store.write() as connection:
        connection.execute(update(tables.people).values(kind="staff"))
    again = file.reopen_incident(DSL_VIEW, incident.incident_id, reason="More.", now_ms=NOON_MS + 6)
    assert not again, "it is not the DSL's any more"
    with pytest.raises(NoSuchItem):
        file.incident(DSL_VIEW, incident.incident_id, now_ms=NOON_MS + 7)
    detail = file.incident(HEAD_VIEW, incident.incident_id, now_ms=NOON_MS + 7)
    assert [one.action for one in detail.entries][-2:] == ["reopened", "rerouted"]
    assert detail.summary.state is ItemState.OPEN


def test_one_that_was_withdrawn_or_is_open_is_not_opened_again(bench: Bench, file: CaseFile) -> None:
    bench.event(bench.device(), refused(), who=bench.person("somebody", "pupil"))
    bench.run()
    (alert,) = file.alerts(DSL_VIEW, now_ms=NOON_MS)
    file.give_verdict(DSL_VIEW, alert.alert_id, Verdict.RAISE, now_ms=NOON_MS)
    (incident,) = file.incidents(DSL_VIEW, now_ms=NOON_MS)
    with pytest.raises(CaseFileError, match="is open"):
        file.reopen_incident(DSL_VIEW, incident.incident_id, reason="again", now_ms=NOON_MS + 1)
    file.undo_verdict(DSL_VIEW, alert.alert_id, now_ms=NOON_MS + 1)
    with pytest.raises(CaseFileError, match="withdrawn"):
        file.reopen_incident(DSL_VIEW, incident.incident_id, reason="again", now_ms=NOON_MS + 2)


def test_one_by_hand_is_closed_too(bench: Bench, file: CaseFile) -> None:
    bench.person("somebody", "pupil")
    by_hand = file.raise_by_hand(
        DSL_VIEW, title="Bullying", category="bullying", severity=Severity.HIGH, text="x", now_ms=NOON_MS
    )
    file.close_incident(DSL_VIEW, by_hand.incident_id, Outcome.NO_CONCERN, reason=WHY, now_ms=NOON_MS + 1)
    detail = file.incident(DSL_VIEW, by_hand.incident_id, now_ms=NOON_MS + 2)
    assert [one.action for one in detail.entries if one.object_type is ObjectType.INCIDENT][-1] == "closed"
    assert detail.entries[-1].text == f"Outcome: no concern.\nWhy: {WHY}"
