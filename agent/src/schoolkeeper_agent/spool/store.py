"""The spool on SQLite. One thread at a time; every change is one transaction and durable when the call returns.

The way of an append: seal in memory, make room, write frames and lane head, commit (which syncs the log). When the
disk fails in the middle of a commit nobody knows the outcome: the database is opened anew and the lane's head says.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import checks, epochs, eviction, reading, room, schema, settling, values
from schoolkeeper_agent.spool.ballast import Disk
from schoolkeeper_agent.spool.contract import (
    Appended,
    Doubt,
    FrameState,
    Head,
    IngestTarget,
    Owner,
    Reading,
    Settlement,
    SpoolDamaged,
    SpoolError,
    SpoolRefused,
    SpoolUnwritable,
    Usage,
    Wanted,
)
from schoolkeeper_agent.spool.doubt import undo, was_kept, write_head
from schoolkeeper_agent.spool.framing import check_events, cut_into_frames
from schoolkeeper_agent.spool.intervals import Intervals
from schoolkeeper_agent.spool.keys import SegmentKeeper
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.sealing import SealedFrame, SegmentSealer
from schoolkeeper_proto.wire import Lane


class SqliteSpool:
    """See ``contract.Spool``. Make one with ``opening.open_spool``."""

    def __init__(
        self,
        database: sqlite3.Connection,
        path: Path,
        owner: Owner,
        target: IngestTarget,
        room_bytes: int,
        doubt: Doubt | None = None,
    ) -> None:
        self._database: sqlite3.Connection | None = database
        self._path = path
        self._owner = owner
        self._disk = Disk(path, room_bytes)
        self._room = self._disk.room
        self._keeper = SegmentKeeper(owner, target)
        self._doubt = doubt
        self._pinned = Intervals()
        self._load()

    # ---- what it is ---------------------------------------------------------------------------------

    @property
    def epoch(self) -> bytes:
        return self._current.epoch

    @property
    def epoch_because(self) -> str:
        return self._current.because

    @property
    def doubt(self) -> Doubt | None:
        return self._doubt

    def note(self, name: str) -> bytes:
        with self._guarded() as database:
            return values.note(database, name) or b""

    def usage(self) -> Usage:
        with self._guarded() as database:
            return reading.usage(database, self._room, self._used)

    def cursors(self) -> tuple[wire.LaneCursor, ...]:
        with self._guarded() as database:
            return reading.cursors(database)

    def fate(self, epoch: bytes, lane: Lane, sequence: int) -> FrameState | None:
        with self._guarded() as database:
            return reading.fate(database, epoch, lane, sequence)

    # ---- writing ------------------------------------------------------------------------------------

    def append(
        self, lane: Lane, events: Sequence[bytes], now: Moment, notes: Mapping[str, bytes] | None = None
    ) -> Appended:
        check_events(lane, events)
        self._ready()
        try:
            return self._append(lane, events, now, notes or {})
        except SpoolUnwritable as error:
            if not self._may_go_on(error, important=lane is Lane.CRITICAL):
                raise
        self._ready()
        return self._append(lane, events, now, notes or {})

    def _append(
        self, lane: Lane, events: Sequence[bytes], now: Moment, notes: Mapping[str, bytes]
    ) -> Appended:
        before = self._heads[lane]
        sealer, sealed = self._seal(lane, before, events, now)
        needed = sum(room.cost(item.frame.header, item.frame.ciphertext) for item in sealed)
        if needed > self._room:
            raise SpoolRefused(
                f"{len(events)} events take {needed} bytes, the spool's room is {self._room}: raise spool.room_bytes"
            )
        after = Head(next_sequence=before.next_sequence + len(events), chain=sealed[-1].chain)
        try:
            with self._change() as database:
                freed = eviction.make_room(database, self._plan(lane, needed), now)
                self._write(database, lane, sealer, sealed, now)
                write_head(database, self._current.number, lane, after)
                for name, value in notes.items():
                    values.put_note(database, name, value)
        except SpoolUnwritable as error:
            if not schema.is_failing(error.__cause__) or not self._outcome(
                Doubt(epoch_no=self._current.number, lane=lane, before=before, after=after)
            ):
                raise
            freed = eviction.Freed()
            self._reload_used()
        else:
            self._used += needed - freed.bytes
        self._heads[lane] = after
        return Appended(
            lane=lane,
            first_sequence=before.next_sequence,
            events=len(events),
            frames=len(sealed),
            evicted=freed.records,
        )

    def _plan(self, lane: Lane, needed: int) -> eviction.Plan:
        return eviction.Plan(
            room=self._disk.room_for(lane),
            used=self._used,
            needed=needed,
            lane=lane,
            pinned=self._pinned,
            own_lane=not self._disk.full,
        )

    def settle(self, settlement: Settlement, now: Moment) -> None:
        self._freeing(lambda database: settling.settle(database, settlement, now))
        settled = {*settlement.delivered, *(number for number, _ in settlement.set_aside)}
        self._pinned = self._pinned.without(settled)

    def read(self, wanted: Wanted) -> Reading | None:
        self._pinned = wanted.skip
        with self._guarded() as database:
            found, damaged = reading.read(database, wanted)
        if damaged:
            reason = "damaged on this device's disk"
            aside = tuple((number, reason) for number in damaged)
            self._freeing(lambda database: settling.set_aside(database, aside, 0))
            return self.read(wanted)
        if found is None:
            return None
        self._pinned = self._pinned.union(Intervals.of(frame.number for frame in found.frames))
        if found.evictions:
            records = tuple(item.number for item in found.evictions)
            self._freeing(lambda database: eviction.close_records(database, records))
        return found

    def new_epoch(self, because: str, now: Moment) -> bytes:
        with self._change() as database:
            epochs.open_new(database, self._owner, because, now)
        self._keeper.forget()
        self._load()
        return self.epoch

    def send_again(self, held: Sequence[wire.HeldRange]) -> int:
        with self._change() as database:
            return settling.send_again(database, held)

    def count_lost(self, events: int) -> None:
        self._freeing(lambda database: values.count(database, values.LOST, events))

    def tidy(self, now: Moment) -> None:
        self._keeper.forget_old(now)
        self._disk.look()
        with self._guarded() as database:
            due = eviction.old_delivered(database, now)
        if due:
            with self._change() as database:
                eviction.delete_delivered(database, now)
            self._reload_used()

    def retarget(self, target: IngestTarget) -> None:
        self._keeper.retarget(target)

    def close(self) -> None:
        self._keeper.forget()
        if self._database is not None:
            self._database.close()
            self._database = None

    # ---- inside -------------------------------------------------------------------------------------

    def _seal(
        self, lane: Lane, head: Head, events: Sequence[bytes], now: Moment
    ) -> tuple[SegmentSealer, list[SealedFrame]]:
        sealer = self._keeper.sealer(self.epoch, now)
        sequence, chain = head.next_sequence, head.chain
        sealed = []
        for part in cut_into_frames(events):
            item = sealer.seal(lane, sequence, chain, part)
            sealed.append(item)
            sequence, chain = sequence + len(part), item.chain
        return sealer, sealed

    def _write(
        self,
        database: sqlite3.Connection,
        lane: Lane,
        sealer: SegmentSealer,
        sealed: list[SealedFrame],
        now: Moment,
    ) -> None:
        segment_no = self._segment(database, sealer)
        database.executemany(
            "INSERT INTO frames (epoch_no, lane, first_sequence, count, state, cost, written_ms, segment_no, crc,"
            " chain, header, ciphertext) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    self._current.number,
                    schema.LANE_NUMBER[lane],
                    item.header.first_sequence,
                    item.header.count,
                    schema.PENDING,
                    room.cost(item.frame.header, item.frame.ciphertext),
                    now.wall_ms,
                    segment_no,
                    zlib.crc32(item.frame.ciphertext, zlib.crc32(item.frame.header)),
                    item.chain,
                    item.frame.header,
                    item.frame.ciphertext,
                )
                for item in sealed
            ],
        )

    def _segment(self, database: sqlite3.Connection, sealer: SegmentSealer) -> int:
        """The segment's row, written with its first frame and again if eviction emptied it in between."""
        segment = sealer.segment
        row = database.execute(
            "SELECT segment_no FROM segments WHERE segment_id = ?", (segment.segment_id,)
        ).fetchone()
        if row:
            return int(row[0])
        encoded = encode(segment)
        cursor = database.execute(
            "INSERT INTO segments (segment_id, epoch_no, crc, encoded) VALUES (?, ?, ?, ?)",
            (segment.segment_id, self._current.number, zlib.crc32(encoded), encoded),
        )
        return int(cursor.lastrowid or 0)

    def _load(self) -> None:
        with self._told() as database:
            self._load_from(database)
        self._reload_used()

    def _load_from(self, database: sqlite3.Connection) -> None:
        self._current = epochs.current(database)
        rows = database.execute(
            "SELECT lane, next_sequence, chain FROM lanes WHERE epoch_no = ?", (self._current.number,)
        )
        self._heads = {
            schema.lane_of(lane): Head(
                next_sequence=next_sequence,
                chain=checks.chain_of(self._current.number, lane, next_sequence, chain),
            )
            for lane, next_sequence, chain in rows
        }
        if len(self._heads) != len(wire.LANES):
            raise ValueError("a lane of the epoch is missing")

    def _reload_used(self) -> None:
        with self._told() as database:
            (used,) = database.execute("SELECT coalesce(sum(cost), 0) FROM frames").fetchone()
            self._used = checks.whole(used)

    # ---- a disk that is full --------------------------------------------------------------------------

    def _freeing(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """One change that must not wait for room, since it is what makes room: on a full disk it takes the ballast."""
        try:
            with self._change() as database:
                work(database)
            return
        except SpoolUnwritable as error:
            if not self._may_go_on(error, important=True):
                raise
        with self._change() as database:
            work(database)

    def _may_go_on(self, error: SpoolUnwritable, *, important: bool) -> bool:
        return self._disk.refused(error, self._used, self._database, important=important)

    # ---- a disk that fails --------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            raise SpoolUnwritable(f"the spool {self._path} is closed")
        return self._database

    def _ready(self) -> None:
        """Opens the database anew after a failure, and undoes what a caller was told had not happened."""
        if self._database is None or self._doubt is not None:
            self._reopen()
            if self._doubt is not None and self._was_kept(self._doubt):
                self._undo(self._doubt)
            self._doubt = None

    def _reopen(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        try:
            database = schema.connect(self._path)
        except sqlite3.Error as error:
            raise named(error, self._path) from error
        try:
            # After a failed sync the log's pages may be clean in memory and missing on the disk: copying them
            # into the database writes and syncs them anew.
            busy, _, _ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise SpoolUnwritable(f"the spool {self._path} is in use by another process")
            self._database = database
            self._load()
        except NOT_AS_WRITTEN as error:
            self._database = None
            database.close()
            raise named(error, self._path) from error
        except SpoolError:
            self._database = None
            database.close()
            raise

    def _outcome(self, doubt: Doubt) -> bool:
        """Whether an append whose commit failed was kept after all. False also when that is not known yet."""
        self._doubt = doubt
        try:
            self._reopen()
        except SpoolUnwritable:
            return False
        kept = self._was_kept(doubt)
        self._doubt = None
        return kept

    def _was_kept(self, doubt: Doubt) -> bool:
        with self._told() as database:
            return was_kept(database, doubt)

    def _undo(self, doubt: Doubt) -> None:
        with self._transaction() as database:
            undo(database, doubt)
        self._load()

    def _close_in_doubt(self, error: Exception) -> None:
        """After an I/O error only the file itself can say what was kept: the next use opens it anew."""
        if schema.is_failing(error) and self._database:
            self._database.close()
            self._database = None

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        self._ready()
        with self._told() as database:
            yield database

    @contextmanager
    def _told(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._open()
        except NOT_AS_WRITTEN as error:
            raise named(error, self._path) from error

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or, when this raises, none of it that the caller need know of."""
        self._ready()
        with self._transaction() as database:
            yield database

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """As ``_change``, also while an append is in doubt: for what settles the doubt."""
        database = self._open()
        try:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        except NOT_AS_WRITTEN as error:
            schema.roll_back(database)
            self._close_in_doubt(error)
            raise named(error, self._path) from error
        except BaseException:
            schema.roll_back(database)
            raise


NOT_AS_WRITTEN = (sqlite3.Error, TypeError, ValueError, LookupError, OverflowError)
"""What work on the database raises: SQLite's own errors, and those of values that nobody wrote there."""


def named(error: Exception, path: Path) -> SpoolUnwritable | SpoolDamaged:
    """The error that says what is to be done. Damage is marked beside the file, so that opening it rebuilds it."""
    if not isinstance(error, sqlite3.Error) or schema.is_damage(error):
        schema.mark_damaged(path, str(error))
        return SpoolDamaged(
            f"the spool {path} is damaged: {error}; it must be opened anew, which saves the rest"
        )
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    return SpoolUnwritable(
        f"the spool {path} cannot be written: {error} ({name}); is the disk full or failing?"
    )
