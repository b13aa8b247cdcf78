"""The two databases of a collector behind one door: the relational store and the keystore.

``Store.write`` is one transaction at a time on either engine: ``BEGIN IMMEDIATE`` on SQLite, an advisory lock for
the length of the transaction on PostgreSQL. So whoever reads and then writes inside it sees no other writer, and
row numbers become visible in the order they were given: a cursor over them never jumps one that commits late.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from schoolkeeper_collector.store.keystore import Keystore

_BUSY_MS = 30_000
_WRITE = "schoolkeeper_write"
# Any fixed number will do; it names "the writer of this database" among advisory locks.
_PG_WRITER_LOCK = 0x5C400_1


class StoreUrlError(ValueError):
    """A database URL that cannot be used; says what is wrong and what would work."""


class Store:
    """Thread-safe; each ``read`` or ``write`` has a connection of its own."""

    def __init__(self, engine: Engine, keystore: Keystore) -> None:
        self.engine = engine
        self.keystore = keystore

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view; nothing written through it is kept."""
        with self.engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            transaction = connection.begin()
            try:
                yield connection
            finally:
                transaction.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, alone among writers; commits at the end and rolls back on any error."""
        with self.engine.connect() as connection:
            connection = connection.execution_options(**{_WRITE: True})
            with connection.begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _PG_WRITER_LOCK})
                yield connection

    def forget_connections(self) -> None:
        """After an I/O error or a commit with unknown outcome: nothing of the old connections is believed."""
        self.engine.dispose()

    def close(self) -> None:
        self.engine.dispose()
        self.keystore.engine.dispose()


def open_store(url: str, keystore_url: str) -> Store:
    """Opens both databases (``sqlite:///path`` or ``postgresql+psycopg://...``); they must have been migrated.

    Raises ``StoreUrlError`` for a URL of another kind.
    """
    return Store(open_engine(url), Keystore(open_engine(keystore_url, overwrite=True)))


def open_engine(url: str, *, overwrite: bool = False) -> Engine:
    """``overwrite``: SQLite overwrites what is deleted, so that an erased key is in no free page."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        # Readable to its owner only, before the first byte; SQLite gives its other files the same rights.
        os.close(os.open(str(parsed.database), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        engine = create_engine(
            parsed,
            connect_args={"check_same_thread": False, "timeout": _BUSY_MS / 1000},
            hide_parameters=True,
        )
        event.listen(engine, "connect", _sqlite_connected)
        if overwrite:
            event.listen(engine, "connect", _sqlite_overwrites)
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    return create_engine(parsed, pool_pre_ping=True, pool_size=8, max_overflow=8, hide_parameters=True)


def parse_url(url: str) -> URL:
    """Raises ``StoreUrlError`` unless the URL names a SQLite file or a PostgreSQL database by psycopg 3."""
    hint = "use sqlite:////absolute/path.db or postgresql+psycopg://user@host/database"
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreUrlError(f"not a database URL: {url!r}; {hint}") from error
    name = parsed.drivername
    if name == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    elif name == "sqlite" and parsed.database not in (None, "", ":memory:"):
        folder = Path(str(parsed.database)).parent
        if not folder.is_dir():
            raise StoreUrlError(f"the folder of the database does not exist: {folder}; make it first")
    elif name != "postgresql+psycopg":
        raise StoreUrlError(f"cannot use {name!r} as a database: {hint}")
    return parsed


def _sqlite_connected(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own transactions are off: BEGIN is ours alone (see _sqlite_begin).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA wal_autocheckpoint=4000")
    cursor.execute("PRAGMA cache_size=-16384")
    cursor.close()


def _sqlite_overwrites(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA secure_delete=ON")


def _sqlite_begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
