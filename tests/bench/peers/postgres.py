"""One PostgreSQL server for both sides of a comparison, and rsyslog into it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import harness
import psutil
import psycopg
from peers import rsyslog
from peers.rsyslog import Kind, Outcome, Rsyslog

if TYPE_CHECKING:
    from support.postgres import Postgres


@contextmanager
def running() -> Iterator[Postgres]:
    """The server that `make test` puts into .venv, with its default durability (fsync on, commits wait for it)."""
    import pytest

    from support.postgres import PostgresError, running_postgres

    try:
        with running_postgres() as server:
            yield server
    except (pytest.skip.Exception, PostgresError) as reason:
        raise harness.CannotMeasure(str(reason)) from reason


def measure_rsyslog(server: Postgres, folder: Path, events: int) -> Outcome:
    """rsyslog's inserts, 1,024 to a transaction, into an empty table."""
    database = server.new_database().partition("?")[0].rpartition("/")[2]
    connection = f"postgresql://postgres@/{database}?host={server.folder}"  # rsyslog takes no blanks
    place = folder / f"postgres-{database}"
    place.mkdir()
    with psycopg.connect(connection, autocommit=True) as reader:
        reader.execute(
            "CREATE TABLE lines (id bigserial PRIMARY KEY, host text, at timestamptz, message text)"
        )

        def arrived() -> int:
            row = reader.execute("SELECT count(*) FROM lines").fetchone()
            return int(row[0]) if row else 0

        peer = Rsyslog(folder=place, kind=Kind.POSTGRES, postgres=connection)
        return rsyslog.measure(peer, events, arrived=arrived, server_cpu=lambda: server_cpu_seconds(server))


def server_cpu_seconds(server: Postgres) -> float:
    """CPU of the postmaster and every process below it."""
    pid = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in family)
