"""An incident: numbered, with its own key and log, told to its audience in the same transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.incidents.model import Audience, ObjectType, SubjectKind
from schoolkeeper_collector.incidents.outbox import queue_notices
from schoolkeeper_collector.incidents.severity import severity_number
from schoolkeeper_collector.store.tables import incidents
from schoolkeeper_proto.model import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIncident:
    category: str
    severity: Severity
    subject: str
    subject_kind: SubjectKind
    audience: Audience
    title: str
    raised_by: str
    """"rule", or the account of the person who raised it."""
    actor: str
    text: str
    """The first entry of its log."""
    alert_id: bytes | None = None
    exclude_pseudonym: bytes | None = None
    """The account of this person is not told: the item is about them."""
    attempt: int = 0
    """Tells a second incident from the same alert from the first, which was withdrawn."""


def raise_incident(
    connection: Connection,
    log: CaseLog,
    school_id: str,
    new: NewIncident,
    now_ms: int,
    *,
    tell_from_ms: int | None = None,
) -> bytes:
    """Writes incident, first log entry and notices (sent from ``tell_from_ms`` on); returns the incident's id."""
    query = select(func.max(incidents.c.number)).where(incidents.c.school_id == school_id)
    number = (connection.execute(query).scalar() or 0) + 1
    origin = (new.alert_id or f"{new.raised_by}|{now_ms}|{number}".encode()) + b"|%d" % new.attempt
    incident_id = hashlib.sha256(b"incident|" + school_id.encode() + b"|" + origin).digest()[:16]
    key_id = log.new_key(now_ms)
    row = {
        "school_id": school_id,
        "incident_id": incident_id,
        "number": number,
        "category": new.category,
        "severity": severity_number(new.severity),
        "subject": new.subject,
        "subject_kind": new.subject_kind.value,
        "audience": new.audience.value,
        "state": "open",
        "title": new.title,
        "raised_by": new.raised_by,
        "raised_ms": now_ms,
        "alert_id": new.alert_id,
        "key_id": key_id,
    }
    connection.execute(insert(incidents).values(row))
    log.append(
        connection,
        ObjectType.INCIDENT,
        incident_id,
        actor=new.actor,
        action="raised",
        text=new.text,
        now_ms=now_ms,
        key_id=key_id,
    )
    told = queue_notices(
        connection,
        school_id,
        new.audience,
        ObjectType.INCIDENT,
        incident_id,
        subject_pseudonym=new.exclude_pseudonym,
        now_ms=now_ms,
        from_ms=tell_from_ms,
    )
    if not told:
        said = f"Nobody was told by e-mail: no account of the role '{new.audience.value}' has an address."
        log.append(
            connection,
            ObjectType.INCIDENT,
            incident_id,
            actor=new.actor,
            action="notice",
            text=said,
            now_ms=now_ms,
        )
    return incident_id
