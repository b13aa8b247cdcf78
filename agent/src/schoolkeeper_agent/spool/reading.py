"""Reads for sending and for saying how things stand."""

from __future__ import annotations

import sqlite3
import zlib
from typing import Any

from schoolkeeper_agent.spool import checks, epochs, records, schema, values
from schoolkeeper_agent.spool.contract import (
    FrameState,
    LaneUsage,
    Reading,
    StoredEviction,
    StoredFrame,
    Usage,
    Wanted,
)
from schoolkeeper_proto import codec, wire
from schoolkeeper_proto.statements import chain_value
from schoolkeeper_proto.wire import LANES, Lane

MAX_EVICTIONS = 64


def read(database: sqlite3.Connection, wanted: Wanted) -> tuple[Reading | None, list[int]]:
    """The next batch's content, and the numbers of frames whose bytes the disk has damaged."""
    numbers, epoch_no = _choose(database, wanted)
    if epoch_no is None:
        row = database.execute(
            "SELECT epoch_no, eviction_no FROM evictions WHERE reported <= 0 ORDER BY eviction_no"
        ).fetchall()
        waiting = [epoch for epoch, number in row if number not in wanted.skip_evictions]
        if not waiting:
            return None, []
        epoch_no = waiting[0]
    frames: list[StoredFrame] = []
    segments: dict[bytes, wire.Segment] = {}
    damaged: list[int] = []
    whose = epochs.numbered(database, epoch_no)
    for number in numbers:
        _frame(database, number, whose, frames, segments, damaged)
    found = Reading(
        epoch=whose.epoch,
        school_id=whose.owner.school_id,
        device_id=whose.owner.device_id,
        frames=tuple(sorted(frames, key=lambda f: (LANES.index(f.lane), f.first_sequence))),
        segments=tuple(segments.values()),
        evictions=_evictions(database, epoch_no, wanted),
    )
    return found, damaged


def _choose(database: sqlite3.Connection, wanted: Wanted) -> tuple[list[int], int | None]:
    """Numbers of the frames to send: the first one found names the epoch, the rest fill up to the limits."""
    chosen: list[int] = []
    epoch_no: int | None = None
    budget = wanted.max_bytes
    for lane in LANES:
        if lane not in wanted.lanes:
            continue
        rows = database.execute(
            "SELECT frame_no, epoch_no, cost FROM frames WHERE state = ? AND lane = ? ORDER BY frame_no",
            (schema.PENDING, schema.LANE_NUMBER[lane]),
        )
        for number, epoch, cost in rows:
            if number in wanted.skip or (epoch_no is not None and epoch != epoch_no):
                continue
            if chosen and (cost > budget or len(chosen) >= wanted.max_frames):
                return chosen, epoch_no
            epoch_no = epoch
            chosen.append(number)
            budget -= cost
    return chosen, epoch_no


def _frame(
    database: sqlite3.Connection,
    number: int,
    whose: epochs.EpochRow,
    frames: list[StoredFrame],
    segments: dict[bytes, wire.Segment],
    damaged: list[int],
) -> None:
    place, state, chain, crc, header, ciphertext, segment_crc, encoded = _row(database, number)
    header_crc = zlib.crc32(header)
    if chain_value(header) != chain or state != schema.PENDING:
        raise ValueError(f"frame {number} is not as it was written")
    decoded = codec.decode(wire.FrameHeader, header)
    expected = (whose.number, schema.LANE_NUMBER[decoded.lane], decoded.first_sequence, decoded.count)
    if place != expected:
        raise ValueError(f"frame {number} does not lie where its header says")
    if zlib.crc32(ciphertext, header_crc) != crc or encoded is None or zlib.crc32(encoded) != segment_crc:
        damaged.append(number)  # its place and its count are known, so that it can be counted by itself
        return
    segment = segments.get(decoded.segment_id) or codec.decode(wire.Segment, encoded)
    if (segment.segment_id, segment.epoch) != (decoded.segment_id, whose.epoch):
        raise ValueError(f"frame {number} and its segment do not belong together")
    segments[segment.segment_id] = segment
    frames.append(
        StoredFrame(
            number=number,
            epoch=whose.epoch,
            lane=decoded.lane,
            first_sequence=decoded.first_sequence,
            count=decoded.count,
            root=decoded.root,
            previous=decoded.previous,
            chain=chain,
            segment_id=decoded.segment_id,
            frame=wire.Frame(header=header, ciphertext=ciphertext),
        )
    )


def _row(database: sqlite3.Connection, number: int) -> tuple[Any, ...]:
    """The frame's place (epoch, lane, sequence, count) and what else is needed to send and to believe it."""
    row = database.execute(
        "SELECT f.epoch_no, f.lane, f.first_sequence, f.count, f.state, f.chain, f.crc, f.header, f.ciphertext,"
        " s.crc, s.encoded FROM frames f NOT INDEXED LEFT JOIN segments s USING (segment_no) WHERE f.frame_no = ?",
        (number,),
    ).fetchone()
    return tuple(row[:4]), *row[4:]


def _evictions(database: sqlite3.Connection, epoch_no: int, wanted: Wanted) -> tuple[StoredEviction, ...]:
    waiting = [
        StoredEviction(
            number=record.number,
            record=wire.EvictionRecord(
                lane=schema.lane_of(record.lane),
                first_sequence=record.first_sequence,
                events=record.events,
                frames=record.frames,
                chain_before=record.chain_before,
                chain_after=record.chain_after,
                reason=record.reason,
                evicted_at_unix_ms=max(0, record.evicted_ms),
            ),
        )
        for record in records.found(database, "reported <= 0 AND epoch_no = ?", epoch_no)
        if record.number not in wanted.skip_evictions
    ]
    return tuple(waiting[:MAX_EVICTIONS])


def cursors(database: sqlite3.Connection) -> tuple[wire.LaneCursor, ...]:
    """Each lane of each epoch that still has something to send, and of the latest epoch."""
    rows = database.execute(
        "SELECT l.epoch_no, e.epoch, l.lane, l.next_sequence, l.chain,"
        " (SELECT min(f.first_sequence) FROM frames f"
        " WHERE f.epoch_no = l.epoch_no AND f.lane = l.lane AND f.state = ?)"
        " FROM lanes l JOIN epochs e USING (epoch_no)"
        " WHERE l.epoch_no = (SELECT max(epoch_no) FROM epochs)"
        " OR EXISTS (SELECT 1 FROM frames f WHERE f.epoch_no = l.epoch_no AND f.state = ?)"
        " ORDER BY l.epoch_no, l.lane",
        (schema.PENDING, schema.PENDING),
    )
    return tuple(
        wire.LaneCursor(
            epoch=checks.blob(epoch),
            lane=schema.lane_of(lane),
            oldest_sequence=next_sequence if oldest is None else oldest,
            next_sequence=next_sequence,
            chain=checks.chain_of(epoch_no, lane, next_sequence, chain),
        )
        for epoch_no, epoch, lane, next_sequence, chain, oldest in rows
    )


def fate(database: sqlite3.Connection, epoch: bytes, lane: Lane, sequence: int) -> FrameState | None:
    """The state of the frame that holds this place, if one does."""
    row = database.execute(
        "SELECT f.state FROM frames f JOIN epochs e USING (epoch_no) WHERE e.epoch = ? AND f.lane = ?"
        " AND f.first_sequence <= ? AND f.first_sequence + f.count > ?",
        (epoch, schema.LANE_NUMBER[lane], sequence, sequence),
    ).fetchone()
    return schema.STATES[row[0]] if row else None


def usage(database: sqlite3.Connection, room_bytes: int, used: int) -> Usage:
    counters = values.counters(database)
    rows = database.execute(
        "SELECT state, lane, count(*), sum(count), sum(cost) FROM frames GROUP BY state, lane"
    ).fetchall()
    table = {(state, lane): (frames, events, size) for state, lane, frames, events, size in rows}
    oldest: dict[int, int] = {}
    for number in schema.LANE_OF:
        row = database.execute(
            "SELECT written_ms FROM frames WHERE state = ? AND lane = ? ORDER BY frame_no LIMIT 1",
            (schema.PENDING, number),
        ).fetchone()
        if row:
            oldest[number] = row[0]
    (lives,) = database.execute("SELECT count(*) FROM epochs").fetchone()
    return Usage(
        room_bytes=room_bytes,
        used_bytes=used,
        lanes=tuple(
            LaneUsage(
                lane=lane,
                pending_frames=table.get((schema.PENDING, number), (0, 0, 0))[0],
                pending_events=table.get((schema.PENDING, number), (0, 0, 0))[1],
                pending_bytes=table.get((schema.PENDING, number), (0, 0, 0))[2],
                oldest_unix_ms=oldest.get(number),
            )
            for lane, number in schema.LANE_NUMBER.items()
        ),
        delivered_frames=sum(v[0] for (state, _), v in table.items() if state == schema.DELIVERED),
        delivered_bytes=sum(v[2] for (state, _), v in table.items() if state == schema.DELIVERED),
        set_aside_frames=sum(v[0] for (state, _), v in table.items() if state == schema.SET_ASIDE),
        evicted_events=counters.get(values.EVICTED, 0),
        set_aside_events=counters.get(values.SET_ASIDE, 0),
        lost_events=counters.get(values.LOST, 0),
        counts_forgotten=counters.get(values.FORGOTTEN, 0),
        epochs=lives,
    )
