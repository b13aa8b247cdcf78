"""An append whose commit failed with an unknown outcome: its caller was told that nothing was kept, so nothing may be.

The doubt outlives the database: a failing disk is often a damaged one a moment later, and what the rebuild saved then
must not stand beside the same events, appended once more.
"""

from __future__ import annotations

import sqlite3

from schoolkeeper_agent.spool import checks, schema
from schoolkeeper_agent.spool.contract import Doubt, Head
from schoolkeeper_proto.wire import Lane


def covers(doubt: Doubt | None, epoch_no: object, lane: object, sequence: int) -> bool:
    """Whether this place (the lane by its number) is one that the append in doubt may have taken."""
    return (
        doubt is not None
        and (epoch_no, lane) == (doubt.epoch_no, schema.LANE_NUMBER[doubt.lane])
        and sequence >= doubt.before.next_sequence
    )


def was_kept(database: sqlite3.Connection, doubt: Doubt) -> bool:
    number = schema.LANE_NUMBER[doubt.lane]
    row = database.execute(
        "SELECT next_sequence, chain FROM lanes WHERE epoch_no = ? AND lane = ?", (doubt.epoch_no, number)
    ).fetchone()
    return row is not None and checks.chain_of(doubt.epoch_no, number, *row) == doubt.after.chain


def undo(database: sqlite3.Connection, doubt: Doubt) -> None:
    """Takes the append back, within the caller's transaction. What gave way to it is gone, and its record tells so."""
    database.execute(
        "DELETE FROM frames WHERE epoch_no = ? AND lane = ? AND first_sequence >= ?",
        (doubt.epoch_no, schema.LANE_NUMBER[doubt.lane], doubt.before.next_sequence),
    )
    write_head(database, doubt.epoch_no, doubt.lane, doubt.before)


def write_head(database: sqlite3.Connection, epoch_no: int, lane: Lane, head: Head) -> None:
    number = schema.LANE_NUMBER[lane]
    stored = checks.head(epoch_no, number, head.next_sequence, head.chain)
    database.execute(
        "UPDATE lanes SET next_sequence = ?, chain = ? WHERE epoch_no = ? AND lane = ?",
        (head.next_sequence, stored, epoch_no, number),
    )
