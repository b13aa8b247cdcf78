"""Room: what goes when the spool is full, in which order, and the record that says so.

Order: delivered frames, frames that were set aside, then pending ones: bulk oldest first, then normal, critical
last. An append evicts nothing of a lane more important than its own. Frames that are under way to the collector
go only when nothing else is left, since an acknowledgement may come for them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import checks, records, room, schema, values
from schoolkeeper_agent.spool.contract import SpoolUnwritable
from schoolkeeper_agent.spool.intervals import Intervals
from schoolkeeper_agent.spool.records import Record
from schoolkeeper_proto import codec, wire
from schoolkeeper_proto.wire import LANES, Lane

REASON = "no room"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Bytes: what there is, what is used, what the append needs; ``pinned`` frames are under way.

    ``own_lane`` False: only less important lanes give way (on a full disk, which others may soon empty).
    """

    room: int
    used: int
    needed: int
    lane: Lane
    pinned: Intervals
    own_lane: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    bytes: int = 0
    records: tuple[wire.EvictionRecord, ...] = ()


@dataclass(slots=True)
class _Tally:
    freed: int = 0
    records: dict[int, wire.EvictionRecord] = field(default_factory=dict)


def make_room(database: sqlite3.Connection, plan: Plan, now: Moment) -> Freed:
    """Deletes what must go, within the caller's transaction. Raises ``SpoolUnwritable`` when too little may go."""
    if plan.used + plan.needed <= plan.room:
        return Freed()
    must = plan.used + plan.needed - plan.room
    wish = plan.used + plan.needed - int(plan.room * room.EVICT_DOWN_TO)
    tally = _Tally()
    _drop_settled(database, tally, wish)
    first = LANES.index(plan.lane) + (not plan.own_lane)
    lanes = list(reversed(LANES[first:]))
    for pinned in (False, True):
        for lane in lanes:
            # More than must go only of what is not under way, and never more of a lane than of a lesser one.
            _evict(database, tally, lane, plan.pinned, pinned=pinned, until=must if pinned else wish, now=now)
    if tally.freed < must and not plan.own_lane:
        raise SpoolUnwritable(
            f"the disk is full, and the spool holds nothing less important than the {plan.lane.value} lane's events:"
            " free some space on it"
        )
    if tally.freed < must:
        raise SpoolUnwritable(
            f"the spool's room of {plan.room} bytes is full of more important events than the {plan.lane.value} lane's:"
            " connect the device to its collector, or raise spool.room_bytes"
        )
    _drop_empty_segments(database)
    return Freed(bytes=tally.freed, records=tuple(tally.records.values()))


def _drop_settled(database: sqlite3.Connection, tally: _Tally, wish: int) -> None:
    for state in (schema.DELIVERED, schema.SET_ASIDE):
        rows = database.execute(
            "SELECT frame_no, cost FROM frames WHERE state = ? ORDER BY frame_no", (state,)
        )
        numbers = []
        for number, cost in rows:
            if tally.freed >= wish:
                break
            numbers.append((number,))
            tally.freed += cost
        database.executemany("DELETE FROM frames WHERE frame_no = ?", numbers)


def _evict(
    database: sqlite3.Connection,
    tally: _Tally,
    lane: Lane,
    under_way: Intervals,
    *,
    pinned: bool,
    until: int,
    now: Moment,
) -> None:
    gone = []
    for row in _pending(database, lane):
        if tally.freed >= until:
            break
        number, epoch_no, first_sequence, count, cost, chain, header = row
        if (number in under_way) is not pinned:
            continue
        _record(
            database,
            tally,
            lane,
            epoch_no,
            first_sequence,
            count,
            checks.blob(header),
            checks.blob(chain),
            now,
        )
        gone.append((number,))
        tally.freed += cost
    database.executemany("DELETE FROM frames WHERE frame_no = ?", gone)


def _pending(
    database: sqlite3.Connection, lane: Lane
) -> Iterator[tuple[int, int, int, int, int, bytes, bytes]]:
    """The lane's pending frames, oldest first, in small reads: eviction seldom needs many."""
    last = 0
    while True:
        rows = database.execute(
            "SELECT frame_no, epoch_no, first_sequence, count, cost, chain, header FROM frames"
            " WHERE state = ? AND lane = ? AND frame_no > ? ORDER BY frame_no LIMIT 64",
            (schema.PENDING, schema.LANE_NUMBER[lane], last),
        ).fetchall()
        if not rows:
            return
        yield from rows
        last = rows[-1][0]


def _record(
    database: sqlite3.Connection,
    tally: _Tally,
    lane: Lane,
    epoch_no: int,
    first_sequence: int,
    count: int,
    header: bytes,
    chain: bytes,
    now: Moment,
) -> None:
    """Lengthens the growing record that ends here, or writes a new one."""
    values.count(database, values.EVICTED, count)
    before = codec.decode(wire.FrameHeader, header).previous
    ending_here = records.found(
        database,
        "epoch_no = ? AND lane = ? AND reported = ? AND reason = ? AND first_sequence + events = ?",
        epoch_no,
        schema.LANE_NUMBER[lane],
        records.GROWING,
        REASON,
        first_sequence,
    )
    record = Record(
        epoch_no=epoch_no,
        lane=schema.LANE_NUMBER[lane],
        first_sequence=first_sequence,
        events=count,
        frames=1,
        chain_before=before,
        chain_after=chain,
        reason=REASON,
        evicted_ms=now.wall_ms,
        reported=records.GROWING,
    )
    for growing in ending_here:
        record = replace(
            growing,
            events=growing.events + count,
            frames=growing.frames + 1,
            chain_after=chain,
            evicted_ms=now.wall_ms,
        )
    number = records.write(database, record)
    own = tally.records.get(number)
    tally.records[number] = wire.EvictionRecord(
        lane=lane,
        first_sequence=own.first_sequence if own else first_sequence,
        events=count + (own.events if own else 0),
        frames=1 + (own.frames if own else 0),
        chain_before=own.chain_before if own else before,
        chain_after=chain,
        reason=REASON,
        evicted_at_unix_ms=max(0, now.wall_ms),
    )


def close_records(database: sqlite3.Connection, numbers: tuple[int, ...]) -> None:
    """Records that are about to be signed grow no more: the collector keys them by where they begin."""
    for number in numbers:
        growing = records.found(database, "eviction_no = ? AND reported = ?", number, records.GROWING)
        records.mark(database, growing, records.WAITING)


def old_delivered(database: sqlite3.Connection, now: Moment) -> bool:
    row = database.execute(
        "SELECT 1 FROM frames WHERE state = ? AND settled_ms < ? LIMIT 1",
        (schema.DELIVERED, now.wall_ms - room.KEEP_DELIVERED_MS),
    ).fetchone()
    return row is not None


def delete_delivered(database: sqlite3.Connection, now: Moment) -> None:
    database.execute(
        "DELETE FROM frames WHERE state = ? AND settled_ms < ?",
        (schema.DELIVERED, now.wall_ms - room.KEEP_DELIVERED_MS),
    )
    _drop_empty_segments(database)
    database.execute(
        "DELETE FROM evictions WHERE reported = 1 AND evicted_ms < ?", (now.wall_ms - room.KEEP_DELIVERED_MS,)
    )


def _drop_empty_segments(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM segments WHERE segment_no NOT IN (SELECT segment_no FROM frames)")
