"""The latest result of each check on each device, with since when: what the technician's list shows.

A later result replaces an earlier one by when it was evaluated, so that what an offline laptop sends late does not
undo what is newer.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from schoolkeeper_collector.detection.source import Item
from schoolkeeper_collector.store.tables import posture
from schoolkeeper_proto import model


def note_posture(connection: Connection, school_id: str, item: Item) -> None:
    """Takes a posture event into the table; other events are not touched."""
    body = item.event.body if item.event is not None else None
    if not isinstance(body, model.Posture) or item.device is None:
        return
    where = (
        posture.c.school_id == school_id,
        posture.c.device_no == item.device.device_no,
        posture.c.check_name == body.check[:64],
    )
    held = connection.execute(select(posture).where(*where)).first()
    evaluated = min(body.evaluated_at_unix_ms or item.at_ms, item.received_ms)
    if held is not None and held.evaluated_ms > evaluated:
        return
    since = min(body.since_unix_ms or evaluated, evaluated)
    if held is not None and held.result == body.result.value:
        since = min(since, held.since_ms)
    values = {
        "result": body.result.value,
        "since_ms": since,
        "evaluated_ms": evaluated,
        "evidence": body.evidence[:1_000],
        "unknown_because": body.unknown_because[:1_000],
    }
    if held is not None:
        connection.execute(update(posture).where(*where).values(**values))
        return
    row = {"school_id": school_id, "device_no": item.device.device_no, "check_name": body.check[:64]}
    connection.execute(insert(posture).values(**row, **values))
