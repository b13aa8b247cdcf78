"""A person's answer to an alert, and taking it back within ten seconds. Both stay in the log."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select, update

from schoolkeeper_collector.incidents.cases import CaseFileError
from schoolkeeper_collector.incidents.listing import AnyRow
from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.incidents.model import (
    PERSONS_VERDICTS,
    UNDO_MS,
    Audience,
    ObjectType,
    SubjectKind,
    Verdict,
    Viewer,
)
from schoolkeeper_collector.incidents.raising import NewIncident, raise_incident
from schoolkeeper_collector.incidents.severity import severity_of
from schoolkeeper_collector.store.tables import alerts, incidents, notices


def give(
    connection: Connection,
    log: CaseLog,
    viewer: Viewer,
    row: AnyRow,
    verdict: Verdict,
    note: str,
    category: str,
    now_ms: int,
) -> None:
    """Writes the verdict; RAISE makes an incident whose notices wait until the verdict can no longer be undone."""
    if verdict not in PERSONS_VERDICTS:
        raise CaseFileError(f"'{verdict.value}' is given by the machine only. Choose another verdict.")
    if row.state != "open":
        raise CaseFileError("This alert is closed already. Add a note, or raise an incident by hand.")
    alert_id = bytes(row.alert_id)
    incident_id = row.incident_id
    if verdict is Verdict.RAISE:
        if incident_id is not None:
            raise CaseFileError("An incident was raised from this alert already. Write in its log.")
        incident_id = _raise(connection, log, viewer, row, note, category, now_ms)
    log.append(
        connection,
        ObjectType.ALERT,
        alert_id,
        actor=viewer.account_id,
        action=verdict.value,
        text=note,
        now_ms=now_ms,
    )
    _update(
        connection,
        row,
        state="open" if verdict is Verdict.WATCH else "closed",
        verdict=verdict.value,
        verdict_by=viewer.account_id,
        verdict_ms=now_ms,
        updated_ms=now_ms,
        incident_id=incident_id,
    )


def take_back(connection: Connection, log: CaseLog, viewer: Viewer, row: AnyRow, now_ms: int) -> None:
    """Undoes the viewer's own verdict of the last ten seconds; an incident it raised is withdrawn, not removed."""
    if not row.verdict or row.verdict_by != viewer.account_id:
        raise CaseFileError("There is no verdict of yours to take back.")
    if now_ms - row.verdict_ms > UNDO_MS:
        raise CaseFileError("Ten seconds have passed. Write a note, or raise an incident by hand.")
    alert_id = bytes(row.alert_id)
    incident_id = row.incident_id
    if incident_id is not None and _is_closed(connection, row):
        raise CaseFileError("This alert was closed with its incident. Open the incident again instead.")
    if row.verdict == Verdict.RAISE.value and incident_id is not None:
        _withdraw(connection, log, viewer, bytes(incident_id), now_ms)
        incident_id = None
    log.append(
        connection,
        ObjectType.ALERT,
        alert_id,
        actor=viewer.account_id,
        action="undo",
        text=f"Taken back: {row.verdict}",
        now_ms=now_ms,
    )
    values = {"state": "open", "verdict": "", "verdict_by": "", "verdict_ms": None}
    _update(connection, row, **values, updated_ms=now_ms, incident_id=incident_id)


def _update(connection: Connection, row: AnyRow, **values: object) -> None:
    where = (alerts.c.school_id == row.school_id, alerts.c.alert_id == row.alert_id)
    connection.execute(update(alerts).where(*where).values(**values))


def _raise(
    connection: Connection, log: CaseLog, viewer: Viewer, row: AnyRow, note: str, category: str, now_ms: int
) -> bytes:
    scheme, _, name = row.subject.partition(":")
    new = NewIncident(
        category=category,
        severity=severity_of(row.severity),
        subject=row.subject,
        subject_kind=SubjectKind(row.subject_kind),
        audience=Audience(row.audience),
        title=row.title,
        raised_by=viewer.account_id,
        actor=viewer.account_id,
        text=note or "Raised from an alert.",
        alert_id=bytes(row.alert_id),
        exclude_pseudonym=bytes.fromhex(name) if scheme == "user" else None,
        attempt=row.updated_ms,
    )
    return raise_incident(connection, log, viewer.school_id, new, now_ms, tell_from_ms=now_ms + UNDO_MS)


def _is_closed(connection: Connection, row: AnyRow) -> bool:
    where = (incidents.c.school_id == row.school_id, incidents.c.incident_id == row.incident_id)
    return connection.execute(select(incidents.c.state).where(*where)).scalar() == "closed"


def _withdraw(connection: Connection, log: CaseLog, viewer: Viewer, incident_id: bytes, now_ms: int) -> None:
    where = (incidents.c.school_id == viewer.school_id, incidents.c.incident_id == incident_id)
    connection.execute(
        update(incidents).where(*where).values(state="closed", closed_ms=now_ms, alert_id=None)
    )
    connection.execute(
        delete(notices).where(
            notices.c.school_id == viewer.school_id,
            notices.c.object_type == ObjectType.INCIDENT.value,
            notices.c.object_id == incident_id,
            notices.c.sent_ms.is_(None),
        )
    )
    log.append(
        connection,
        ObjectType.INCIDENT,
        incident_id,
        actor=viewer.account_id,
        action="withdrawn",
        text="Raised by mistake and taken back within ten seconds.",
        now_ms=now_ms,
    )
