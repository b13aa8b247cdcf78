"""The first page of the database, which nothing else can be read without: where it is damaged, a new one replaces it.

It holds the header and the tables' definitions, and in a spool these are the same on every device: the tables are
made in one transaction of an empty file. Only the count of pages differs (https://www.sqlite.org/fileformat2.html).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from schoolkeeper_agent.spool import schema

PAGE = 4096
_TRIES = 3
_CHANGES, _PAGES, _FREE, _VALID_FOR = slice(24, 28), slice(28, 32), slice(32, 40), slice(92, 96)


def kept_beside(path: Path) -> Path:
    """Where the damaged first page goes before a new one takes its place."""
    return path.with_name(f"{path.name}.damaged.first-page")


def open_damaged(path: Path, sound: bytes) -> sqlite3.Connection | None:
    """The damaged database, with ``sound`` as its first page where its own is not; None when it is beyond that.

    Raises ``sqlite3.Error`` and ``OSError`` for a disk that is full or failing.
    """
    for attempt in range(_TRIES):
        database = _connected(path)
        if database is not None:
            if schema.is_ours(database) or attempt == _TRIES - 1:
                return database
            # What the log holds must not lie over the page that is written next.
            with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            database.close()
        _write(path, sound)
    return None


def _connected(path: Path) -> sqlite3.Connection | None:
    try:
        return schema.connect(path)
    except sqlite3.Error as error:
        if schema.is_damage(error):
            return None
        raise


def _write(path: Path, sound: bytes) -> None:
    page = bytearray(sound)
    page[_CHANGES] = page[_VALID_FOR] = (1).to_bytes(4, "big")
    page[_PAGES] = max(1, path.stat().st_size // PAGE).to_bytes(4, "big")
    page[_FREE] = bytes(8)  # what was free is never read, and the whole file goes aside
    with path.open("r+b") as file:
        aside = kept_beside(path)
        if not aside.exists():
            aside.touch(mode=0o600)
            aside.write_bytes(file.read(PAGE))
        file.seek(0)
        file.write(page)
        file.flush()
        os.fsync(file.fileno())
