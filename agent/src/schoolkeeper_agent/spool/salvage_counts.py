"""A damaged database's notes, counters and eviction records: what is as it was written is kept, the rest is named."""

from __future__ import annotations

import sqlite3

from schoolkeeper_agent.spool import checks, eviction, records, schema, values
from schoolkeeper_agent.spool.salvage_rows import readable, walk

_UNREADABLE = "what it had noted is not known any more"
_ALL_COUNTS = "all counts of events"


def copy_notes(old: sqlite3.Connection, fresh: sqlite3.Connection) -> tuple[str, ...]:
    """Returns what is lost, in words."""
    lost: list[str] = []
    for direction in ("ASC", "DESC"):
        for name, value, crc in readable(
            old,
            f"SELECT name, value, crc FROM notes ORDER BY name {direction}",  # noqa: S608 - constants
        ):
            try:
                values.whole_note(name, value, crc)
            except (TypeError, ValueError):
                if isinstance(name, str) and name.startswith(checks.EPOCH_NOTE) and isinstance(value, bytes):
                    values.put_note(fresh, name, value)  # the epoch itself says whether it is right
                elif name == values.DAMAGE_NOTE:
                    values.put_note(fresh, name, b"?")  # of an earlier damage that nobody was told of
                else:
                    lost.append(f"the note {name!r}")
            else:
                values.put_note(fresh, name, value)
    if not _whole(old, "SELECT name, value, crc FROM notes"):
        lost.append(_UNREADABLE)
    return tuple(dict.fromkeys(lost))


def copy_counters(old: sqlite3.Connection, fresh: sqlite3.Connection) -> tuple[str, ...]:
    """Returns what is lost, in words. A count that is lost begins again with what is still to be seen."""
    kept: dict[str, int] = {}
    damaged: set[object] = set()
    for direction in ("ASC", "DESC"):
        for name, value, crc in readable(
            old,
            f"SELECT name, value, crc FROM counters ORDER BY name {direction}",  # noqa: S608 - constants
        ):
            try:
                kept[str(name)] = values.whole_counter(name, value, crc)
            except (TypeError, ValueError):
                damaged.add(name)
    for name, value in kept.items():
        values.count(fresh, name, value)
    readable_all = _whole(old, "SELECT name, value, crc FROM counters")
    if readable_all and not damaged:
        return ()
    values.count(fresh, values.FORGOTTEN, 1)
    # A name that nobody gives may be any of them, and so may a row on a page that cannot be read.
    sure = readable_all and damaged <= set(values.COUNTERS)
    gone = [name for name in values.COUNTERS if name in damaged or (not sure and name not in kept)]
    return tuple(
        f"the count of events {name.removesuffix('_events').replace('_', ' ')} before" for name in gone
    )


def forget_counts(fresh: sqlite3.Connection) -> tuple[str, ...]:
    """For a database of which nothing at all could be read: what is lost, in words."""
    values.count(fresh, values.FORGOTTEN, 1)
    return (_UNREADABLE, _ALL_COUNTS)


def copy_records(old: sqlite3.Connection, fresh: sqlite3.Connection, epochs: set[int]) -> tuple[int, bool]:
    """How many records are damaged, and whether any may be missing."""
    kept: set[int] = set()
    damaged: set[int] = set()
    for row in walk(old, "evictions", "eviction_no", f"{records.COLUMNS}, crc"):
        try:
            record = records.whole(row)
        except (TypeError, ValueError):
            damaged.add(row[0])
            continue
        if record.number in kept or record.epoch_no not in epochs or record.lane not in schema.LANE_OF:
            continue
        kept.add(record.number)
        told = records.TOLD if record.reported == records.TOLD else records.WAITING
        records.mark(fresh, [record], told)
    return len(damaged), bool(damaged) or not _whole(old, "SELECT * FROM evictions NOT INDEXED")


def evicted_before(fresh: sqlite3.Connection) -> int | None:
    """Events that were counted as evicted and whose records are gone; None where the count itself is."""
    counters = values.counters(fresh)
    if counters.get(values.FORGOTTEN):
        return None
    told = sum(record.events for record in records.found(fresh, "reason = ?", eviction.REASON))
    return max(0, counters.get(values.EVICTED, 0) - told)


def least_counts(fresh: sqlite3.Connection) -> None:
    """Raises counts that damage took to what the rows that are left prove."""
    counters = values.counters(fresh)
    if not counters.get(values.FORGOTTEN):
        return
    evicted = sum(record.events for record in records.found(fresh, "reason = ?", eviction.REASON))
    (aside,) = fresh.execute(
        "SELECT coalesce(sum(count), 0) FROM frames WHERE state = ?", (schema.SET_ASIDE,)
    ).fetchone()
    for name, least in ((values.EVICTED, evicted), (values.SET_ASIDE, aside)):
        values.count(fresh, name, max(0, int(least) - counters.get(name, 0)))


def _whole(old: sqlite3.Connection, query: str) -> bool:
    """Whether every row can be read."""
    try:
        for _ in old.execute(query):
            pass
    except (sqlite3.Error, UnicodeDecodeError):
        return False
    return True
