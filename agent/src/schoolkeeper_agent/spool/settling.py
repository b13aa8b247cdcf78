"""What became of frames: delivered, set aside, to be sent again. All within the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import checks, records, schema, values
from schoolkeeper_agent.spool.contract import Settlement
from schoolkeeper_proto import wire


def settle(database: sqlite3.Connection, settlement: Settlement, now: Moment) -> None:
    database.executemany(
        "UPDATE frames SET state = ?, settled_ms = ? WHERE frame_no = ? AND state = ?",
        [(schema.DELIVERED, now.wall_ms, number, schema.PENDING) for number in settlement.delivered],
    )
    set_aside(database, settlement.set_aside, now.wall_ms)
    for number in settlement.evictions_reported:
        records.mark(database, records.found(database, "eviction_no = ?", number), records.TOLD)
    for name, value in settlement.notes.items():
        values.put_note(database, name, value)


def set_aside(database: sqlite3.Connection, frames: Sequence[tuple[int, str]], now_ms: int) -> None:
    for number, reason in frames:
        row = database.execute(
            "UPDATE frames SET state = ?, settled_ms = ?, reason = ? WHERE frame_no = ? AND state = ? RETURNING count",
            (schema.SET_ASIDE, now_ms, reason[:500], number, schema.PENDING),
        ).fetchone()
        if row:
            values.count(database, values.SET_ASIDE, row[0])


def send_again(database: sqlite3.Connection, held: Sequence[wire.HeldRange]) -> int:
    """Delivered frames that no held range covers wholly are pending again."""
    rows = database.execute(
        "SELECT f.frame_no, e.epoch, f.lane, f.first_sequence, f.count FROM frames f JOIN epochs e USING (epoch_no)"
        " WHERE f.state = ? ORDER BY f.frame_no",
        (schema.DELIVERED,),
    ).fetchall()
    again = [
        (number, events)
        for number, epoch, lane, first, events in rows
        if not _covered(held, checks.blob(epoch), schema.lane_of(lane), first, first + events)
    ]
    database.executemany(
        "UPDATE frames SET state = ?, settled_ms = 0 WHERE frame_no = ?",
        [(schema.PENDING, number) for number, _ in again],
    )
    records.mark(database, records.found(database, "reported = ?", records.TOLD), records.WAITING)
    return sum(events for _, events in again)


def _covered(held: Sequence[wire.HeldRange], epoch: bytes, lane: wire.Lane, first: int, end: int) -> bool:
    return any(
        span.epoch == epoch
        and span.lane is lane
        and span.first_sequence <= first
        and end <= span.end_sequence
        for span in held
    )
