"""Devices that say nothing in school time. Needs a calendar and a clock, so it is a job and no Sigma rule.

It writes facts, once per silence: ``device.silent`` when a device has been quiet for longer than the school allows, in
school time; ``device.heard`` when it is back. Rules then alert and recover like with any other fact. A device that has
never been heard counts from its enrolment: unknown is not fine.
"""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import Connection, insert, select

from schoolkeeper_collector.detection.calendar import Calendar
from schoolkeeper_collector.store.tables import collector_facts, devices

EVERY_MS: Final = 60_000
SILENT: Final = "device.silent"
HEARD: Final = "device.heard"


def note_silence(
    connection: Connection, school_id: str, calendar: Calendar, known: frozenset[int], now_ms: int
) -> frozenset[int]:
    """Writes facts for devices that fell silent or came back; ``known`` and the answer are who is silent."""
    query = select(devices.c.device_no, devices.c.last_contact_ms, devices.c.enrolled_ms).where(
        devices.c.school_id == school_id, devices.c.status == "active"
    )
    silent: set[int] = set()
    for row in connection.execute(query).all():
        since = row.last_contact_ms if row.last_contact_ms is not None else row.enrolled_ms
        quiet = now_ms - since > calendar.silent_after_ms and (
            calendar.school_ms(since, now_ms) > calendar.silent_after_ms
        )
        if quiet:
            silent.add(row.device_no)
            if row.device_no not in known:
                fields = {"since_ms": since, "never_heard": row.last_contact_ms is None}
                write_fact(connection, school_id, row.device_no, SILENT, fields, now_ms)
        elif row.device_no in known:
            write_fact(connection, school_id, row.device_no, HEARD, {}, now_ms)
    return frozenset(silent)


def write_fact(
    connection: Connection,
    school_id: str,
    device_no: int | None,
    kind: str,
    fields: dict[str, object],
    now_ms: int,
) -> None:
    """One row of ``collector_facts``."""
    row = {"school_id": school_id, "device_no": device_no, "kind": kind, "at_ms": now_ms}
    connection.execute(insert(collector_facts).values(**row, fields=json.dumps(fields, sort_keys=True)))


def silent_devices(state: bytes) -> frozenset[int]:
    """The job's state as it lies beside its cursor."""
    return frozenset(json.loads(state)) if state else frozenset()


def silence_state(silent: frozenset[int]) -> bytes:
    return json.dumps(sorted(silent)).encode()
