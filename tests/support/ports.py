"""TCP ports for servers that are told where to listen before they start, and may start again on the same port.

A port that the kernel chose and that was closed again is anybody's: the next connection of any process may leave from
it, or another server get it, and a test then speaks to a stranger. So these lie below the range that the kernel chooses
from (ip(7), ``ip_local_port_range``), each process of the tests takes them from a block of its own, and the block is
held by an abstract socket (unix(7)) that ends with the process. Whoever can hand on a listening socket, or can read the
port back after binding to 0, needs none of this.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

_FIRST = 12_000
_BLOCK = 250
"""A port is handed out again after so many others; no test holds nearly as many."""


class NoPorts(Exception):
    """Every block is held, or every port of ours is in use."""


class _Block:
    """The ports of this process."""

    def __init__(self) -> None:
        self.process_id = os.getpid()
        self._held, self._first = _reserve(_end())
        self._next = 0

    def take(self) -> int:
        """The next one that nobody listens on."""
        for _ in range(_BLOCK):
            port = self._first + self._next
            self._next = (self._next + 1) % _BLOCK
            if _is_free(port):
                return port
        raise NoPorts(f"all ports from {self._first} to {self._first + _BLOCK - 1} are in use")


_blocks: list[_Block] = []


def free_port() -> int:
    """A port on loopback that no other process of the tests is given, and that the kernel gives to nobody.

    Raises ``NoPorts``.
    """
    if not _blocks or _blocks[-1].process_id != os.getpid():  # a forked child takes a block of its own
        _blocks[:] = [_Block()]
    return _blocks[-1].take()


def free_ports(count: int) -> list[int]:
    """So many different ones."""
    return [free_port() for _ in range(count)]


def _end() -> int:
    """Where the ports begin that the kernel chooses from by itself."""
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def _reserve(end: int) -> tuple[socket.socket, int]:
    for first in range(_FIRST, end - _BLOCK + 1, _BLOCK):
        holding = socket.socket(socket.AF_UNIX)
        try:
            holding.bind(f"\0schoolkeeper-tests-ports-{first}")
        except OSError:
            holding.close()
        else:
            return holding, first
    raise NoPorts(
        f"every block of {_BLOCK} ports between {_FIRST} and {end} is held: end other runs of the tests"
    )


def _is_free(port: int) -> bool:
    with socket.socket() as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as a server that starts again does
        try:
            trying.bind(("", port))
        except OSError:
            return False
        return True
