"""How many events a damaged database has lost: what its indexes list, held against what the lanes can have held.

The indexes may be damaged too. So the count is called known only when two of them list the same frames, when they agree
with every frame that was saved, and when the lanes' places leave room for just that.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from schoolkeeper_agent.spool import schema
from schoolkeeper_agent.spool.contract import Doubt
from schoolkeeper_agent.spool.doubt import covers


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What the index lists of a frame; ``twice`` when the index of places lists its number as well."""

    epoch_no: int
    state: int
    count: int
    twice: bool


def promised(old: sqlite3.Connection, doubt: Doubt | None = None) -> dict[int, Listed] | None:
    """Frames by number as the index lists them, but those in doubt; None when the index is unreadable too."""
    query = "SELECT frame_no, epoch_no, state, count FROM frames INDEXED BY frames_state"
    try:
        rows = old.execute(query).fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    try:
        query = "SELECT frame_no, epoch_no, lane, first_sequence FROM frames INDEXED BY frames_place"
        places = {row[0]: row[1:] for row in old.execute(query)}
    except (sqlite3.Error, UnicodeDecodeError):
        places = {}
    if not all(schema.is_plausible(number, state, count) for number, _, state, count in rows):
        return None
    return {
        number: Listed(epoch_no=epoch, state=state, count=count, twice=number in places)
        for number, epoch, state, count in rows
        if number not in places or not covers(doubt, *places[number])
    }


def absent(fresh: sqlite3.Connection) -> int:
    """Events whose places neither a frame nor a record explains: delivered and gone, or lost at a lane's beginning."""
    (ever,) = fresh.execute("SELECT coalesce(sum(next_sequence), 0) FROM lanes").fetchone()
    (held,) = fresh.execute("SELECT coalesce(sum(count), 0) FROM frames").fetchone()
    (told,) = fresh.execute("SELECT coalesce(sum(events), 0) FROM evictions").fetchone()
    return max(0, int(ever - held - told))


def reckon(
    listed: dict[int, Listed] | None,
    kept: dict[int, int],
    epochs: set[int],
    *,
    in_holes: int,
    absent: int,
    told_before: int = 0,
) -> tuple[int, bool]:
    """Pending events that are gone, and whether their number is known; otherwise it is the least that is sure.

    Of the events in holes ``told_before`` may have been counted already, as evicted.
    """
    in_holes = max(0, in_holes - told_before)
    if listed is None:
        return in_holes, False
    gone = {number: entry for number, entry in listed.items() if number not in kept}
    settled = sum(entry.count for entry in gone.values() if entry.state != schema.PENDING)
    waiting = [entry for entry in gone.values() if entry.state == schema.PENDING]
    pending = sum(entry.count for entry in waiting if entry.epoch_no in epochs)
    beyond = sum(entry.count for entry in waiting if entry.epoch_no not in epochs)
    least, most = max(0, in_holes - settled), max(0, in_holes + absent - settled)
    agree = all(entry.twice for entry in listed.values()) and all(
        number in listed and listed[number].count == count for number, count in kept.items()
    )
    # A missing frame that counts as settled may be one whose state was damaged: nothing beside it could tell.
    known = agree and not beyond and not settled and least <= pending <= most
    return min(max(pending, least), most) + beyond, known
