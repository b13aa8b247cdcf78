"""Items that wait for the wrong person: whom they are about became known, or was corrected, after they were opened.

Looked at again when the register of people is imported, when an account is made and when an alert grows. Only alerts
and incidents about a person (``user:``) are moved: a report stays with whom its writer chose, a technician's item is
about a device.
"""

from __future__ import annotations

from sqlalchemy import Connection, Table, and_, delete, or_, select, update

from schoolkeeper_collector.incidents.listing import AnyRow
from schoolkeeper_collector.incidents.log import CaseLog
from schoolkeeper_collector.incidents.model import Audience, ObjectType, SubjectKind
from schoolkeeper_collector.incidents.outbox import queue_notices
from schoolkeeper_collector.incidents.routing import Route, audience_of, person_kind
from schoolkeeper_collector.store.tables import alerts, incidents, notices


def reroute_all(connection: Connection, log: CaseLog, school_id: str, actor: str, now_ms: int) -> int:
    """Open items about people, held against the register as it is now; returns how many moved."""
    open_incidents = select(incidents.c.incident_id).where(
        incidents.c.school_id == school_id, incidents.c.state == "open"
    )
    query = select(alerts).where(
        alerts.c.school_id == school_id,
        alerts.c.subject.like("user:%"),
        or_(alerts.c.state == "open", alerts.c.incident_id.in_(open_incidents)),
    )
    moved = sum(reroute_alert(connection, log, row, actor, now_ms) for row in connection.execute(query).all())
    by_hand = select(incidents).where(
        incidents.c.school_id == school_id, incidents.c.state == "open", incidents.c.subject.like("user:%")
    )
    for row in connection.execute(by_hand).all():
        moved += reroute_incident(connection, log, row, actor, now_ms)
    return moved


def reroute_alert(connection: Connection, log: CaseLog, row: AnyRow, actor: str, now_ms: int) -> int:
    """One alert and its incident; returns how many of the two moved."""
    to = _route(connection, row)
    if to is None:
        return 0
    moved = _move(connection, log, ObjectType.ALERT, alerts, row, to, actor, now_ms)
    if row.incident_id is not None:
        this = and_(incidents.c.school_id == row.school_id, incidents.c.incident_id == row.incident_id)
        incident = connection.execute(select(incidents).where(this)).one()
        moved += _move(connection, log, ObjectType.INCIDENT, incidents, incident, to, actor, now_ms)
    return moved


def reroute_incident(connection: Connection, log: CaseLog, row: AnyRow, actor: str, now_ms: int) -> int:
    """One that has no alert, or was moved with it already. Raised by hand it moves to the head, and never back:
    somebody may have chosen the head for it."""
    to = _route(connection, row)
    if to is None:
        return 0
    if to.audience is Audience.DSL:
        to = Route(audience=Audience(row.audience), subject_kind=to.subject_kind)
    return _move(connection, log, ObjectType.INCIDENT, incidents, row, to, actor, now_ms)


def _route(connection: Connection, row: AnyRow) -> Route | None:
    """Where it belongs; None where it belongs to where it is."""
    scheme, _, name = row.subject.partition(":")
    if scheme != "user" or row.audience == Audience.TECHNICIAN.value:
        return None
    kind = person_kind(connection, row.school_id, bytes.fromhex(name))
    audience = audience_of(connection, row.school_id, kind, row.subject)
    misplaced = kind is SubjectKind.STAFF and row.audience != audience.value
    if kind.value == row.subject_kind and not misplaced:
        return None
    return Route(audience=audience, subject_kind=kind)


def _move(
    connection: Connection,
    log: CaseLog,
    object_type: ObjectType,
    table: Table,
    row: AnyRow,
    to: Route,
    actor: str,
    now_ms: int,
) -> int:
    """Changes the row, says so in its file, and lets the notices follow; returns 1 if the audience changed."""
    object_id = bytes(row.alert_id if object_type is ObjectType.ALERT else row.incident_id)
    column = table.c.alert_id if object_type is ObjectType.ALERT else table.c.incident_id
    values: dict[str, object] = {"audience": to.audience.value, "subject_kind": to.subject_kind.value}
    if object_type is ObjectType.ALERT:
        values["updated_ms"] = now_ms
    where = (table.c.school_id == row.school_id, column == object_id)
    connection.execute(update(table).where(*where).values(values))
    if row.audience == to.audience.value:
        return 0
    text = (
        f"By the register of people this is about: {to.subject_kind.value} (before: {row.subject_kind}). "
        f"It waits for the role '{to.audience.value}' and no longer for '{row.audience}'."
    )
    log.append(connection, object_type, object_id, actor=actor, action="rerouted", text=text, now_ms=now_ms)
    _notices_follow(connection, object_type, object_id, row, to.audience, now_ms)
    return 1


def _notices_follow(
    connection: Connection,
    object_type: ObjectType,
    object_id: bytes,
    row: AnyRow,
    audience: Audience,
    now_ms: int,
) -> None:
    """Who is told of the item is told in the new role; a notice that was not sent yet is not sent to the old one."""
    of_item = (
        notices.c.school_id == row.school_id,
        notices.c.object_type == object_type.value,
        notices.c.object_id == object_id,
    )
    told = connection.execute(select(notices.c.notice_no).where(*of_item)).first() is not None
    if not told and object_type is ObjectType.ALERT:
        return  # its rule interrupts nobody
    connection.execute(delete(notices).where(*of_item, notices.c.sent_ms.is_(None)))
    queue_notices(
        connection,
        row.school_id,
        audience,
        object_type,
        object_id,
        subject_pseudonym=bytes.fromhex(row.subject.partition(":")[2]),
        now_ms=now_ms,
    )
