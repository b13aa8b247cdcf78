"""Opens a spool, whatever state its file is in: new, sound, copied from another machine, or damaged.

A damaged database is rebuilt beside itself from what is readable, then takes the old one's place by two renames; a
power cut between any two steps leaves either the old file or the complete new one.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import asdict
from pathlib import Path

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import epochs, firstpage, records, room, salvage, schema, values
from schoolkeeper_agent.spool.ballast import Ballast
from schoolkeeper_agent.spool.contract import (
    Damage,
    Doubt,
    IngestTarget,
    Owner,
    SpoolDamaged,
    SpoolError,
    SpoolUnwritable,
)
from schoolkeeper_agent.spool.store import NOT_AS_WRITTEN, SqliteSpool, named
from schoolkeeper_agent.system import here

DAMAGE_NOTE = values.DAMAGE_NOTE


def open_spool(
    path: Path,
    owner: Owner,
    target: IngestTarget,
    now: Moment,
    *,
    room_bytes: int = room.DEFAULT_ROOM,
    doubt: Doubt | None = None,
) -> SqliteSpool:
    """The spool at ``path``, made if there is none. Damage that was found is in the note ``damage``.

    ``doubt`` is that of the spool that was open before and met damage: what it names is taken back.

    Raises ``SpoolUnwritable`` (full or failing disk, or in use) and ``SpoolError`` (made by a newer agent).
    """
    try:
        return _open(path, owner, target, now, room_bytes, doubt)
    except SpoolUnwritable as error:
        # Others filled the disk while nobody ran: the ballast was kept for this.
        if not schema.is_full(error.__cause__) or not Ballast(path, 0).release():
            raise
    return _open(path, owner, target, now, room_bytes, doubt)


def _open(
    path: Path, owner: Owner, target: IngestTarget, now: Moment, room_bytes: int, doubt: Doubt | None
) -> SqliteSpool:
    _finish_rebuild(path)
    try:
        return _opened(path, owner, target, now, room_bytes, doubt)
    except SpoolDamaged as error:
        reason = str(error.__cause__ or error)
    _rebuild(path, owner, now, reason, doubt)
    try:
        return _opened(path, owner, target, now, room_bytes, None)
    except SpoolDamaged as error:
        raise SpoolUnwritable(
            f"the spool {path} was rebuilt and is damaged again at once: {error}; replace the device's disk"
        ) from error


def _opened(
    path: Path, owner: Owner, target: IngestTarget, now: Moment, room_bytes: int, doubt: Doubt | None
) -> SqliteSpool:
    """The spool as it lies there; raises ``SpoolDamaged`` when anything in it is not as it was written."""
    try:
        database = schema.connect(path)
    except sqlite3.Error as error:
        raise _not_opened(error, path) from error
    try:
        _check(database, path)
        _go_on(database, owner, now)
        return SqliteSpool(database, path, owner, target, room_bytes, doubt)
    except NOT_AS_WRITTEN as error:
        database.close()
        raise _not_opened(error, path) from error
    except BaseException:
        database.close()
        raise


def _not_opened(error: Exception, path: Path) -> SpoolError:
    found = named(error, path)
    if isinstance(found, SpoolDamaged):
        return found
    return SpoolUnwritable(f"the spool {path} cannot be opened: {error}")


def read_damage(note: bytes) -> Damage | None:
    """The damage that the note tells of; None when there is none, or when it was told."""
    if not note:
        return None
    try:
        found = json.loads(note)
        return Damage(**{**found, "also_lost": tuple(found.get("also_lost", ()))})
    except (ValueError, TypeError, AttributeError):
        return Damage(reason="damaged more than once, also where the first damage was noted")


def _check(database: sqlite3.Connection, path: Path) -> None:
    """Raises ``SpoolDamaged``, ``SpoolError`` for a newer agent's spool, and what SQLite raises."""
    if schema.mark_of(path).exists():
        raise SpoolDamaged(_marked(path))
    version, found = schema.version(database), schema.definitions(database)
    if not version and not found:
        schema.create(database)
    elif not schema.is_ours(database):
        # A newer agent's tables differ in both; a damaged first page in one of them.
        if version > schema.FORMAT and not schema.is_ours(database, version):
            raise SpoolError(
                f"the spool {path} is of format {version}, this agent knows {schema.FORMAT}:"
                " install the newer agent again"
            )
        raise SpoolDamaged("the definitions of its tables are not as they were written")
    (said,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        raise SpoolDamaged(str(said))
    values.verify(database)
    records.found(database)


def _marked(path: Path) -> str:
    with contextlib.suppress(OSError):
        return schema.mark_of(path).read_text(errors="replace") or "damage was met in it"
    return "damage was met in it"


def _go_on(database: sqlite3.Connection, owner: Owner, now: Moment) -> None:
    """A new epoch where frames must not go on in the latest one, or where there is none."""
    try:
        because = epochs.reason_for_new(epochs.current(database).owner, owner)
    except epochs.NoEpochError:
        because = "new spool"
    if because:
        database.execute("BEGIN IMMEDIATE")
        epochs.open_new(database, owner, because, now)
        database.execute("COMMIT")


def _rebuild(path: Path, owner: Owner, now: Moment, reason: str, doubt: Doubt | None) -> None:
    """A new database beside the damaged one, with what was readable; then they change places."""
    fresh_path = _fresh(path)
    aside = path.with_name(f"{path.name}.damaged")
    try:
        _remove(fresh_path)
        firstpage.kept_beside(path).unlink(missing_ok=True)
        fresh = schema.connect(fresh_path)
        try:
            schema.create(fresh)
            fresh.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            with fresh_path.open("rb") as file:
                sound = file.read(firstpage.PAGE)
            found = salvage.salvage(path, fresh, sound, owner, now, doubt)
            fresh.execute("BEGIN IMMEDIATE")
            epochs.open_new(fresh, owner, "the spool's database was damaged", now)
            _note_damage(fresh, found, reason, aside)
            values.put_note(fresh, "rebuilt", b"\x01")
            fresh.execute("COMMIT")
            fresh.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            fresh.close()
        _swap(path, fresh_path, aside)
    except sqlite3.Error as error:
        raise SpoolUnwritable(
            f"the spool {path} is damaged ({reason}) and cannot be rebuilt yet: {error}; is the disk full or failing?"
        ) from error
    except OSError as error:
        raise SpoolUnwritable(
            f"the spool {path} is damaged and cannot be moved aside: {error}; is the disk full or failing?"
        ) from error


def _note_damage(fresh: sqlite3.Connection, found: salvage.Salvaged, reason: str, aside: Path) -> None:
    """What no event has told of yet: this damage, and what an earlier one lost."""
    before = read_damage(values.note(fresh, DAMAGE_NOTE) or b"")
    damage = Damage(
        reason=reason,
        salvaged_frames=found.frames,
        salvaged_events=found.events,
        lost_events=found.lost_events + (before.lost_events if before else 0),
        lost_count_known=found.lost_known and (before is None or before.lost_count_known),
        moved_to=str(aside),
        also_lost=tuple(dict.fromkeys((*(before.also_lost if before else ()), *found.also_lost))),
    )
    values.put_note(fresh, DAMAGE_NOTE, json.dumps(asdict(damage)).encode())


def _swap(path: Path, fresh: Path, aside: Path) -> None:
    _remove(aside)
    path.rename(aside)
    for tail in ("-wal", "-shm"):
        beside = path.with_name(path.name + tail)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + tail))
    fresh.rename(path)
    schema.mark_of(path).unlink(missing_ok=True)
    here.sync_folder(path.parent)


def _finish_rebuild(path: Path) -> None:
    """After a power cut in the middle: a complete new file takes its place, an incomplete one goes."""
    fresh = _fresh(path)
    if not fresh.exists():
        return
    if not path.exists() and _is_complete(fresh):
        fresh.rename(path)
        here.sync_folder(path.parent)
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
