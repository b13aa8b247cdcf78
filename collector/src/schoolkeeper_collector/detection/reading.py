"""Stored events for the rules; a damaged blob costs its own events and never stops detection."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from schoolkeeper_collector.detection.source import EventReader
from schoolkeeper_collector.store.blobs import BlobDamaged
from schoolkeeper_collector.store.events import StoredEvent, read_events
from schoolkeeper_collector.store.keystore import Keystore
from schoolkeeper_proto.codec import WireFormatError

_DAMAGED = (BlobDamaged, LookupError, WireFormatError)


def store_reader(keystore: Keystore) -> EventReader:
    """Reads from the store; events that do not open are left out, and the engine notes which."""

    def read(connection: Connection, school_id: str, numbers: Sequence[int]) -> list[StoredEvent]:
        try:
            return read_events(connection, keystore, school_id, numbers)
        except _DAMAGED:
            return _one_by_one(connection, keystore, school_id, numbers)

    return read


def _one_by_one(
    connection: Connection, keystore: Keystore, school_id: str, numbers: Sequence[int]
) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    for number in numbers:
        try:
            found += read_events(connection, keystore, school_id, [number])
        except _DAMAGED:
            continue
    return found
