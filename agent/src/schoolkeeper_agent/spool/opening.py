"""Opens a spool, whatever state its file is in: new, sound, copied from another machine, or damaged.

A damaged database is rebuilt beside itself from what is readable, then takes the old one's place by two renames; a
power cut between any two steps leaves either the old file or the complete new one.
"""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import asdict
from pathlib import Path

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import epochs, room, salvage, schema
from schoolkeeper_agent.spool.ballast import Ballast
from schoolkeeper_agent.spool.contract import Damage, IngestTarget, Owner, SpoolError, SpoolUnwritable
from schoolkeeper_agent.spool.store import SqliteSpool

DAMAGE_NOTE = "damage"
"""The note that holds damage which no event has told of yet; empty once told."""


def open_spool(
    path: Path, owner: Owner, target: IngestTarget, now: Moment, *, room_bytes: int = room.DEFAULT_ROOM
) -> SqliteSpool:
    """The spool at ``path``, made if there is none. Damage that was found is in the note ``damage``.

    Raises ``SpoolUnwritable`` (full or failing disk, or in use) and ``SpoolError`` (made by a newer agent).
    """
    try:
        return _open(path, owner, target, now, room_bytes)
    except SpoolUnwritable as error:
        # Others filled the disk while nobody ran: the ballast was kept for this.
        if not schema.is_full(error.__cause__) or not Ballast(path, 0).release():
            raise
    return _open(path, owner, target, now, room_bytes)


def _open(path: Path, owner: Owner, target: IngestTarget, now: Moment, room_bytes: int) -> SqliteSpool:
    _finish_rebuild(path)
    try:
        database = schema.connect(path)
    except sqlite3.Error as error:
        if not schema.is_damage(error):
            raise SpoolUnwritable(f"the spool {path} cannot be opened: {error}") from error
        database = _rebuilt(path, owner, now, str(error))
    try:
        database = _checked(database, path, owner, now)
        return SqliteSpool(database, path, owner, target, room_bytes)
    except sqlite3.Error as error:
        database.close()
        raise SpoolUnwritable(f"the spool {path} cannot be opened: {error}") from error
    except BaseException:
        database.close()
        raise


def read_damage(note: bytes) -> Damage | None:
    """The damage that the note tells of; None when there is none, or when it was told."""
    return Damage(**json.loads(note)) if note else None


def _checked(database: sqlite3.Connection, path: Path, owner: Owner, now: Moment) -> sqlite3.Connection:
    wrong = _wrong(database)
    if wrong:
        database.close()
        database = _rebuilt(path, owner, now, wrong)
    if schema.version(database) > schema.FORMAT:
        raise SpoolError(
            f"the spool {path} is of format {schema.version(database)}, this agent knows {schema.FORMAT}:"
            " install the newer agent again"
        )
    if schema.version(database) == 0:
        schema.create(database)
    try:
        because = epochs.reason_for_new(epochs.current(database).owner, owner)
    except LookupError:
        because = "new spool"
    if because:
        database.execute("BEGIN IMMEDIATE")
        epochs.open_new(database, owner, because, now)
        database.execute("COMMIT")
    return database


def _wrong(database: sqlite3.Connection) -> str:
    """What is wrong with the database, in SQLite's words; empty when nothing is. Other errors are raised."""
    try:
        (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            return str(said)
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        if schema.is_damage(error):
            return str(error)
        raise
    if schema.version(database) and not {"frames", "lanes", "epochs", "segments", "evictions"} <= tables:
        return "tables are missing"
    if not schema.version(database) and tables:
        return "the tables have no format number"
    return ""


def _rebuilt(path: Path, owner: Owner, now: Moment, reason: str) -> sqlite3.Connection:
    """A new database beside the damaged one, with what was readable; then they change places."""
    fresh_path = _fresh(path)
    _remove(fresh_path)
    try:
        fresh = schema.connect(fresh_path)
        try:
            schema.create(fresh)
            found = salvage.salvage(path, fresh, now)
            aside = path.with_name(f"{path.name}.damaged")
            damage = Damage(
                reason=reason,
                salvaged_frames=found.frames,
                salvaged_events=found.events,
                lost_events=found.lost_events,
                lost_count_known=found.lost_known,
                moved_to=str(aside),
            )
            fresh.execute("BEGIN IMMEDIATE")
            epochs.open_new(fresh, owner, "the spool's database was damaged", now)
            fresh.execute(
                "INSERT OR REPLACE INTO notes (name, value) VALUES (?, ?)",
                (DAMAGE_NOTE, json.dumps(asdict(damage)).encode()),
            )
            fresh.execute("INSERT OR REPLACE INTO notes (name, value) VALUES ('rebuilt', x'01')")
            fresh.execute("COMMIT")
            fresh.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            fresh.close()
        _swap(path, fresh_path, aside)
        return schema.connect(path)
    except sqlite3.Error as error:
        raise SpoolUnwritable(
            f"the spool {path} is damaged ({reason}) and cannot be rebuilt yet: {error}; is the disk full or failing?"
        ) from error
    except OSError as error:
        raise SpoolUnwritable(f"the spool {path} is damaged and cannot be moved aside: {error}") from error


def _swap(path: Path, fresh: Path, aside: Path) -> None:
    _remove(aside)
    path.rename(aside)
    for tail in ("-wal", "-shm"):
        beside = path.with_name(path.name + tail)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + tail))
    fresh.rename(path)
    _sync_folder(path.parent)


def _finish_rebuild(path: Path) -> None:
    """After a power cut in the middle: a complete new file takes its place, an incomplete one goes."""
    fresh = _fresh(path)
    if not fresh.exists():
        return
    if not path.exists() and _is_complete(fresh):
        fresh.rename(path)
        _sync_folder(path.parent)
    else:
        _remove(fresh)


def _is_complete(fresh: Path) -> bool:
    try:
        database = schema.connect(fresh)
        try:
            return database.execute("SELECT 1 FROM notes WHERE name = 'rebuilt'").fetchone() is not None
        finally:
            database.close()
    except sqlite3.Error:
        return False


def _fresh(path: Path) -> Path:
    return path.with_name(f"{path.name}.rebuilding")


def _remove(path: Path) -> None:
    for tail in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + tail).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
