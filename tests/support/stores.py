"""Databases for tests on either engine: `StoreUrls.of("sqlite" | "postgresql", tmp_path, request)`, then `migrated`."""

import fcntl
import tempfile
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Self

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from schoolkeeper_collector.store.migrate import upgrade
from support.patience import until

ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUrls:
    """Two empty databases, not yet migrated."""

    store: str
    keystore: str

    @classmethod
    def of(cls, engine: str, folder: Path, request: pytest.FixtureRequest) -> Self:
        """PostgreSQL comes from the `postgres` fixture, which skips with its reason where there is none."""
        if engine == "sqlite":
            return cls(store=f"sqlite:///{folder}/collector.db", keystore=f"sqlite:///{folder}/keystore.db")
        server = request.getfixturevalue("postgres")
        urls = cls(store=server.new_database(), keystore=server.new_database())
        for url in (urls.store, urls.keystore):
            request.addfinalizer(partial(server.drop, url))
        return urls


def migrated(store: str, keystore: str) -> None:
    """What `migrate` makes of two empty databases, as copies of two that it made once in this process.

    Tests of the migrations themselves call `migrate`.
    """
    for url, name in ((store, "main"), (keystore, "keystore")):
        address = make_url(url)
        if address.get_backend_name() == "sqlite":
            assert address.database
            Path(address.database).write_bytes(_sqlite(name))
        else:
            assert address.database
            _copy_postgres(str(address.query["host"]), name, address.database)


@cache
def _sqlite(name: str) -> bytes:
    """The one file that is left when the last connection closed: its write-ahead log is in it by then."""
    with tempfile.TemporaryDirectory(prefix="sk-template-") as folder:
        path = Path(folder) / "template.db"
        upgrade(f"sqlite:///{path}", name)
        assert [one.name for one in path.parent.iterdir()] == [path.name]
        return path.read_bytes()


@cache
def _postgres(host: str, name: str) -> str:
    """The name of a migrated database in the server behind this socket; the first of all who share it makes it."""
    template = f"migrated_{name}"
    with Path(host, f".{template}").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        _make_template(host, name, template)
    return template


def _make_template(host: str, name: str, template: str) -> None:
    with _server(host) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (template,)).fetchone()
        if known is not None:
            return
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(template)))
    upgrade(f"postgresql+psycopg://postgres@/{template}?host={host}", name)
    # A closed session may live on for a moment, and nobody copies a database that is in use.
    until(lambda: not _sessions(host, template), 60, f"nobody uses {template} any more")


def _sessions(host: str, database: str) -> int:
    with _server(host) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        row = connection.execute(query, (database,)).fetchone()
    assert row is not None
    return int(str(row[0]))


def _copy_postgres(host: str, name: str, database: str) -> None:
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
    template = _postgres(host, name)
    with _server(host) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))
        connection.execute(copy.format(sql.Identifier(database), sql.Identifier(template)))


def _server(host: str) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(f"host={host} user=postgres dbname=postgres", autocommit=True)
