"""Takes out of one blob what its time is over for and nothing holds; what stays can still be proved.

A blob of which nothing stays goes with its narrow rows. Of which something stays, it is packed and encrypted anew under
the same number: its events keep their numbers, and frames that lost a part keep their commitments. Where all that stays
is held, the blob leaves its class (``retention.HELD``) and gets a key of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update

from schoolkeeper_collector.store import blobs as blob_format
from schoolkeeper_collector.store.blobs import BlobContext, BlobDamaged, Record
from schoolkeeper_collector.store.events import BlobReader, first_event_from
from schoolkeeper_collector.store.holding import held_events
from schoolkeeper_collector.store.keystore import Keystore
from schoolkeeper_collector.store.places import Places, erased_of, from_spans
from schoolkeeper_collector.store.retention import DAY_MS, HELD, Periods, Retention, retention_of
from schoolkeeper_collector.store.tables import blobs, erased, events, frames, ledger_entries
from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.codec import decode

AnyRow = Row[Any]


@dataclass(slots=True)
class Gone:
    """What one step took out: by class, leaf and position; keys under which nothing is left."""

    positions: dict[Retention, dict[int, list[int]]] = field(default_factory=dict)
    blobs: dict[Retention, int] = field(default_factory=lambda: dict.fromkeys(Retention, 0))
    keys: list[bytes] = field(default_factory=list)
    looked_at: int = 0

    def events(self, retention: Retention) -> int:
        return sum(map(len, self.positions.get(retention, {}).values()))

    def add(self, kind: int, leaf_index: int, position: int) -> None:
        self.positions.setdefault(retention_of(kind), {}).setdefault(leaf_index, []).append(position)


class Trimmer:
    """Of one school, inside one write transaction."""

    def __init__(
        self, connection: Connection, keystore: Keystore, school_id: str, periods: Periods, now_ms: int
    ) -> None:
        self._connection = connection
        self._keystore = keystore
        self._school_id = school_id
        self._periods = periods
        self._now_ms = now_ms
        self._reader = BlobReader(connection, keystore, school_id)
        self._events_at = 0
        self.gone = Gone()

    def trim(self, blob: AnyRow) -> None:
        """``blob``: a whole row of ``blobs``, not of a device under a hold."""
        self.gone.looked_at += 1
        rows = self._narrow(blob.blob_no)
        due = {row.event_no for row in rows if self._is_over(blob, row)}
        if due:
            incident_ms = self._periods.incident_days * DAY_MS
            first, last = min(due), max(due)
            due -= held_events(self._connection, self._school_id, first, last, self._now_ms, incident_ms)
        kept = [row for row in rows if row.event_no not in due]
        to_held = blob.retention != HELD and bool(kept) and all(self._is_over(blob, row) for row in kept)
        if not due and not to_held:
            return
        records = self._records(blob)
        if records is None and kept:
            return  # it cannot be packed anew: it goes as a whole, later
        self._note(blob, [row for row in rows if row.event_no in due], records)
        if not kept:
            self._remove(blob, rows)
            return
        assert records is not None
        if due:
            self._keep_commitments(blob, records, {row.position for row in kept})
        self._rewrite(blob, records, kept, due, HELD if to_held else blob.retention)

    # ---- inside -----------------------------------------------------------------------------------------

    def _is_over(self, blob: AnyRow, row: AnyRow) -> bool:
        return bool(blob.received_ms < self._now_ms - self._periods.ms_of(row.kind))

    def _narrow(self, blob_no: int) -> list[Any]:
        first = first_event_from(self._connection, blob_no, self._events_at)
        found: list[Any] = []
        query = (
            select(events.c.event_no, events.c.blob_no, events.c.position, events.c.kind)
            .where(events.c.event_no >= first)
            .order_by(events.c.event_no)
        )
        with self._connection.execute(query, execution_options={"yield_per": 200}) as result:
            for row in result:
                if row.blob_no != blob_no:
                    break
                found.append(row)
        if found:
            self._events_at = found[-1].event_no + 1
        return found

    def _records(self, blob: AnyRow) -> tuple[bytes, list[Record]] | None:
        try:
            return self._reader.open_row(blob)
        except BlobDamaged:
            return None

    def _note(self, blob: AnyRow, due: list[AnyRow], opened: tuple[bytes, list[Record]] | None) -> None:
        places = self._places(blob.leaf_index)
        if opened is None:
            unknown = self._unaccounted(blob, places)
            for row, position in zip(due, unknown, strict=False):
                self.gone.add(row.kind, blob.leaf_index, position)
            return
        for row in due:
            record = opened[1][row.position]
            position = places.position(record.lane.value, record.sequence)
            self.gone.add(row.kind, blob.leaf_index, position)

    def _places(self, leaf_index: int) -> Places:
        query = select(ledger_entries.c.entry).where(
            ledger_entries.c.school_id == self._school_id, ledger_entries.c.leaf_index == leaf_index
        )
        return Places.of_entry(bytes(self._connection.execute(query).scalar_one()))

    def _unaccounted(self, blob: AnyRow, places: Places) -> list[int]:
        """Positions of the leaf's stored frames that are neither elsewhere nor gone: for a blob that does not open."""
        found: set[int] = set()
        for frame in self._frames_of_leaf(blob, places):
            at = places.position(frame.lane, frame.first_sequence)
            found.update(range(at, at + frame.events))
        query = select(blobs).where(blobs.c.school_id == self._school_id)
        for row in self._connection.execute(query.where(blobs.c.leaf_index == blob.leaf_index)):
            opened = self._records(row)
            if opened is not None:
                found -= {places.position(one.lane.value, one.sequence) for one in opened[1]}
        return sorted(found - self._erased(blob.leaf_index, places))

    def _erased(self, leaf_index: int, places: Places) -> set[int]:
        found = {
            position for leaves in self.gone.positions.values() for position in leaves.get(leaf_index, [])
        }
        query = (
            select(ledger_entries.c.entry)
            .join(erased, erased.c.tombstone_index == ledger_entries.c.leaf_index)
            .where(
                ledger_entries.c.school_id == self._school_id,
                erased.c.school_id == self._school_id,
                erased.c.leaf_index == leaf_index,
            )
        )
        for entry in self._connection.execute(query).scalars():
            said = decode(wire.TombstoneStatement, decode(wire.LedgerEntry, bytes(entry)).statement)
            for one in erased_of(said):
                if one.leaf_index == leaf_index:
                    found |= from_spans(one.spans, places.end)
        return found

    def _frames_of_leaf(self, blob: AnyRow, places: Places) -> Iterable[AnyRow]:
        entry = select(ledger_entries.c.entry).where(
            ledger_entries.c.school_id == self._school_id, ledger_entries.c.leaf_index == blob.leaf_index
        )
        ledger_entry = decode(wire.LedgerEntry, bytes(self._connection.execute(entry).scalar_one()))
        epoch = decode(wire.BatchStatement, ledger_entry.statement).epoch
        for lane, first, end in places.spans():
            yield from self._frames(blob.device_no, epoch, lane, first, end - 1, blob.leaf_index)

    def _frames(
        self, device_no: int, epoch: bytes, lane: str, first: int, last: int, leaf_index: int
    ) -> Sequence[Any]:
        """The frames of a leaf that begin in a range of sequences."""
        query = select(
            frames.c.lane, frames.c.first_sequence, frames.c.count.label("events"), frames.c.leaves
        ).where(
            frames.c.school_id == self._school_id,
            frames.c.device_no == device_no,
            frames.c.epoch == epoch,
            frames.c.lane == lane,
            frames.c.first_sequence >= first,
            frames.c.first_sequence <= last,
            frames.c.leaf_index == leaf_index,
        )
        return self._connection.execute(query).all()

    def _keep_commitments(self, blob: AnyRow, opened: tuple[bytes, list[Record]], kept: set[int]) -> None:
        """A frame of which only a part stays keeps the commitments of all its events in its own row."""
        epoch, records = opened
        by_lane: dict[str, dict[int, int]] = {}
        for position, record in enumerate(records):
            by_lane.setdefault(record.lane.value, {})[record.sequence] = position
        for lane, held in by_lane.items():
            for frame in self._frames(blob.device_no, epoch, lane, min(held), max(held), blob.leaf_index):
                if frame.leaves is not None:
                    continue
                range_of = range(frame.first_sequence, frame.first_sequence + frame.events)
                # Without kept commitments all of a frame lies in one blob.
                at = [held[sequence] for sequence in range_of if sequence in held]
                if kept.intersection(at) and len(at) == frame.events:
                    leaves = b"".join(_commitment(records[position]) for position in at)
                    self._connection.execute(
                        update(frames)
                        .where(
                            frames.c.school_id == self._school_id,
                            frames.c.device_no == blob.device_no,
                            frames.c.epoch == epoch,
                            frames.c.lane == lane,
                            frames.c.first_sequence == frame.first_sequence,
                        )
                        .values(leaves=leaves)
                    )

    def _remove(self, blob: AnyRow, rows: list[AnyRow]) -> None:
        if rows:
            self._delete_events(rows[0].event_no, rows[-1].event_no, blob.blob_no)
        self._connection.execute(delete(blobs).where(blobs.c.blob_no == blob.blob_no))
        kind = rows[0].kind if rows else 0
        self.gone.blobs[retention_of(kind) if blob.retention == HELD else Retention(blob.retention)] += 1
        if blob.retention == HELD:
            self.gone.keys.append(bytes(blob.key_id))

    def _delete_events(self, first: int, last: int, blob_no: int) -> None:
        self._connection.execute(
            delete(events).where(
                events.c.event_no >= first, events.c.event_no <= last, events.c.blob_no == blob_no
            )
        )

    def _rewrite(
        self,
        blob: AnyRow,
        opened: tuple[bytes, list[Record]],
        kept: list[AnyRow],
        due: set[int],
        retention: str,
    ) -> None:
        epoch, records = opened
        staying = [records[row.position] for row in kept]
        key_id, key = self._key(blob, retention)
        context = BlobContext(self._school_id, blob.device_no, blob.leaf_index, retention)
        self._connection.execute(
            update(blobs)
            .where(blobs.c.blob_no == blob.blob_no)
            .values(
                retention=retention,
                key_id=key_id,
                data=blob_format.seal(blob_format.pack_records(epoch, staying), key, context),
            )
        )
        if not due:
            return
        gone = sorted(due)
        for start in range(0, len(gone), 500):
            self._connection.execute(delete(events).where(events.c.event_no.in_(gone[start : start + 500])))
        moved = [
            {"no": row.event_no, "to": position}
            for position, row in enumerate(kept)
            if row.position != position
        ]
        if moved:
            self._connection.execute(
                update(events).where(events.c.event_no == bindparam("no")).values(position=bindparam("to")),
                moved,
            )

    def _key(self, blob: AnyRow, retention: str) -> tuple[bytes, bytes]:
        """What is held gets a key of its own, anew each time: the old one takes what went out of older backups."""
        if retention == HELD:
            if blob.retention == HELD:
                self.gone.keys.append(bytes(blob.key_id))
            return self._keystore.new_key(HELD, self._school_id, self._now_ms)
        key = self._keystore.key(bytes(blob.key_id))
        assert key is not None, "the blob was opened with it"
        return bytes(blob.key_id), key


def _commitment(record: Record) -> bytes:
    return record.commitment or statements.event_leaf(record.salt, record.event)
