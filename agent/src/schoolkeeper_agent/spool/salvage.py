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
from schoolkeeper_agent.spool import checks, firstpage, loss, schema
from schoolkeeper_agent.spool.contract import Owner
from schoolkeeper_agent.spool.salvage_frames import copy_frames
from schoolkeeper_agent.spool.salvage_rows import (
    copy_counters,
    copy_epochs,
    copy_evictions,
    copy_notes,
    copy_segments,
    heads,
)
from schoolkeeper_proto import codec, wire

REASON = "damaged on the device's disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvaged:
    """``frames`` and ``events`` are those still pending; ``lost_events`` counts pending ones that are gone."""

    frames: int = 0
    events: int = 0
    lost_events: int = 0
    lost_known: bool = False


def salvage(path: Path, fresh: sqlite3.Connection, sound: bytes, owner: Owner, now: Moment) -> Salvaged:
    """Copies what is readable from the database at ``path``; ``sound`` is the first page of a new one.

    Raises ``sqlite3.Error`` and ``OSError`` for the new database, and for a disk that is full or failing.
    """
    old = firstpage.open_damaged(path, sound)
    if old is None:
        return Salvaged()
    old.text_factory = lambda raw: raw.decode(errors="replace")
    try:
        return _copy(old, fresh, owner, now)
    finally:
        old.close()


def _copy(old: sqlite3.Connection, fresh: sqlite3.Connection, owner: Owner, now: Moment) -> Salvaged:
    fresh.execute("BEGIN IMMEDIATE")
    try:
        copy_notes(old, fresh)
        copy_counters(old, fresh)
        epochs = copy_epochs(old, fresh, owner, now)
        segments = copy_segments(old, fresh, epochs)
        promised = loss.promised(old)
        kept = copy_frames(old, fresh, segments, promised or {}, now)
        copy_evictions(old, fresh, set(epochs.values()), now)
        found = heads(old, set(epochs.values()))
        in_holes = _close_lanes(fresh, found, now)
        frames, events = fresh.execute(
            "SELECT count(*), coalesce(sum(count), 0) FROM frames WHERE state = ?", (schema.PENDING,)
        ).fetchone()
        lost, known = loss.reckon(
            promised, kept, set(epochs.values()), in_holes=in_holes, absent=loss.absent(fresh)
        )
        fresh.execute(
            "INSERT INTO counters (name, value) VALUES ('lost_events', ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (lost,),
        )
        fresh.execute("COMMIT")
    except BaseException:
        schema.roll_back(fresh)
        raise
    return Salvaged(
        frames=frames, events=events, lost_events=lost, lost_known=known and None not in found.values()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    first: int
    end: int
    before: bytes
    after: bytes


def _close_lanes(
    fresh: sqlite3.Connection, found: dict[tuple[int, int], tuple[int, bytes] | None], now: Moment
) -> int:
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
    records = fresh.execute(
        "SELECT first_sequence, events, chain_before, chain_after FROM evictions WHERE epoch_no = ? AND lane = ?",
        (epoch_no, lane),
    )
    pieces += [_Piece(first=f, end=f + n, before=before, after=after) for f, n, before, after in records]
    return sorted(pieces, key=lambda piece: piece.first)


def _record_hole(
    fresh: sqlite3.Connection, epoch_no: int, lane: int, left: _Piece, right: _Piece, now: Moment
) -> int:
    events = right.first - left.end
    fresh.execute(
        "INSERT INTO evictions (epoch_no, lane, first_sequence, events, frames, chain_before, chain_after,"
        " reason, evicted_ms, reported) VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, 0)",
        (epoch_no, lane, left.end, events, left.after, right.before, REASON, now.wall_ms),
    )
    return events
