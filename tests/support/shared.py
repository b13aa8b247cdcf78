"""What all processes of a run share: one PostgreSQL server, and a keeper for each program that starts warm.

Each is made when somebody first asks, by a process beside them (``shared_keeper.py``), and ends with the run.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

KEEPER = Path(__file__).with_name("shared_keeper.py")
PLACE = "SCHOOLKEEPER_TEST_SHARED"
"""In the environment: the folder of the run's keeper, for the processes that the run starts."""
DOOR = "door"
"""The keeper's socket in that folder: one connection for each question."""


class SharedError(Exception):
    """What was asked for could not be made; the message holds the keeper's words."""


class Run:
    """The keeper of a run, for as long as the process that made this lives, or until ``end``."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sk-run-"))
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self.folder / DOOR))
        listening.listen(64)
        with listening:
            self._process = subprocess.Popen(
                [sys.executable, KEEPER, str(listening.fileno()), self.folder],
                stdin=subprocess.PIPE,
                pass_fds=(listening.fileno(),),
            )
        os.environ[PLACE] = str(self.folder)

    def end(self) -> None:
        """The keeper ends what it started."""
        os.environ.pop(PLACE, None)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def ask(question: str) -> str:
    """The keeper's answer. Outside of a run, as in a bench, this process gets a keeper of its own."""
    if PLACE not in os.environ:
        atexit.register(Run().end)
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(Path(os.environ[PLACE]) / DOOR))
        asking.sendall(question.encode())
        asking.shutdown(socket.SHUT_WR)
        with asking.makefile(encoding="utf-8") as said:
            verdict, _, words = said.read().partition(" ")
    if verdict != "made":
        raise SharedError(f"{question}: {words or 'the keeper ended; its own words stand on standard error'}")
    return words
