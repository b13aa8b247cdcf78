"""Who is at the other end of a local socket, as the kernel says. Light: the exec responder passes through here."""

from __future__ import annotations

import os
import select
import socket
import struct
from typing import NamedTuple

_CREDENTIALS = struct.Struct("=iII")
CREDENTIALS_BYTES = _CREDENTIALS.size


class Peer(NamedTuple):
    """A process and the user id that it had when it connected, listened or sent."""

    process_id: int
    user_id: int


def peer_of(connection: socket.socket) -> Peer:
    """Whoever connected, or listens (unix(7), SO_PEERCRED): cannot be forged by the peer."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process_id, user_id, _ = _CREDENTIALS.unpack(data)
    return Peer(process_id, user_id)


def sender_of(ancillary: list[tuple[int, int, bytes]]) -> Peer:
    """Whoever sent this packet (SCM_CREDENTIALS, for who set SO_PASSCRED); 0 and -1 where it is not said."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            process_id, user_id, _ = _CREDENTIALS.unpack_from(data)
            return Peer(process_id, user_id)
    return Peer(0, -1)


def cgroups_of(process_id: int, proc_root: str | os.PathLike[str] = "/proc") -> frozenset[str]:
    """The cgroups of a process (cgroups(7)), which only root assigns; none when it is not there any more.

    Asked between two looks at a descriptor of the process: the number is not another's by now.
    """
    try:
        handle = os.pidfd_open(process_id)
    except (OSError, AttributeError):  # it is gone, or this is not Linux
        return frozenset()
    try:
        with open(f"{os.fspath(proc_root)}/{process_id}/cgroup") as file:  # noqa: PTH123 - pathlib costs memory here
            listed = file.read()
        if select.select([handle], [], [], 0)[0]:  # ended; a signal of 0 would need CAP_KILL
            return frozenset()
    except (OSError, ValueError):
        return frozenset()
    finally:
        os.close(handle)
    lines = (line.split(":", 2) for line in listed.splitlines())
    return frozenset(line[2] for line in lines if len(line) == 3 and line[1] in ("", "name=systemd"))
