"""What can be read of a damaged spool goes into a new one; what cannot is counted as far as anyone can know.

Frames keep their epoch, lane and sequence: they are sealed and chained already. Every row is checked on its way, so
that the new database holds nothing that a bit has changed. Where frames are missing between readable ones, an
eviction record says so, with the chain's values on both sides, so that the collector can tell a damaged disk from a
hidden frame.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import checks, firstpage, loss, records, schema, values
from schoolkeeper_agent.spool.contract import Doubt, Owner
from schoolkeeper_agent.spool.doubt import covers
from schoolkeeper_agent.spool.records import Record
from schoolkeeper_agent.spool.salvage_counts import (
    copy_counters,
    copy_notes,
    copy_records,
    evicted_before,
    forget_counts,
    least_counts,
)
from schoolkeeper_agent.spool.salvage_frames import copy_frames
from schoolkeeper_agent.spool.salvage_rows import copy_epochs, copy_segments, heads
from schoolkeeper_proto import codec, wire

REASON = "damaged on the device's disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvaged:
    """``frames`` and ``events`` are those still pending; ``lost_events`` counts pending ones that are gone."""

    frames: int = 0
    events: int = 0
    lost_events: int = 0
    lost_known: bool = False
    also_lost: tuple[str, ...] = ()


def salvage(
    path: Path, fresh: sqlite3.Connection, sound: bytes, owner: Owner, now: Moment, doubt: Doubt | None
) -> Salvaged:
    """Copies what is readable from the database at ``path``; ``sound`` is the first page of a new one.

    An append in ``doubt`` is neither copied nor counted as lost: its caller still has the events.

    Raises ``sqlite3.Error`` and ``OSError`` for the new database, and for a disk that is full or failing.
    """
    old = firstpage.open_damaged(path, sound)
    if old is None:
        return Salvaged(also_lost=forget_counts(fresh))
    old.text_factory = lambda raw: raw.decode(errors="replace")
    try:
        return _copy(old, fresh, owner, now, doubt)
    finally:
        old.close()


def _copy(
    old: sqlite3.Connection, fresh: sqlite3.Connection, owner: Owner, now: Moment, doubt: Doubt | None
) -> Salvaged:
    fresh.execute("BEGIN IMMEDIATE")
    try:
        also_lost = [*copy_notes(old, fresh), *copy_counters(old, fresh)]
        epochs = copy_epochs(old, fresh, owner, now)
        segments = copy_segments(old, fresh, epochs)
        promised = loss.promised(old, doubt)
        kept = copy_frames(old, fresh, segments, promised or {}, now, doubt)
        gone, broken = copy_records(old, fresh, set(epochs.values()))
        if broken:
            also_lost.append(f"{gone or 'some'} records of events that had made room before")
        told_before = evicted_before(fresh) if broken else 0
        found = _settled(heads(old, set(epochs.values())), doubt)
        in_holes = _close_lanes(fresh, found, now)
        frames, events = fresh.execute(
            "SELECT count(*), coalesce(sum(count), 0) FROM frames WHERE state = ?", (schema.PENDING,)
        ).fetchone()
        lost, known = loss.reckon(
            promised,
            kept,
            set(epochs.values()),
            in_holes=in_holes,
            absent=loss.absent(fresh),
            told_before=in_holes if told_before is None else told_before,
        )
        values.count(fresh, values.LOST, lost)
        least_counts(fresh)
        fresh.execute("COMMIT")
    except BaseException:
        schema.roll_back(fresh)
        raise
    return Salvaged(
        frames=frames,
        events=events,
        lost_events=lost,
        lost_known=known and not broken and None not in found.values(),
        also_lost=tuple(also_lost),
    )


_Heads = dict[tuple[int, int], tuple[int, bytes] | None]


def _settled(found: _Heads, doubt: Doubt | None) -> _Heads:
    """The heads as they were before the append in doubt."""
    return {
        (epoch_no, lane): (doubt.before.next_sequence, doubt.before.chain)
        if doubt is not None and head is not None and covers(doubt, epoch_no, lane, head[0])
        else head
        for (epoch_no, lane), head in found.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    first: int
    end: int
    before: bytes
    after: bytes


def _close_lanes(fresh: sqlite3.Connection, found: _Heads, now: Moment) -> int:
    """Writes the lanes' heads, where they are lost as far as the lane is known, and a record for every hole.

    Returns how many events the holes held.
    """
    gone = 0
    for (epoch_no, lane), head in found.items():
        position: _Piece | None = None
        for piece in _pieces(fresh, epoch_no, lane):
            if position is not None and position.end < piece.first:
                gone += _record_hole(fresh, epoch_no, lane, position, piece, now)
            if position is None or piece.end > position.end:
                position = piece
        end, chain = (position.end, position.after) if position else (0, wire.CHAIN_START)
        if head is not None and head[0] >= end:
            if position is not None and end < head[0]:
                last = _Piece(first=head[0], end=head[0], before=head[1], after=head[1])
                gone += _record_hole(fresh, epoch_no, lane, position, last, now)
            end, chain = head
        fresh.execute(
            "INSERT INTO lanes (epoch_no, lane, next_sequence, chain) VALUES (?, ?, ?, ?)",
            (epoch_no, lane, end, checks.head(epoch_no, lane, end, chain)),
        )
    return gone


def _pieces(fresh: sqlite3.Connection, epoch_no: int, lane: int) -> list[_Piece]:
    """The lane's frames and eviction records, in order of where they begin."""
    frames = fresh.execute(
        "SELECT first_sequence, count, header, chain FROM frames WHERE epoch_no = ? AND lane = ?",
        (epoch_no, lane),
    )
    pieces = [
        _Piece(first=f, end=f + n, before=codec.decode(wire.FrameHeader, header).previous, after=after)
        for f, n, header, after in frames
    ]
    pieces += [
        _Piece(first=r.first_sequence, end=r.end, before=r.chain_before, after=r.chain_after)
        for r in records.found(fresh, "epoch_no = ? AND lane = ?", epoch_no, lane)
    ]
    return sorted(pieces, key=lambda piece: piece.first)


def _record_hole(
    fresh: sqlite3.Connection, epoch_no: int, lane: int, left: _Piece, right: _Piece, now: Moment
) -> int:
    events = right.first - left.end
    hole = Record(
        epoch_no=epoch_no,
        lane=lane,
        first_sequence=left.end,
        events=events,
        frames=0,
        chain_before=left.after,
        chain_after=right.before,
        reason=REASON,
        evicted_ms=now.wall_ms,
        reported=records.WAITING,
    )
    records.write(fresh, hole)
    return events
