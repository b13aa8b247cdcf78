"""A damaged database's frames: found by every way that leads to them, believed by what their own bytes prove.

The CRC covers header and ciphertext; the header says lane, place and count; its segment says the epoch. So of a row's
other columns only the state has to be believed, and where that is in doubt the frame is sent once more: the collector
knows it by its place.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterator

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import room, schema
from schoolkeeper_agent.spool.contract import Doubt
from schoolkeeper_agent.spool.doubt import covers
from schoolkeeper_agent.spool.salvage_rows import Row, readable, walk
from schoolkeeper_proto import codec, wire
from schoolkeeper_proto.statements import chain_value

_COLUMNS = "state, written_ms, settled_ms, reason, crc, header, ciphertext"


def copy_frames(
    old: sqlite3.Connection,
    fresh: sqlite3.Connection,
    segments: dict[bytes, tuple[int, int]],
    promised: Collection[int],
    now: Moment,
    doubt: Doubt | None = None,
) -> dict[int, int]:
    """Frame number -> events of those that were kept. Those in doubt are left where they are."""
    kept: dict[int, int] = {}
    strays: list[Row] = []
    for row in _rows(old, promised, kept):
        if row[0] in kept or not schema.is_plausible(row[0], 0, 1):
            strays.append(row)
        else:
            _copy_frame(fresh, row[0], row, segments, kept, now, doubt)
    _keep_numbering(old, fresh)
    for row in strays:  # seen twice, or two with one number: the place tells
        _copy_frame(fresh, None, row, segments, kept, now, doubt)
    return kept


def _rows(old: sqlite3.Connection, promised: Collection[int], kept: dict[int, int]) -> Iterator[Row]:
    yield from walk(old, "frames", "frame_no", _COLUMNS)
    by_place = readable(old, "SELECT frame_no FROM frames INDEXED BY frames_place")
    for number in sorted({*promised, *(row[0] for row in by_place if isinstance(row[0], int))} - kept.keys()):
        yield from readable(
            old,
            f"SELECT frame_no, {_COLUMNS} FROM frames NOT INDEXED WHERE frame_no = ?",  # noqa: S608 - constants
            number,
        )


def _copy_frame(
    fresh: sqlite3.Connection,
    number: int | None,
    row: Row,
    segments: dict[bytes, tuple[int, int]],
    kept: dict[int, int],
    now: Moment,
    doubt: Doubt | None,
) -> None:
    """Nothing for a frame that is damaged or was copied already; without a number it gets the next one."""
    _, state, written, settled, reason, crc, header, ciphertext = row
    if not (isinstance(header, bytes) and isinstance(ciphertext, bytes)):
        return
    if zlib.crc32(ciphertext, zlib.crc32(header)) != crc:
        return
    decoded = codec.decode(wire.FrameHeader, header)
    if decoded.segment_id not in segments:
        return
    segment_no, epoch_no = segments[decoded.segment_id]
    if covers(doubt, epoch_no, schema.LANE_NUMBER[decoded.lane], decoded.first_sequence):
        return
    values = (
        number,
        epoch_no,
        schema.LANE_NUMBER[decoded.lane],
        decoded.first_sequence,
        decoded.count,
        *_fate(state, settled, reason),
        room.cost(header, ciphertext),
        written if isinstance(written, int) and written >= 0 else now.wall_ms,
        segment_no,
        crc,
        chain_value(header),
        header,
        ciphertext,
    )
    added = fresh.execute(
        "INSERT OR IGNORE INTO frames (frame_no, epoch_no, lane, first_sequence, count, state, settled_ms, reason,"
        " cost, written_ms, segment_no, crc, chain, header, ciphertext)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    if added.rowcount:
        kept[int(added.lastrowid or 0)] = decoded.count


def _fate(state: object, settled: object, reason: object) -> tuple[int, int, str]:
    """State, when it was settled, and why; pending unless the row's columns agree that it is not."""
    at = settled if isinstance(settled, int) and settled >= 0 else 0
    if state == schema.DELIVERED and at and reason == "":
        return schema.DELIVERED, at, ""
    if state == schema.SET_ASIDE and isinstance(reason, str) and reason:
        return schema.SET_ASIDE, at, reason
    return schema.PENDING, 0, ""


def _keep_numbering(old: sqlite3.Connection, fresh: sqlite3.Connection) -> None:
    """Numbers go on where they were: one that is under way to the collector must never name another frame."""
    for name, last in readable(old, "SELECT name, seq FROM sqlite_sequence"):
        if name in ("frames", "evictions", "epochs") and schema.is_plausible(last, 0, 1):
            fresh.execute("DELETE FROM sqlite_sequence WHERE name = ? AND seq < ?", (name, last))
            fresh.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT ?, ?"
                " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?)",
                (name, last, name),
            )
