"""What can be read of a damaged spool goes into a new one; what cannot is counted as far as anyone can know.

Frames keep their epoch, lane and sequence: they are sealed and chained already. Where frames are missing between
readable ones, an eviction record says so, with the chain's values on both sides, so that the collector can tell a
damaged disk from a hidden frame.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import schema
from schoolkeeper_proto import codec, wire
from schoolkeeper_proto.statements import chain_value

REASON = "damaged on the device's disk"
_BLIND_STEPS = 2_000
"""Frame numbers that are tried one by one behind an unreadable page before the rest is given up."""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvaged:
    """``frames`` and ``events`` are those still pending; ``lost_events`` counts pending ones that are gone."""

    frames: int = 0
    events: int = 0
    lost_events: int = 0
    lost_known: bool = False


def salvage(path: Path, fresh: sqlite3.Connection, now: Moment) -> Salvaged:
    """Copies what is readable from the database at ``path``. Raises ``sqlite3.Error`` only for the new database."""
    try:
        old = schema.connect(path)
    except sqlite3.Error:
        return Salvaged()
    try:
        return _copy(old, fresh, now)
    finally:
        old.close()


def _copy(old: sqlite3.Connection, fresh: sqlite3.Connection, now: Moment) -> Salvaged:
    fresh.execute("BEGIN IMMEDIATE")
    for table in ("notes", "counters", "epochs", "lanes", "segments", "evictions"):
        _copy_table(old, fresh, table)
    fresh.execute("UPDATE evictions SET reported = 0 WHERE reported = -1")
    promised = _promised(old)
    kept = _copy_frames(old, fresh, promised)
    frames, events = fresh.execute(
        "SELECT count(*), coalesce(sum(count), 0) FROM frames WHERE state = ?", (schema.PENDING,)
    ).fetchone()
    lost = 0
    if promised is not None:
        gone = (value for number, value in promised.items() if number not in kept)
        lost = sum(count for state, count in gone if state == schema.PENDING)
    _record_holes(fresh, now)
    fresh.execute(
        "INSERT INTO counters (name, value) VALUES ('lost_events', ?)"
        " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        (lost,),
    )
    fresh.execute("COMMIT")
    return Salvaged(frames=frames, events=events, lost_events=lost, lost_known=promised is not None)


def _copy_table(old: sqlite3.Connection, fresh: sqlite3.Connection, table: str) -> None:
    width = len(fresh.execute(f"PRAGMA table_info({table})").fetchall())  # names come from the tuple above
    marks = ", ".join("?" * width)
    for row in _readable(old, f"SELECT * FROM {table}"):  # noqa: S608 - as above
        if len(row) == width:
            try:
                fresh.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608 - as above
            except sqlite3.IntegrityError:
                continue


def _readable(old: sqlite3.Connection, query: str, *arguments: object) -> Iterator[Row]:
    """Rows until the first unreadable page."""
    try:
        yield from old.execute(query, arguments)
    except sqlite3.Error:
        return


def _promised(old: sqlite3.Connection) -> dict[int, tuple[int, int]] | None:
    """Frame number -> (state, events) as the index lists them; None when the index is unreadable too."""
    try:
        rows = old.execute("SELECT frame_no, state, count FROM frames INDEXED BY frames_state").fetchall()
    except sqlite3.Error:
        return None
    return {number: (state, count) for number, state, count in rows}


_COLUMNS = (
    "frame_no, epoch_no, lane, first_sequence, count, state, cost, written_ms, settled_ms, reason, segment_no,"
    " crc, chain, header, ciphertext"
)


def _copy_frames(
    old: sqlite3.Connection, fresh: sqlite3.Connection, promised: dict[int, tuple[int, int]] | None
) -> set[int]:
    kept = set()
    segments = {row[0] for row in fresh.execute("SELECT segment_no FROM segments")}
    known = {row[0] for row in fresh.execute("SELECT epoch_no FROM epochs")}
    for row in _frames(old, promised):
        if row[1] in known and row[10] in segments and _is_whole(row):
            try:
                fresh.execute(
                    f"INSERT INTO frames ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                    row,
                )
            except sqlite3.IntegrityError:
                continue
            kept.add(row[0])
    return kept


def _frames(old: sqlite3.Connection, promised: dict[int, tuple[int, int]] | None) -> Iterator[Row]:
    query = f"SELECT {_COLUMNS} FROM frames NOT INDEXED WHERE frame_no = ?"  # noqa: S608 - constant names
    if promised is not None:
        for number in sorted(promised):
            yield from _readable(old, query, number)
        return
    last, misses = 0, 0
    while misses < _BLIND_STEPS:
        for row in _readable(
            old,
            f"SELECT {_COLUMNS} FROM frames NOT INDEXED WHERE frame_no > ? ORDER BY frame_no",  # noqa: S608
            last,
        ):
            last, misses = row[0], 0
            yield row
        last, misses = last + 1, misses + 1


def _is_whole(row: Row) -> bool:
    """Whether header, ciphertext and chain are those that were written."""
    number, _, _, first, count, _, _, _, _, _, _, crc, chain, header, ciphertext = row
    if not (isinstance(number, int) and isinstance(header, bytes) and isinstance(ciphertext, bytes)):
        return False
    if zlib.crc32(ciphertext, zlib.crc32(header)) != crc or chain_value(header) != chain:
        return False
    decoded = codec.decode(wire.FrameHeader, header)
    return bool(decoded.first_sequence == first and decoded.count == count)


def _record_holes(fresh: sqlite3.Connection, now: Moment) -> None:
    lanes = fresh.execute("SELECT epoch_no, lane, next_sequence, chain FROM lanes").fetchall()
    for epoch_no, lane, next_sequence, chain in lanes:
        places: list[tuple[int, int, bytes, bytes]] = [
            (first, first + count, codec.decode(wire.FrameHeader, header).previous, after)
            for first, count, header, after in fresh.execute(
                "SELECT first_sequence, count, header, chain FROM frames WHERE epoch_no = ? AND lane = ?"
                " ORDER BY first_sequence",
                (epoch_no, lane),
            )
        ]
        if not places:
            continue
        places.append((next_sequence, next_sequence, bytes(chain), b""))
        for (_, end, _, before), (first, _, after, _) in pairwise(places):
            if end < first and not _recorded(fresh, epoch_no, lane, end):
                fresh.execute(
                    "INSERT INTO evictions (epoch_no, lane, first_sequence, events, frames, chain_before, chain_after,"
                    " reason, evicted_ms, reported) VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, 0)",
                    (epoch_no, lane, end, first - end, before, after, REASON, now.wall_ms),
                )


def _recorded(fresh: sqlite3.Connection, epoch_no: int, lane: int, first: int) -> bool:
    row = fresh.execute(
        "SELECT 1 FROM evictions WHERE epoch_no = ? AND lane = ? AND first_sequence = ?",
        (epoch_no, lane, first),
    ).fetchone()
    return row is not None
