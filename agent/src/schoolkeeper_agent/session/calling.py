"""The asking end of the session socket, for a command that asks one thing and ends."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar

from schoolkeeper_agent.session import lines

_Answer = TypeVar("_Answer")


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
