"""What is held: never deleted for its age while a person still needs it.

- The evidence of an alert while the alert is open, and of an incident until its own period after its closing is over.
  One that was closed as nothing to keep (``RELEASING``) holds nothing from its closing on.
- The evidence of an incident under a legal hold, and every event of a device under one, until the hold is released.

All of it is read from the tables in the transaction that deletes, so that nothing becomes held between look and act.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from schoolkeeper_collector.store.tables import alerts, devices, evidence, holds, incidents

INCIDENT = "incident"
DEVICE = "device"
RELEASING = ("false-positive", "no-concern")
"""Outcomes of an incident after which its evidence has each kind's own period again."""


def active(school_id: str, object_type: str) -> ColumnElement[bool]:
    """The condition on ``holds``."""
    return and_(
        holds.c.school_id == school_id, holds.c.object_type == object_type, holds.c.released_ms.is_(None)
    )


def is_held(school_id: str, now_ms: int, incident_ms: int) -> ColumnElement[bool]:
    """The condition on ``evidence``: its alert or incident holds it. ``incident_ms``: after an incident's closing."""
    kept = or_(
        incidents.c.state == "open",
        incidents.c.closed_ms.is_(None),
        and_(incidents.c.closed_ms > now_ms - incident_ms, incidents.c.outcome.not_in(RELEASING)),
        exists().where(active(school_id, INCIDENT), holds.c.object_id == incidents.c.incident_id),
    )
    incident = exists().where(
        incidents.c.school_id == school_id, incidents.c.incident_id == alerts.c.incident_id, kept
    )
    return exists().where(
        alerts.c.school_id == school_id,
        alerts.c.alert_id == evidence.c.alert_id,
        or_(alerts.c.state == "open", incident),
    )


def held_events(
    connection: Connection, school_id: str, first: int, last: int, now_ms: int, incident_ms: int
) -> set[int]:
    """The numbers of held events from ``first`` to ``last``; those of held devices are not among them."""
    query = select(evidence.c.event_no).where(
        evidence.c.school_id == school_id,
        evidence.c.event_no >= first,
        evidence.c.event_no <= last,
        is_held(school_id, now_ms, incident_ms),
    )
    return set(connection.execute(query).scalars())


def held_devices(connection: Connection, school_id: str) -> frozenset[int]:
    """The numbers of devices under a legal hold, with those that were joined into them."""
    named = or_(holds.c.object_id == devices.c.device_id, holds.c.object_id == devices.c.joined_into)
    query = (
        select(devices.c.device_no)
        .join(holds, named)
        .where(devices.c.school_id == school_id, active(school_id, DEVICE))
    )
    return frozenset(connection.execute(query).scalars())
