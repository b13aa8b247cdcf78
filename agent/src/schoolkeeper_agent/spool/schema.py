"""The spool's tables, and how SQLite is told to keep its word.

WAL with ``synchronous=FULL`` syncs the log at every commit (https://www.sqlite.org/pragma.html#pragma_synchronous):
what ``append`` returned for is on the disk. Integers for lane and state are the positions below; never reorder them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from schoolkeeper_agent.spool import room
from schoolkeeper_agent.spool.contract import FrameState
from schoolkeeper_proto.wire import LANES, Lane

FORMAT = 1
LANE_NUMBER = {lane: number for number, lane in enumerate(LANES, start=1)}
LANE_OF = {number: lane for lane, number in LANE_NUMBER.items()}
STATES = (FrameState.PENDING, FrameState.DELIVERED, FrameState.SET_ASIDE)
PENDING, DELIVERED, SET_ASIDE = range(3)

TABLES = """
CREATE TABLE notes (name TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE epochs (
    epoch_no INTEGER PRIMARY KEY AUTOINCREMENT, epoch BLOB NOT NULL UNIQUE, school_id TEXT NOT NULL,
    device_id BLOB NOT NULL, machine_hash BLOB NOT NULL, because TEXT NOT NULL, opened_ms INTEGER NOT NULL);
CREATE TABLE lanes (
    epoch_no INTEGER NOT NULL, lane INTEGER NOT NULL, next_sequence INTEGER NOT NULL, chain BLOB NOT NULL,
    PRIMARY KEY (epoch_no, lane)) WITHOUT ROWID;
CREATE TABLE segments (
    segment_no INTEGER PRIMARY KEY, segment_id BLOB NOT NULL UNIQUE, epoch_no INTEGER NOT NULL,
    crc INTEGER NOT NULL, encoded BLOB NOT NULL);
CREATE TABLE frames (
    frame_no INTEGER PRIMARY KEY AUTOINCREMENT, epoch_no INTEGER NOT NULL, lane INTEGER NOT NULL,
    first_sequence INTEGER NOT NULL, count INTEGER NOT NULL, state INTEGER NOT NULL, cost INTEGER NOT NULL,
    written_ms INTEGER NOT NULL, settled_ms INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
    segment_no INTEGER NOT NULL, crc INTEGER NOT NULL, chain BLOB NOT NULL, header BLOB NOT NULL,
    ciphertext BLOB NOT NULL);
CREATE UNIQUE INDEX frames_place ON frames (epoch_no, lane, first_sequence);
CREATE INDEX frames_state ON frames (state, lane, frame_no, epoch_no, cost, count);
CREATE TABLE evictions (
    eviction_no INTEGER PRIMARY KEY AUTOINCREMENT, epoch_no INTEGER NOT NULL, lane INTEGER NOT NULL,
    first_sequence INTEGER NOT NULL, events INTEGER NOT NULL, frames INTEGER NOT NULL, chain_before BLOB NOT NULL,
    chain_after BLOB NOT NULL, reason TEXT NOT NULL, evicted_ms INTEGER NOT NULL, reported INTEGER NOT NULL,
    crc INTEGER NOT NULL);
CREATE INDEX evictions_waiting ON evictions (epoch_no) WHERE reported = 0;
"""

DAMAGE_CODES = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,  # the statements are constants: an unknown table or column is a damaged definition
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_CONSTRAINT,  # places are given out once: one that is taken shows a damaged head or index
    }
)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is broken, as against a disk that is full or failing."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    # Python's own words, without a code, for a text that is no longer one.
    return code & 0xFF in DAMAGE_CODES or str(error).startswith("Could not decode to UTF-8")


def definitions(database: sqlite3.Connection) -> set[tuple[object, ...]]:
    """What the database says its tables and indexes are, and on which page each begins."""
    return set(database.execute("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master"))


def is_ours(database: sqlite3.Connection, number: int = FORMAT) -> bool:
    """Whether the definitions are exactly those that ``create`` writes, and the format's number is that one."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as sound:
        create(sound)
        try:
            return version(database) == number and definitions(database) == definitions(sound)
        except (sqlite3.Error, UnicodeDecodeError):
            return False


def is_plausible(number: object, state: object, count: object) -> bool:
    """Whether a frame can have this number, state and count of events."""
    return (
        isinstance(number, int)
        and 0 < number < 1 << 40
        and state in (PENDING, DELIVERED, SET_ASIDE)
        and isinstance(count, int)
        and 0 < count <= room.MAX_FRAME_EVENTS
    )


def mark_of(path: Path) -> Path:
    """The file that says of a spool that damage was met in it: the next opening rebuilds it, whatever else it finds."""
    return path.with_name(f"{path.name}.damage-met")


def mark_damaged(path: Path, why: str) -> None:
    """Never raises: on a disk that cannot take the mark the damage is met again."""
    with contextlib.suppress(OSError):
        file = os.open(mark_of(path), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            os.write(file, why.encode(errors="replace"))
        finally:
            os.close(file)


def connect(path: Path) -> sqlite3.Connection:
    """Opens the database, readable to its owner only; raises ``sqlite3.Error``."""
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    try:
        # One opener at a time: a second service on the same spool would give sequences out twice.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA busy_timeout = 2000")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA wal_autocheckpoint = 256")
        database.execute("PRAGMA cache_size = -1024")
        database.execute("PRAGMA cell_size_check = ON")
        database.execute("PRAGMA secure_delete = OFF")
    except sqlite3.Error:
        database.close()
        raise
    except UnicodeDecodeError as error:
        # SQLite names the definition that it cannot understand, and the name is not even a text.
        database.close()
        damaged = sqlite3.DatabaseError("malformed database schema")
        damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        damaged.sqlite_errorname = "SQLITE_CORRUPT"
        raise damaged from error
    return database


def create(database: sqlite3.Connection) -> None:
    """Makes the tables of an empty database, all or none."""
    database.execute("BEGIN IMMEDIATE")
    try:
        for statement in TABLES.split(";\n"):
            if statement.strip():
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {FORMAT}")
        database.execute("COMMIT")
    except sqlite3.Error:
        roll_back(database)
        raise


def roll_back(database: sqlite3.Connection) -> None:
    """After a failed commit SQLite may have rolled back by itself; what cannot be undone is found at reopening."""
    try:
        if database.in_transaction:
            database.execute("ROLLBACK")
    except sqlite3.Error:
        database.close()


def is_failing(error: BaseException | None) -> bool:
    """Whether the disk itself failed, so that nobody knows what was kept. A full disk keeps nothing."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF == sqlite3.SQLITE_IOERR


def is_full(error: BaseException | None) -> bool:
    """Whether the disk (or a quota on it) is full: nothing was kept."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF == sqlite3.SQLITE_FULL


def version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def lane_of(number: int) -> Lane:
    return LANE_OF[number]
