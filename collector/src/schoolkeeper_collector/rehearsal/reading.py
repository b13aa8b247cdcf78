"""Stored events as sightings of a rehearsal: four kinds, within a time, opened blob by blob."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select

from schoolkeeper_collector.store.blobs import BlobDamaged, Record
from schoolkeeper_collector.store.events import BlobReader
from schoolkeeper_collector.store.keystore import Keystore
from schoolkeeper_collector.store.tables import devices, events
from schoolkeeper_policies.trying.sightings import Kind, Sighting
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import GLIMPSED, WireFormatError, glimpse, kind_number

_KINDS: Final[dict[str, Kind]] = {
    model.ApplicationStarted.KIND: "started",
    model.ApplicationRefused.KIND: "refused",
    model.ApplicationUsage.KIND: "usage",
    model.MediumAttached.KIND: "medium",
}
_AT_ONCE: Final = 10_000


@dataclass(slots=True)
class StoredSightings:
    """Iterated once. ``unreadable`` counts events that were erased, or lie in a blob that does not open."""

    connection: Connection
    keystore: Keystore
    school_id: str
    since_ms: int
    until_ms: int
    unreadable: int = 0

    def __iter__(self) -> Iterator[Sighting]:
        device_of = _devices(self.connection, self.school_id)
        reader = BlobReader(self.connection, self.keystore, self.school_id)
        numbers = [kind_number(kind) for kind in sorted(GLIMPSED)]
        held = events.c
        query = (
            select(held.blob_no, held.position, held.device_no, held.event_ms)
            .where(held.school_id == self.school_id, held.kind.in_(numbers))
            .where(held.event_ms >= self.since_ms, held.event_ms < self.until_ms)
            .order_by(held.blob_no, held.position)
        )
        opened, records = -1, None
        for row in self.connection.execute(query.execution_options(yield_per=_AT_ONCE)):
            blob_no, position, device_no, event_ms = row
            if blob_no != opened:
                opened, records = blob_no, self._records(reader, blob_no)
            sighting = self._one(records, position, device_of.get(device_no, ("", "")), event_ms)
            if sighting is None:
                self.unreadable += 1
            else:
                yield sighting

    @staticmethod
    def _records(reader: BlobReader, blob_no: int) -> list[Record] | None:
        try:
            found = reader.records(blob_no)
        except (BlobDamaged, LookupError):
            return None
        return found[1] if found is not None else None

    @staticmethod
    def _one(
        records: list[Record] | None, position: int, device: tuple[str, str], event_ms: int
    ) -> Sighting | None:
        data = records[position].event if records is not None and position < len(records) else b""
        if not data:
            return None
        try:
            seen = glimpse(data)
        except WireFormatError:
            return None
        if seen is None:
            return None
        at_ms = event_ms
        if seen.hour_ms:
            # The aggregate is told later than it happened; a first start that lies elsewhere is not believed.
            inside = seen.hour_ms <= seen.first_ms < seen.hour_ms + 3_600_000
            at_ms = seen.first_ms if inside else seen.hour_ms
        return Sighting(
            _KINDS[seen.kind],
            device[0],
            device[1],
            at_ms,
            seen.person,
            seen.place,
            seen.what,
            seen.times,
            seen.hour_ms,
            seen.aggregate,
        )


def _devices(connection: Connection, school_id: str) -> dict[int, tuple[str, str]]:
    rows = connection.execute(
        select(devices.c.device_no, devices.c.device_id, devices.c.device_group).where(
            devices.c.school_id == school_id
        )
    )
    return {row.device_no: (bytes(row.device_id).hex(), row.device_group) for row in rows}


def devices_per_group(connection: Connection, school_id: str) -> dict[str, int]:
    """How many devices there are in each group, those left out that were revoked."""
    rows = connection.execute(
        select(devices.c.device_group).where(
            devices.c.school_id == school_id, devices.c.status != "revoked", devices.c.joined_into.is_(None)
        )
    )
    found: dict[str, int] = {}
    for (group,) in rows:
        found[group] = found.get(group, 0) + 1
    return found
