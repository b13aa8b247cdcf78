"""The messages between the person's command, the worker and the service: JSON lines of bounded length.

Nothing that comes in is ever part of an error's words: it may be a passphrase.
"""

from __future__ import annotations

import json
import select
import socket
from typing import Any

MAX_LINE = 65_536
MOST_PASSPHRASE_BYTES = 512
LEAST_PASSPHRASE = 12
"""Characters. A stolen stick is guessed at without end."""


class LineMistake(ValueError):
    """A line that is no message."""


class Line:
    """One connection, either end. Methods raise ``OSError`` (``TimeoutError`` among them) and ``LineMistake``."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._heard = connection.makefile("rb")

    def say(self, **said: object) -> None:
        self._connection.sendall(json.dumps(said, ensure_ascii=False).encode("utf-8", "replace") + b"\n")

    def hear(self, timeout: float | None = None) -> dict[str, Any]:
        """The next message; an empty one when the other end is gone."""
        self._connection.settimeout(timeout)
        return parse(self._heard.readline(MAX_LINE))

    @property
    def is_gone(self) -> bool:
        """Whether the other end has hung up; what it said meanwhile stays unread."""
        # Asked first: a Python socket with a time-out waits for it even when it is told not to.
        readable, _, _ = select.select([self._connection], [], [], 0)
        try:
            return bool(readable) and not self._connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def close(self) -> None:
        self._heard.close()
        self._connection.close()


def parse(line: bytes) -> dict[str, Any]:
    if not line:
        return {}
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise LineMistake("not a message") from None
    if not isinstance(found, dict) or not line.endswith(b"\n"):
        raise LineMistake("not a message")
    return found


def text(found: dict[str, Any], name: str, most: int = 200) -> str:
    said = found.get(name, "")
    if not isinstance(said, str) or len(said) > most:
        raise LineMistake(f"{name} must be text of at most {most} characters")
    return said


def unfit(passphrase: str) -> str:
    """Why this passphrase will not do, in words for the person; empty when it will."""
    if len(passphrase) < LEAST_PASSPHRASE:
        return f"it has fewer than {LEAST_PASSPHRASE} characters: take three or four words"
    if len(passphrase.encode("utf-8", "replace")) > MOST_PASSPHRASE_BYTES:
        return "it is too long"
    if not passphrase.isprintable():
        return "it has characters that cannot be typed"
    if len(set(passphrase)) < 5:
        return "it is the same few characters again and again"
    return ""
