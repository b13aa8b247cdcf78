"""Rows into summaries, and the one filter that every read goes through: the audience, and nobody's own items."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, select

from schoolkeeper_collector.incidents.model import (
    AlertSummary,
    Audience,
    DeviceLabel,
    IncidentSummary,
    ItemState,
    Outcome,
    Subject,
    SubjectKind,
    Verdict,
    Viewer,
)
from schoolkeeper_collector.incidents.routing import own_pseudonyms
from schoolkeeper_collector.incidents.severity import severity_of
from schoolkeeper_collector.store.tables import devices, incidents, people

AnyRow = Row[tuple[object, ...]]
_NOBODY_NAMED = {
    SubjectKind.PUPIL: "a pupil who is not named",
    SubjectKind.STAFF: "a member of staff who is not named",
    SubjectKind.GUEST: "a guest who is not named",
}
"""Recorded by hand, without saying who it was."""


def visible(connection: Connection, viewer: Viewer, table: Table) -> ColumnElement[bool]:
    """The condition on ``alerts`` or ``incidents`` for this viewer. To a person, their own items do not exist.

    An incident about a device waits for the technician, who reads and closes none: the head does.
    """
    own = own_pseudonyms(connection, viewer.school_id, viewer.account_id)
    audiences = [viewer.audience.value]
    if viewer.audience is Audience.HEAD and table is incidents:
        audiences.append(Audience.TECHNICIAN.value)
    return and_(
        table.c.school_id == viewer.school_id,
        table.c.audience.in_(audiences),
        table.c.subject.not_in([f"user:{pseudonym.hex()}" for pseudonym in own]),
    )


class Labels:
    """Names of devices and people as one viewer may see them."""

    def __init__(self, connection: Connection, viewer: Viewer, rows: Iterable[AnyRow]) -> None:
        held = list(rows)
        self._viewer = viewer
        self._devices = _devices(connection, viewer.school_id, held)
        self._people = (
            {}
            if viewer.audience is Audience.TECHNICIAN
            else _people(connection, viewer.school_id, [row.subject for row in held])
        )

    def device(self, device_no: int | None) -> DeviceLabel | None:
        return self._devices.get(device_no) if device_no is not None else None

    def subject(self, row: AnyRow, device_no: int | None) -> Subject:
        kind = SubjectKind(row.subject_kind)
        return Subject(key=row.subject, kind=kind, label=self._label(row.subject, kind, device_no))

    def _label(self, key: str, kind: SubjectKind, device_no: int | None) -> str:
        device = self.device(device_no)
        on = f"on {device.hostname}" if device else "on a device"
        scheme, _, name = key.partition(":")
        if scheme == "user":
            return self._people.get(name) or f"an account {on} that the register does not know"
        if kind is SubjectKind.SHARED:
            return f"a shared account {on}"
        if scheme == "report":
            return f"somebody {on}"
        if scheme == "device":
            return device.hostname if device else "a device"
        return _NOBODY_NAMED.get(kind, "the school")


def _devices(connection: Connection, school_id: str, rows: list[AnyRow]) -> dict[int, DeviceLabel]:
    numbers = {row.device_no for row in rows if getattr(row, "device_no", None) is not None}
    if not numbers:
        return {}
    query = select(devices).where(devices.c.school_id == school_id, devices.c.device_no.in_(sorted(numbers)))
    return {
        row.device_no: DeviceLabel(
            device_no=row.device_no,
            device_id=bytes(row.device_id),
            hostname=row.hostname,
            group=row.device_group,
            simulated=row.simulated,
        )
        for row in connection.execute(query)
    }


def _people(connection: Connection, school_id: str, subjects: list[str]) -> dict[str, str]:
    wanted = sorted({bytes.fromhex(key[5:]) for key in subjects if key.startswith("user:")})
    if not wanted:
        return {}
    query = select(people.c.pseudonym, people.c.display_name).where(
        people.c.school_id == school_id, people.c.pseudonym.in_(wanted)
    )
    return {bytes(row.pseudonym).hex(): row.display_name for row in connection.execute(query)}


def person_label(connection: Connection, viewer: Viewer, pseudonym: bytes) -> str:
    """Who was signed in, for a page of the DSL or head; the DSL is not told names of staff."""
    row = connection.execute(
        select(people.c.display_name, people.c.kind).where(
            people.c.school_id == viewer.school_id, people.c.pseudonym == pseudonym
        )
    ).first()
    if row is None:
        return "an account that the register does not know"
    if row.kind == SubjectKind.STAFF.value and viewer.audience is Audience.DSL:
        return "a member of staff"
    return str(row.display_name)


def alert_summary(row: AnyRow, labels: Labels) -> AlertSummary:
    return AlertSummary(
        alert_id=bytes(row.alert_id),
        audience=Audience(row.audience),
        severity=severity_of(row.severity),
        state=ItemState(row.state),
        title=row.title,
        subject=labels.subject(row, row.device_no),
        device=labels.device(row.device_no),
        first_ms=row.first_ms,
        last_ms=row.last_ms,
        findings=row.findings,
        late=row.late,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        touched_ms=row.touched_ms,
        touched_by=row.touched_by,
        verdict=Verdict(row.verdict) if row.verdict else None,
        verdict_by=row.verdict_by,
        verdict_ms=row.verdict_ms,
        incident_id=bytes(row.incident_id) if row.incident_id is not None else None,
        rule_id=row.rule_id,
    )


def incident_summary(row: AnyRow, labels: Labels, device_no: int | None = None) -> IncidentSummary:
    return IncidentSummary(
        incident_id=bytes(row.incident_id),
        number=row.number,
        category=row.category,
        severity=severity_of(row.severity),
        state=ItemState(row.state),
        title=row.title,
        subject=labels.subject(row, device_no),
        audience=Audience(row.audience),
        raised_by=row.raised_by,
        raised_ms=row.raised_ms,
        alert_id=bytes(row.alert_id) if row.alert_id is not None else None,
        closed_ms=row.closed_ms,
        closed_by=row.closed_by,
        outcome=Outcome(row.outcome) if row.outcome else None,
    )
