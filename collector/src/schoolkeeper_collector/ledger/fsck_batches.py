"""``fsck`` of batch statements: signature, frames, blobs and narrow rows against what the device signed."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from sqlalchemy import Connection, Row, func, select

from schoolkeeper_collector.ledger.fsck_report import Finding
from schoolkeeper_collector.ledger.fsck_tombstones import Tombstones
from schoolkeeper_collector.ledger.proofs import commitment
from schoolkeeper_collector.store.blobs import BlobDamaged, Record
from schoolkeeper_collector.store.events import BlobReader, first_event_from
from schoolkeeper_collector.store.expiry import expired_events
from schoolkeeper_collector.store.keystore import Keystore
from schoolkeeper_collector.store.places import Places
from schoolkeeper_collector.store.retention import HELD, retention_of
from schoolkeeper_collector.store.tables import blobs, devices, events, evictions, frames, set_aside
from schoolkeeper_proto import merkle, statements, wire
from schoolkeeper_proto.codec import WireFormatError, decode, kind_number, summarise

_Place = tuple[str, int]


class BatchChecker:
    """``check`` is called for each batch leaf in order; ``orphans`` afterwards.

    An event that a frame names is in a blob, or in one whose key was erased, or a tombstone of the ledger names it.
    """

    def __init__(
        self,
        connection: Connection,
        keystore: Keystore,
        school_id: str,
        keys: Mapping[bytes, tuple[bytes, EllipticCurvePublicKey]],
    ) -> None:
        self._connection = connection
        self._school_id = school_id
        self._keys = keys
        self._blobs = BlobReader(connection, keystore, school_id)
        query = select(devices.c.device_id, devices.c.device_no).where(devices.c.school_id == school_id)
        self._device_nos = {bytes(row.device_id): row.device_no for row in connection.execute(query)}
        self.tombstones = Tombstones(connection, school_id)
        self._narrow_at = 0
        self._passes: dict[str, _Pass] = {}
        self._checked: dict[str, int] = {"frames": 0, "blobs": 0, "evictions": 0, "set_aside": 0}

    def check(self, leaf_index: int, entry: wire.LedgerEntry) -> Iterator[Finding]:
        place = f"leaf {leaf_index}"
        try:
            statement = decode(wire.BatchStatement, entry.statement)
        except WireFormatError as error:
            yield Finding("ledger_entries", place, str(error))
            return
        yield from self._check_signature(place, entry, statement)
        device_no = self._device_nos.get(statement.device_id)
        if device_no is None:
            yield Finding("ledger_entries", place, f"is of the unknown device {statement.device_id.hex()}")
            return
        leaves: dict[_Place, bytes] = {}
        unreadable = 0
        for row in self._rows(blobs, leaf_index):
            self._checked["blobs"] += 1
            unreadable += yield from self._check_blob(row, statement, leaves)
        named = yield from self._check_frames(leaf_index, device_no, statement, leaves)
        yield from self._check_gone(leaf_index, statement, named, leaves, unreadable)
        yield from self._check_dropped(leaf_index, device_no, statement)

    def orphans(self) -> Iterator[Finding]:
        """Rows that no batch of the ledger accounts for."""
        for table in (frames, blobs, evictions, set_aside):
            held = self._count(table)
            if held != self._checked[table.name]:
                said = f"{held} rows, of which the ledger accounts for {self._checked[table.name]}"
                yield Finding(table.name, "the table", f"holds {said}")
        yield from self.tombstones.ended(expired_events(self._connection, self._school_id))
        lonely = (
            select(events.c.event_no)
            .join(blobs, blobs.c.blob_no == events.c.blob_no, isouter=True)
            .where(events.c.school_id == self._school_id, blobs.c.blob_no.is_(None))
            .limit(10)
        )
        for row in self._connection.execute(lonely):
            yield Finding("events", f"event {row.event_no}", "has no blob")

    # ---- inside -----------------------------------------------------------------------------------------

    def _check_signature(
        self, place: str, entry: wire.LedgerEntry, statement: wire.BatchStatement
    ) -> Iterator[Finding]:
        known = self._keys.get(statement.certificate_hash)
        if statement.school_id != self._school_id:
            yield Finding("ledger_entries", place, f"is of the school {statement.school_id!r}")
        if known is None or known[0] != statement.device_id or len(entry.signatures) != 1:
            yield Finding(
                "ledger_entries", place, "is signed under a certificate that the device does not have"
            )
            return
        try:
            statements.verify(statements.BATCH, entry.statement, entry.signatures[0].signature, known[1])
        except statements.StatementError as error:
            yield Finding("ledger_entries", place, str(error))

    def _check_blob(self, row: Row[Any], statement: wire.BatchStatement, leaves: dict[_Place, bytes]) -> Any:
        """Yields findings; returns how many events are in the blob that cannot be read, 0 for one that opens."""
        place = f"blob {row.blob_no}"
        try:
            opened = self._blobs.open_row(row)
        except BlobDamaged as error:
            yield Finding("blobs", place, str(error))
            return len(self._narrow(row.blob_no))
        if opened is None:
            yield Finding("blobs", place, "cannot be read: its key was erased", fatal=False)
            return len(self._narrow(row.blob_no))
        epoch, records = opened
        if epoch != statement.epoch:
            yield Finding("blobs", place, "is of another epoch than its statement")
        for record in records:
            leaves[record.lane.value, record.sequence] = commitment(record)
        yield from self._check_narrow(row, records)
        return 0

    def _narrow(self, blob_no: int) -> list[Row[Any]]:
        """The blob's narrow rows. Those of the blob before it are usually just in front of them."""
        first = first_event_from(self._connection, blob_no, self._narrow_at)
        rows: list[Row[Any]] = []
        query = select(events).where(events.c.event_no >= first).order_by(events.c.event_no)
        with self._connection.execute(query, execution_options={"yield_per": 200}) as result:
            for row in result:
                if row.blob_no != blob_no:
                    break
                rows.append(row)
        if rows:
            self._narrow_at = rows[-1].event_no + 1
        return rows

    def _check_narrow(self, blob: Row[Any], records: list[Record]) -> Iterator[Finding]:
        rows = self._narrow(blob.blob_no)
        place = f"blob {blob.blob_no}"
        if [row.position for row in rows] != list(range(len(records))):
            yield Finding(
                "events", place, f"has {len(rows)} rows for {len(records)} records, or not one for each"
            )
            return
        for row, record in zip(rows, records, strict=True):
            if row.device_no != blob.device_no or row.school_id != blob.school_id:
                yield Finding("events", f"event {row.event_no}", "is of another device than its blob")
            if record.event and not _agrees(row, record):
                yield Finding("events", f"event {row.event_no}", "does not say what its record holds")
            if record.event and blob.retention not in (retention_of(row.kind).value, HELD):
                what = f"lies in the class {blob.retention}"
                yield Finding("events", f"event {row.event_no}", what, fatal=False)

    def _check_frames(
        self,
        leaf_index: int,
        device_no: int,
        statement: wire.BatchStatement,
        leaves: dict[_Place, bytes],
    ) -> Generator[Finding, None, set[_Place]]:
        """Yields findings; returns the events of the leaf's frames."""
        claimed = {
            (run.lane.value, first): (count, root)
            for run in statement.runs
            for first, count, root in _claims(run)
        }
        covered = 0
        named: set[_Place] = set()
        for row in self._rows(frames, leaf_index, frames.c.count.label("events")):
            self._checked["frames"] += 1
            place = f"{row.lane} {row.first_sequence} of device {row.device_no}"
            root = bytes(row.root)
            if row.device_no != device_no or bytes(row.epoch) != statement.epoch:
                yield Finding("frames", place, "is of another device or epoch than its statement")
            if claimed.get((row.lane, row.first_sequence)) != (row.events, root):
                yield Finding("frames", place, f"is not what the statement of leaf {leaf_index} says")
            held = [leaves.get((row.lane, row.first_sequence + at)) for at in range(row.events)]
            covered += sum(leaf is not None for leaf in held)
            kept = (
                []
                if row.leaves is None
                else [bytes(row.leaves)[at : at + 32] for at in range(0, len(row.leaves), 32)]
            )
            if kept and merkle.tree_root(kept) != root:
                yield Finding("frames", place, "its kept commitments do not lead to its root")
            named.update((row.lane, row.first_sequence + at) for at in range(row.events))
            if None not in held and merkle.tree_root([leaf for leaf in held if leaf is not None]) != root:
                yield Finding("frames", place, "its events do not lead to the root that the device signed")
        if covered != len(leaves):
            yield Finding(
                "blobs", f"leaf {leaf_index}", f"{len(leaves) - covered} records belong to no frame"
            )
        return named

    def _check_gone(
        self,
        leaf_index: int,
        statement: wire.BatchStatement,
        named: set[_Place],
        leaves: dict[_Place, bytes],
        unreadable: int,
    ) -> Iterator[Finding]:
        """What is in no blob is in a tombstone, and the other way round."""
        places = Places(statement)
        place = f"leaf {leaf_index}"
        told = yield from self.tombstones.of_leaf(leaf_index, places.end)
        known = {places.position(lane, sequence) for lane, sequence in named}
        still = {places.position(lane, sequence) for lane, sequence in leaves.keys() & named}
        missing = len(known - still - told) - unreadable
        if missing:
            said = f"{abs(missing)} events of its frames are in no blob, and no tombstone says why"
            if missing < 0:
                said = f"{-missing} events are in blobs that do not open and in a tombstone as well"
            yield Finding("frames", place, said)
        if told & still:
            yield Finding("blobs", place, f"holds {len(told & still)} events that a tombstone says are gone")
        if told - known:
            yield Finding(
                "erased", place, f"{len(told - known)} events that a tombstone names are in no frame"
            )

    def _check_dropped(
        self, leaf_index: int, device_no: int, statement: wire.BatchStatement
    ) -> Iterator[Finding]:
        """Evicted and set-aside ranges are what the same statement says."""
        dropped = [(r.lane.value, r.first_sequence, r.first_sequence + r.events) for r in statement.evictions]
        for row in self._rows(evictions, leaf_index):
            self._checked["evictions"] += 1
            first, end = row.first_sequence, row.first_sequence + row.events
            said = any(lane == row.lane and a <= first and end <= b for lane, a, b in dropped)
            if not said or row.device_no != device_no:
                yield Finding(
                    "evictions", f"{row.lane} {first} of device {row.device_no}", "no statement says so"
                )
        roots = {root for run in statement.runs for root in run.roots}
        for row in self._rows(set_aside, leaf_index):
            self._checked["set_aside"] += 1
            if bytes(row.root) not in roots or row.device_no != device_no:
                place = f"{row.lane} {row.first_sequence} of device {row.device_no}"
                yield Finding("set_aside", place, "its commitment is in no statement")

    def _rows(self, table: Any, leaf_index: int, *more: Any) -> list[Row[Any]]:
        """A table's rows of one leaf. Leaves are asked for in order, so one sorted pass serves them all."""
        found = self._passes.get(table.name)
        if found is None:
            query = select(table, *more).where(table.c.school_id == self._school_id)
            found = self._passes[table.name] = _Pass(self._connection, query.order_by(table.c.leaf_index))
        return found.rows(leaf_index)

    def _count(self, table: Any) -> int:
        query = select(func.count()).select_from(table).where(table.c.school_id == self._school_id)
        return int(self._connection.execute(query).scalar_one())


class _Pass:
    """One streamed pass over rows that are sorted by leaf."""

    def __init__(self, connection: Connection, query: Any) -> None:
        self._rows = iter(connection.execute(query, execution_options={"yield_per": 500}))
        self._next: Row[Any] | None = next(self._rows, None)

    def rows(self, leaf_index: int) -> list[Row[Any]]:
        found: list[Row[Any]] = []
        while self._next is not None and (self._next.leaf_index or 0) <= leaf_index:
            if self._next.leaf_index == leaf_index:
                found.append(self._next)
            self._next = next(self._rows, None)
        return found


def _claims(run: wire.LaneRun) -> Iterator[tuple[int, int, bytes]]:
    first = run.first_sequence
    for count, root in zip(run.counts, run.roots, strict=False):
        yield first, count, root
        first += count


def _agrees(row: Row[Any], record: Record) -> bool:
    try:
        summary = summarise(record.event)
    except WireFormatError:
        return False
    event_ms = max(0, min((1 << 62) - 1, summary.wall_unix_ms - (summary.skew_ms or 0)))
    return (row.kind, row.event_ms, row.severity) == (kind_number(summary.kind), event_ms, summary.severity)
