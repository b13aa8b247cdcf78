"""The way from a form to the running agent: one question, one answer, over the session socket."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from schoolkeeper_agent.session import lines
from schoolkeeper_agent.session.calling import first_answer
from schoolkeeper_agent.session.lines import LineMistake
from schoolkeeper_agent.session.telling_lines import Answer, Request, Telling, read_answer, write_request

SECONDS = 25.0


class NotReached(Exception):
    """The agent cannot be reached; ``perhaps``: nobody knows whether it took what was said."""

    def __init__(self, because: str, *, perhaps: bool = False) -> None:
        super().__init__(because)
        self.perhaps = perhaps


class TooLong(Exception):
    """What was written does not fit a message."""


def speak(run_dir: Path, request: Request, *, seconds: float = SECONDS) -> Answer:
    """The service's answer. Raises ``NotReached`` or ``TooLong``.

    Only whoever owns the folder (root, where it is the system's) is spoken to: nobody else shall read this.
    """
    line = write_request(request)
    if len(line) > lines.MAX_PEER_LINE:
        raise TooLong("this is too long for one message")
    sent = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(str(run_dir / lines.SOCKET_NAME))
            if _owner(connection) != run_dir.stat().st_uid:
                raise NotReached("the socket is not of the school's agent")
            connection.sendall(line)
            sent = isinstance(request, Telling)
            return _answer(connection)
        except TimeoutError as error:
            raise NotReached("it does not answer", perhaps=sent) from error
        except LineMistake as error:
            raise NotReached(f"it says something that cannot be read ({error})", perhaps=sent) from error
        except OSError as error:
            raise NotReached(error.strerror or str(error), perhaps=sent) from error


def _answer(connection: socket.socket) -> Answer:
    answer = first_answer(connection, read_answer)
    if answer is None:
        raise NotReached("it took nothing: too many programs of this account speak to it at once")
    return answer


def _owner(connection: socket.socket) -> int:
    """unix(7), SO_PEERCRED of whoever listens."""
    _, user_id, _ = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user_id)
