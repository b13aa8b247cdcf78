"""Notes and counters: named values, each with a check value. All within the caller's transaction.

What is read here is as it was written, or a ``ValueError`` or ``TypeError`` names what is not.
"""

from __future__ import annotations

import sqlite3

from schoolkeeper_agent.spool import checks

DAMAGE_NOTE = "damage"
"""The note that holds damage which no event has told of yet; empty once told."""

EVICTED, SET_ASIDE, LOST = "evicted_events", "set_aside_events", "lost_events"
COUNTERS = (EVICTED, SET_ASIDE, LOST)
FORGOTTEN = "counts_forgotten"
"""A counter that says how often damage took a count: since then the others are the least that is sure."""


def note(database: sqlite3.Connection, name: str) -> bytes | None:
    """The note, or None when there is none."""
    row = database.execute("SELECT value, crc FROM notes WHERE name = ?", (name,)).fetchone()
    return None if row is None else whole_note(name, *row)


def whole_note(name: str, value: object, crc: object) -> bytes:
    if checks.row(name, checks.blob(value)) != crc:
        raise ValueError(f"the note {name!r} is not as it was written")
    return checks.blob(value)


def put_note(database: sqlite3.Connection, name: str, value: bytes) -> None:
    database.execute(
        "INSERT OR REPLACE INTO notes (name, value, crc) VALUES (?, ?, ?)",
        (name, value, checks.row(name, value)),
    )


def counters(database: sqlite3.Connection) -> dict[str, int]:
    rows = database.execute("SELECT name, value, crc FROM counters")
    return {name: whole_counter(name, value, crc) for name, value, crc in rows}


def whole_counter(name: str, value: object, crc: object) -> int:
    if checks.row(name, checks.whole(value)) != crc:
        raise ValueError(f"the counter {name!r} is not as it was written")
    return checks.whole(value)


def count(database: sqlite3.Connection, name: str, events: int) -> None:
    """Counters only rise."""
    row = database.execute("SELECT value, crc FROM counters WHERE name = ?", (name,)).fetchone()
    risen = events + (0 if row is None else whole_counter(name, *row))
    database.execute(
        "INSERT OR REPLACE INTO counters (name, value, crc) VALUES (?, ?, ?)",
        (name, risen, checks.row(name, risen)),
    )


def verify(database: sqlite3.Connection) -> None:
    """Raises ``ValueError`` or ``TypeError`` for the first note or counter that is not as it was written."""
    for name, value, crc in database.execute("SELECT name, value, crc FROM notes"):
        whole_note(name, value, crc)
    counters(database)
