"""How much work a call is, in lines of Python, and whether it waits: the same on every machine and under every load.

What C code does below a line is not counted: a bound on it belongs in `tests/bench`, as seconds do.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from _typeshed import TraceFunction


def lines_of(call: Callable[[], object]) -> int:
    """How many lines ran in this thread, in the call and in everything that it called."""
    lines = 0

    def seen(_frame: FrameType, event: str, _arg: object, /) -> TraceFunction:
        nonlocal lines
        lines += event == "line"
        return seen

    before = sys.gettrace()
    sys.settrace(seen)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines


class Waited(Exception):
    """A call that must answer at once began to wait for something."""


@contextmanager
def waiting_for_nothing() -> Iterator[None]:
    """Raises ``Waited`` when the block sleeps, starts a process, or asks somebody over a socket."""

    def waits(*_: object, **__: object) -> NoReturn:
        raise Waited("it sleeps, starts a process, or connects to somebody")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", waits)
        patch.setattr(subprocess.Popen, "__init__", waits)
        patch.setattr(subprocess.Popen, "__del__", lambda _: None)
        patch.setattr(socket.socket, "connect", waits)
        patch.setattr(select, "select", waits)
        yield
