"""The asking end of the session socket, for a command that asks one thing and ends."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from schoolkeeper_agent.peers import peer_of
from schoolkeeper_agent.session import lines
from schoolkeeper_agent.session.lines import LineMistake

SECONDS = 25.0
_Answer = TypeVar("_Answer")


class NotReached(Exception):
    """The agent cannot be reached; ``perhaps``: nobody knows whether it took what was said."""

    def __init__(self, because: str, *, perhaps: bool = False) -> None:
        super().__init__(because)
        self.perhaps = perhaps


class TooLong(Exception):
    """What was written does not fit a message."""


def call(
    run_dir: Path,
    line: bytes,
    read: Callable[[bytes], _Answer | None],
    *,
    takes: bool = True,
    seconds: float = SECONDS,
) -> _Answer:
    """The service's answer to one line. Raises ``NotReached`` or ``TooLong``.

    Only whoever owns the folder (root, where it is the system's) is spoken to: nobody else shall read this. ``takes``:
    the line says something that the service keeps, so that without an answer nobody knows whether it did.
    """
    if len(line) > lines.MAX_PEER_LINE:
        raise TooLong("this is too long for one message")
    sent = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(str(run_dir / lines.SOCKET_NAME))
            if peer_of(connection).user_id != run_dir.stat().st_uid:
                raise NotReached("the socket is not of the school's agent")
            connection.sendall(line)
            sent = takes
            answer = first_answer(connection, read)
        except TimeoutError as error:
            raise NotReached("it does not answer", perhaps=sent) from error
        except LineMistake as error:
            raise NotReached(f"it says something that cannot be read ({error})", perhaps=sent) from error
        except OSError as error:
            raise NotReached(error.strerror or str(error), perhaps=sent) from error
    if answer is None:
        raise NotReached("it took nothing: too many programs of this account speak to it at once")
    return answer


def first_answer(connection: socket.socket, read: Callable[[bytes], _Answer | None]) -> _Answer | None:
    """The first line of which ``read`` makes an answer; None when the service says no more. Raises ``LineMistake``.

    Words for the session's helper come this way, too. They are answered as not shown: nobody sees them here.
    """
    with connection.makefile("rb") as heard:
        while line := heard.readline(lines.MAX_LINE):
            answer = read(line)
            if answer is not None:
                return answer
            said = lines.read(line)
            if isinstance(said, lines.Words):
                connection.sendall(lines.write_answer(lines.Answer(number=said.number, shown=False)))
    return None
