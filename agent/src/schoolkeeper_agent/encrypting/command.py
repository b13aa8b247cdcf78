"""``schoolkeeper-agent encrypt``: what whoever plugged the stick in sees and types. Needs no rights.

Another program may speak for the person, too (a window of the desktop): ``Asking`` is the whole conversation.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schoolkeeper_agent.encrypting import words
from schoolkeeper_agent.encrypting.lines import Line, LineMistake, unfit

SOCKET = Path("/run/schoolkeeper-encrypt.sock")
_ANSWER_S = 60.0
_WORKING_S = 900.0


class NotEncrypted(Exception):
    """It was not, or nobody knows; in words for the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What would be encrypted. ``size`` in bytes; ``holds``: what was recognised on it; ``why`` it is refused now."""

    device: str
    size: int
    holds: str
    school: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    recovery_key: str
    reference: str


class Asking:
    """One conversation with the worker. Methods raise ``NotEncrypted``; ``close`` at any time cancels."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = path
        self._line: Line | None = None

    def ask(self, device: str = "") -> Offer:
        """Which medium it would be; changes nothing."""
        try:
            self._connection.connect(str(self._path))
        except OSError as error:
            self._connection.close()
            raise NotEncrypted(words.no_service(error.strerror or str(error))) from error
        self._line = Line(self._connection)
        self._say(encrypt=device)
        offer = self._hear(_ANSWER_S).get("offer")
        if not isinstance(offer, dict):
            raise NotEncrypted(words.NOT_UNDERSTOOD)
        return Offer(
            device=str(offer.get("device", "")),
            size=int(offer.get("size", 0)),
            holds=str(offer.get("holds", "")),
            school=str(offer.get("school", "")),
            why=str(offer.get("why", "")),
        )

    def encrypt(self, passphrase: str, progress: Callable[[str, float], None]) -> Finished:
        """After the person agreed that everything on it is lost. ``progress`` gets (what is done, part of it)."""
        self._say(lose=True, passphrase=passphrase)
        while "done" not in (said := self._hear(_WORKING_S)) or "recovery_key" not in said:
            share = int(said.get("done", 0)) / max(1, int(said.get("size", 1)))
            progress(str(said.get("doing", "")), min(1.0, share))
        return Finished(
            recovery_key=str(said["recovery_key"]),
            reference=str(said.get("reference", "")),
        )

    def hang_up(self) -> None:
        """As ``close``, from another thread than the one that waits: that one gets ``NotEncrypted``."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
        self._connection.close()

    def _say(self, **said: object) -> None:
        assert self._line is not None
        try:
            self._line.say(**said)
        except OSError as error:
            raise NotEncrypted(words.LOST) from error

    def _hear(self, timeout: float) -> dict[str, Any]:
        assert self._line is not None
        try:
            said = self._line.hear(timeout)
        except (OSError, LineMistake) as error:
            raise NotEncrypted(words.LOST) from error
        if not said:
            raise NotEncrypted(words.LOST)
        if "no" in said:
            raise NotEncrypted(str(said["no"]))
        return said


def main(device: str, *, passphrase_fd: int = -1, sure: bool = False, path: Path = SOCKET) -> int:
    """The exit code. Without ``passphrase_fd`` it is asked for at the terminal, twice; it is never an argument."""
    asking = Asking(path)
    try:
        offer = asking.ask(device)
        print(words.warning(offer.device, offer.size, offer.holds))
        if not sure and input(words.QUESTION).strip() != words.YES:
            print(words.NOTHING_CHANGED)
            return 1
        passphrase = _passphrase(passphrase_fd)
        done = asking.encrypt(passphrase, _Bar())
    except EOFError:
        print(f"\n{words.NOTHING_CHANGED}", file=sys.stderr)
        return 1
    except NotEncrypted as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{words.CANCELLED}", file=sys.stderr)
        return 1
    finally:
        asking.close()
    print(words.finished(done.recovery_key, done.reference))
    return 0


def _passphrase(descriptor: int) -> str:
    if descriptor >= 0:
        with os.fdopen(descriptor, encoding="utf-8") as given:
            return given.readline().rstrip("\n")
    while True:
        first = getpass.getpass(words.FIRST)
        if why := unfit(first):
            print(words.another(why))
        elif getpass.getpass(words.SECOND) == first:
            return first
        else:
            print(words.DIFFERENT)


class _Bar:
    """One line of a terminal; in a file a line for each tenth."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, doing: str, share: float) -> None:
        there = sys.stdout.isatty()
        step = 100 if there else 10
        said = words.progress(doing, int(share * step) * 100 // step)
        if said != self._last:
            print(f"\r{said}" if there else said, end="" if there else "\n", flush=True)
            self._last = said
