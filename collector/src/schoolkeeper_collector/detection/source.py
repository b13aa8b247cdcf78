"""What detection reads: stored events and collector facts, in the order in which they were stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sqlalchemy import Connection, func, select

from schoolkeeper_collector.store.tables import collector_facts, devices, events
from schoolkeeper_policies.detection.records import EventRecord, FactRecord
from schoolkeeper_policies.sigma.compile import Record
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import kind_number

FACT_PREFIX: Final = "fact."
SCAN: Final = 20_000
"""So many rows at most are passed over in one step; passing over costs an index scan, not a decode."""


class ReadEvent(Protocol):
    """The part of ``store.events.StoredEvent`` that detection and the case file use."""

    @property
    def event_no(self) -> int: ...
    @property
    def device_no(self) -> int: ...
    @property
    def event_ms(self) -> int: ...
    @property
    def received_ms(self) -> int: ...
    @property
    def leaf_index(self) -> int: ...
    @property
    def epoch(self) -> bytes: ...
    @property
    def event(self) -> model.Event: ...


EventReader = Callable[[Connection, str, Sequence[int]], Sequence[ReadEvent]]
"""(connection, school, event numbers) -> those events that can still be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    device_no: int
    device_id: bytes
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One event or fact, ready for the rules.

    ``at_ms`` is when it happened: corrected for skew, and never after it was received. ``reference`` names it for
    ever, also in another database.
    """

    number: int
    is_fact: bool
    kind: str
    record: Record
    at_ms: int
    received_ms: int
    reference: str
    device: DeviceInfo | None
    event: model.Event | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Items after a cursor, and where the cursor stands when they are done."""

    items: tuple[Item, ...]
    cursor: int
    unreadable: tuple[int, ...] = ()
    """Events that are there and could not be read."""


def next_events(
    connection: Connection,
    school_id: str,
    cursor: int,
    *,
    kinds: frozenset[str],
    budget: int,
    read: EventReader,
) -> Portion:
    """At most ``budget`` events of the wanted kinds after ``cursor``."""
    head = connection.execute(select(func.max(events.c.event_no))).scalar() or 0
    upper = min(head, cursor + SCAN)
    wanted = sorted(kind_number(kind) for kind in kinds if not kind.startswith(FACT_PREFIX))
    if upper <= cursor or not wanted:
        return Portion(items=(), cursor=max(cursor, upper))
    query = (
        select(events.c.event_no)
        .where(events.c.event_no > cursor, events.c.event_no <= upper)
        .where(events.c.school_id == school_id, events.c.kind.in_(wanted))
        .order_by(events.c.event_no)
        .limit(budget)
    )
    numbers = [row.event_no for row in connection.execute(query)]
    stored = sorted(read(connection, school_id, numbers), key=lambda one: one.event_no) if numbers else []
    known = device_infos(connection, school_id, {one.device_no for one in stored})
    items = tuple(_event_item(one, known[one.device_no]) for one in stored if one.device_no in known)
    unreadable = tuple(sorted(set(numbers) - {one.event_no for one in stored}))
    cursor = numbers[-1] if len(numbers) == budget else upper
    return Portion(items=items, cursor=cursor, unreadable=unreadable)


def _event_item(stored: ReadEvent, device: DeviceInfo) -> Item:
    return Item(
        number=stored.event_no,
        is_fact=False,
        kind=stored.event.body.KIND,
        record=EventRecord(stored.event, device.device_id, device.group),
        at_ms=min(stored.event_ms, stored.received_ms),
        received_ms=stored.received_ms,
        reference="e:" + stored.event.id.hex(),
        device=device,
        event=stored.event,
    )


def next_facts(connection: Connection, school_id: str, cursor: int, *, budget: int) -> Portion:
    """At most ``budget`` facts after ``cursor``."""
    query = (
        select(collector_facts)
        .where(collector_facts.c.fact_no > cursor, collector_facts.c.school_id == school_id)
        .order_by(collector_facts.c.fact_no)
        .limit(budget)
    )
    rows = connection.execute(query).all()
    known = device_infos(connection, school_id, {row.device_no for row in rows if row.device_no is not None})
    items = []
    for row in rows:
        device = known.get(row.device_no)
        fields = json.loads(row.fields)
        record = FactRecord(
            row.kind, device.device_id if device else None, fields, device.group if device else ""
        )
        items.append(
            Item(
                number=row.fact_no,
                is_fact=True,
                kind=FACT_PREFIX + row.kind,
                record=record,
                at_ms=row.at_ms,
                received_ms=row.at_ms,
                reference=f"f:{row.fact_no}",
                device=device,
                event=None,
            )
        )
    return Portion(items=tuple(items), cursor=rows[-1].fact_no if rows else cursor)


def device_infos(connection: Connection, school_id: str, numbers: set[int]) -> dict[int, DeviceInfo]:
    """Those of the devices that exist, by number."""
    if not numbers:
        return {}
    query = select(devices.c.device_no, devices.c.device_id, devices.c.device_group).where(
        devices.c.school_id == school_id, devices.c.device_no.in_(sorted(numbers))
    )
    return {
        row.device_no: DeviceInfo(
            device_no=row.device_no, device_id=bytes(row.device_id), group=row.device_group
        )
        for row in connection.execute(query)
    }
