"""Reading events back: narrow rows say where, blobs hold what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, Select, func, select

from schoolkeeper_collector.store.blobs import BlobContext, Record, open_blob
from schoolkeeper_collector.store.keystore import Keystore
from schoolkeeper_collector.store.tables import blobs, events
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import decode
from schoolkeeper_proto.wire import Lane

_ASK_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event with its place. An erased one stands as ``Unrecognised``, which no rule matches."""

    event_no: int
    device_no: int
    epoch: bytes
    lane: Lane
    sequence: int
    leaf_index: int
    event_ms: int
    received_ms: int
    event: model.Event


def read_events(
    connection: Connection, keystore: Keystore, school_id: str, event_nos: Sequence[int]
) -> list[StoredEvent]:
    """These events, by number; numbers that do not exist are left out."""
    found: list[StoredEvent] = []
    for start in range(0, len(event_nos), _ASK_AT_ONCE):
        query = _rows(school_id).where(events.c.event_no.in_(event_nos[start : start + _ASK_AT_ONCE]))
        found += _open(connection, keystore, school_id, query)
    return sorted(found, key=lambda event: event.event_no)


def events_after(
    connection: Connection, keystore: Keystore, school_id: str, event_no: int, limit: int
) -> list[StoredEvent]:
    """The next events in the order in which they became visible; numbers only grow (see ``Store.write``)."""
    query = _rows(school_id).where(events.c.event_no > event_no).limit(limit)
    return _open(connection, keystore, school_id, query)


def first_event_from(connection: Connection, blob_no: int, at: int = 0) -> int:
    """The number of the first event of this blob or a later one; one beyond the last where there is none.

    Blobs and their events are numbered in the same order by the only writer, so halving finds it; an index would
    cost every event that is stored. ``at``: where the blob's events may begin, looked at first.
    """
    table = events.c
    near = select(table.event_no, table.blob_no).order_by(table.event_no).limit(1)
    if at:
        row = connection.execute(near.where(table.event_no >= at)).first()
        if row is not None and row.blob_no == blob_no:
            return int(row.event_no)
    low = 1
    high = int(connection.execute(select(func.max(table.event_no))).scalar() or 0) + 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(near.where(table.event_no >= middle)).one()
        if row.blob_no >= blob_no:
            high = middle
        else:
            low = row.event_no + 1
    return low


class BlobReader:
    """Opens the blobs of a few reads; a key is asked for once."""

    def __init__(self, connection: Connection, keystore: Keystore, school_id: str) -> None:
        self._connection = connection
        self._keystore = keystore
        self._school_id = school_id
        self._keys: dict[bytes, bytes | None] = {}

    def records(self, blob_no: int) -> tuple[bytes, list[Record]] | None:
        """(epoch, records); None when the key was erased. Raises ``BlobDamaged``, ``LookupError``."""
        row = self._connection.execute(select(blobs).where(blobs.c.blob_no == blob_no)).first()
        if row is None:
            raise LookupError(f"there is no blob {blob_no}: run `schoolkeeper-collector fsck`")
        return self.open_row(row)

    def open_row(self, row: Row[tuple[object, ...]]) -> tuple[bytes, list[Record]] | None:
        """The same from a row of ``blobs``."""
        key_id = bytes(row.key_id)
        if key_id not in self._keys:
            self._keys[key_id] = self._keystore.key(key_id)
        key = self._keys[key_id]
        if key is None:
            return None
        context = BlobContext(self._school_id, row.device_no, row.leaf_index, row.retention)
        return open_blob(bytes(row.data), key, context)


def _rows(school_id: str) -> Select[tuple[int, int, int, int, int, int, int]]:
    return (
        select(
            events.c.event_no,
            events.c.device_no,
            events.c.blob_no,
            events.c.position,
            events.c.event_ms,
            blobs.c.leaf_index,
            blobs.c.received_ms,
        )
        .join(blobs, blobs.c.blob_no == events.c.blob_no)
        .where(events.c.school_id == school_id)
        .order_by(events.c.event_no)
    )


def _open(
    connection: Connection,
    keystore: Keystore,
    school_id: str,
    query: Select[tuple[int, int, int, int, int, int, int]],
) -> list[StoredEvent]:
    reader = BlobReader(connection, keystore, school_id)
    opened: dict[int, tuple[bytes, list[Record]] | None] = {}
    found: list[StoredEvent] = []
    for row in connection.execute(query).all():
        if row.blob_no not in opened:
            opened[row.blob_no] = reader.records(row.blob_no)
        blob = opened[row.blob_no]
        epoch, record = (b"", None) if blob is None else (blob[0], blob[1][row.position])
        found.append(
            StoredEvent(
                event_no=row.event_no,
                device_no=row.device_no,
                epoch=epoch,
                lane=record.lane if record else Lane.UNSPECIFIED,
                sequence=record.sequence if record else 0,
                leaf_index=row.leaf_index,
                event_ms=row.event_ms,
                received_ms=row.received_ms,
                event=decode(model.Event, record.event) if record and record.event else _erased(row.event_ms),
            )
        )
    return found


def _erased(event_ms: int) -> model.Event:
    return model.Event(
        id=model.EventId(bytes(16)),
        wall_unix_ms=event_ms,
        monotonic_ms=0,
        boot_id=b"",
        body=model.Unrecognised(),
    )
