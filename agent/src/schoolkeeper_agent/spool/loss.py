"""How many events a damaged database has lost: what its indexes list, held against what the lanes can have held.

The indexes may be damaged too. So the count is called known only when two of them list the same frames, when they agree
with every frame that was saved, and when the lanes' places leave room for just that.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from schoolkeeper_agent.spool import schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What the index lists of a frame; ``twice`` when the index of places lists its number as well."""

    epoch_no: int
    state: int
    count: int
    twice: bool


def promised(old: sqlite3.Connection) -> dict[int, Listed] | None:
    """Frames by number as the index lists them; None when the index is unreadable too."""
    query = "SELECT frame_no, epoch_no, state, count FROM frames INDEXED BY frames_state"
    try:
        rows = old.execute(query).fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    try:
        placed = {row[0] for row in old.execute("SELECT frame_no FROM frames INDEXED BY frames_place")}
    except (sqlite3.Error, UnicodeDecodeError):
        placed = set()
    if not all(schema.is_plausible(number, state, count) for number, _, state, count in rows):
        return None
    return {
        number: Listed(epoch_no=epoch, state=state, count=count, twice=number in placed)
        for number, epoch, state, count in rows
    }


def absent(fresh: sqlite3.Connection) -> int:
    """Events whose places neither a frame nor a record explains: delivered and gone, or lost at a lane's beginning."""
    (ever,) = fresh.execute("SELECT coalesce(sum(next_sequence), 0) FROM lanes").fetchone()
    (held,) = fresh.execute("SELECT coalesce(sum(count), 0) FROM frames").fetchone()
    (told,) = fresh.execute("SELECT coalesce(sum(events), 0) FROM evictions").fetchone()
    return max(0, int(ever - held - told))


def reckon(
    listed: dict[int, Listed] | None, kept: dict[int, int], epochs: set[int], *, in_holes: int, absent: int
) -> tuple[int, bool]:
    """Pending events that are gone, and whether their number is known; otherwise it is the least that is sure."""
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
