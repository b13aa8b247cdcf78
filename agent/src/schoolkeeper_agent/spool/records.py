"""Eviction records as rows, each with a check value. All within the caller's transaction.

What is read here is as it was written, or a ``ValueError`` or ``TypeError`` names the record that is not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace

from schoolkeeper_agent.spool import checks

GROWING, WAITING, TOLD = -1, 0, 1
"""What ``reported`` says: the record may still grow; it is about to be signed, or was; the collector has it."""

COLUMNS = (
    "epoch_no, lane, first_sequence, events, frames, chain_before, chain_after, reason, evicted_ms, reported"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """``number`` 0: not in the database yet. ``evicted_ms`` is Unix time in milliseconds."""

    number: int = 0
    epoch_no: int
    lane: int
    first_sequence: int
    events: int
    frames: int
    chain_before: bytes
    chain_after: bytes
    reason: str
    evicted_ms: int
    reported: int

    @property
    def values(self) -> tuple[int | str | bytes, ...]:
        """In the order of ``COLUMNS``."""
        place = (self.epoch_no, self.lane, self.first_sequence, self.events, self.frames)
        return (*place, self.chain_before, self.chain_after, self.reason, self.evicted_ms, self.reported)

    @property
    def end(self) -> int:
        return self.first_sequence + self.events


def whole(row: tuple[object, ...]) -> Record:
    """The record of a row ``eviction_no, COLUMNS, crc``."""
    number, epoch_no, lane, first, events, frames, before, after, reason, at, reported, crc = row
    if not (isinstance(reason, str) and isinstance(at, int) and isinstance(reported, int)):
        raise TypeError(f"the eviction record {number} is not as it was written")
    record = Record(
        number=checks.whole(number),
        epoch_no=checks.whole(epoch_no),
        lane=checks.whole(lane),
        first_sequence=checks.whole(first),
        events=checks.whole(events),
        frames=checks.whole(frames),
        chain_before=checks.blob(before),
        chain_after=checks.blob(after),
        reason=reason,
        evicted_ms=at,
        reported=reported,
    )
    if checks.row(record.number, *record.values) != crc:
        raise ValueError(f"the eviction record {number} is not as it was written")
    return record


def found(database: sqlite3.Connection, where: str = "1", *arguments: object) -> list[Record]:
    """Records by a condition on their columns, in the order of their numbers."""
    query = (
        f"SELECT eviction_no, {COLUMNS}, crc FROM evictions NOT INDEXED WHERE {where} ORDER BY eviction_no"  # noqa: S608
    )
    return [whole(row) for row in database.execute(query, arguments)]


def write(database: sqlite3.Connection, record: Record) -> int:
    """A new record, or the one of that number anew; returns its number."""
    verb = "REPLACE"
    if not record.number:
        # The number is part of what is checked, and numbers are never used again.
        (last,) = database.execute(
            "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'evictions'), 0)"
        ).fetchone()
        verb, record = "INSERT", replace(record, number=checks.whole(last) + 1)
    places = ", ".join("?" * (len(record.values) + 2))
    database.execute(
        f"{verb} INTO evictions (eviction_no, {COLUMNS}, crc) VALUES ({places})",
        (record.number, *record.values, checks.row(record.number, *record.values)),
    )
    return record.number


def mark(database: sqlite3.Connection, records: Iterable[Record], reported: int) -> None:
    """Writes each with what is known of its way; also a record of another database, under the number that it has."""
    for record in records:
        write(database, replace(record, reported=reported))
