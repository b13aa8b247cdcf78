"""``schoolkeeper-agent ask``: asks the running agent over the session socket, as whoever the kernel says one is."""

from __future__ import annotations

import socket
from pathlib import Path

from schoolkeeper_agent.session import lines
from schoolkeeper_agent.session.calling import first_answer
from schoolkeeper_agent.session.lines import Ask, AskLately, LineMistake, Reply

SECONDS = 15.0


class NotAsked(Exception):
    """Nothing was asked, or nobody knows whether it was; says why, to the person."""


def ask(run_dir: Path, request: Ask | AskLately, *, timeout: float = SECONDS) -> Reply:
    """The service's reply. Raises ``NotAsked``."""
    if isinstance(request, Ask) and len(request.words) > lines.MAX_ASKED:
        raise NotAsked(f"write at most {lines.MAX_ASKED} characters; these are {len(request.words)}")
    line = lines.write_ask(request)
    if len(line) > lines.MAX_PEER_LINE:
        raise NotAsked("this is too long: a rule is named as the notice names it, in a few words")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(run_dir / lines.SOCKET_NAME))
            connection.sendall(line)
            return _reply(connection)
        except TimeoutError as error:
            raise NotAsked(
                "the school's agent does not answer: it is not known whether it took this; look later with"
                " `schoolkeeper-agent ask`"
            ) from error
        except LineMistake as error:
            raise NotAsked(f"the school's agent says something that cannot be read ({error})") from error
        except OSError as error:
            raise NotAsked(
                f"the school's agent does not run on this device ({error.strerror or error}): nothing was asked;"
                " tell your teacher or the technician"
            ) from error


def _reply(connection: socket.socket) -> Reply:
    reply = first_answer(connection, _read_reply)
    if reply is None:
        raise NotAsked(
            "the school's agent took nothing: too many programs of your account speak to it at once;"
            " try again in a minute"
        )
    return reply


def _read_reply(line: bytes) -> Reply | None:
    said = lines.read(line)
    return said if isinstance(said, Reply) else None
