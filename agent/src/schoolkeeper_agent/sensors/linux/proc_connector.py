"""The kernel's process events connector (linux/cn_proc.h): executions and exits as they happen; needs root.

It also tells of forks, threads, names and user ids. A filter on the socket (socket(7), SO_ATTACH_FILTER) throws those
away in the kernel, so that they do not wake the agent: most of what it would otherwise cost while little happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from dataclasses import dataclass

_NETLINK_CONNECTOR = 11
_CN_IDX_PROC = _CN_VAL_PROC = 1
_PROC_CN_MCAST_LISTEN = 1
EXEC, EXIT = 0x2, 0x80000000
_HEADER = 16 + 20
"""Bytes of struct nlmsghdr and struct cn_msg."""
_EVENT = struct.Struct("=IIQii")
_ID = struct.Struct("=II")
_NLMSG_DONE = 3
RECEIVE_BUFFER = 1 << 20
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
"""asm-generic/socket.h. The second goes beyond net.core.rmem_max, by default room for a burst of some 500 programs."""
_WHAT, _THREAD, _PROCESS = _HEADER, _HEADER + 16, _HEADER + 20
"""Offsets in a packet of the three fields that decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEvent:
    """``what`` is EXEC or EXIT; only whole processes are told, no threads."""

    what: int
    process_id: int


def parse(packet: bytes) -> ProcessEvent | None:
    """One packet; None for other events and for what is none."""
    if len(packet) < _HEADER + _EVENT.size:
        return None
    index, value = _ID.unpack_from(packet, 16)
    if (index, value) != (_CN_IDX_PROC, _CN_VAL_PROC):
        return None
    what, _, _, thread, process = _EVENT.unpack_from(packet, _HEADER)
    if what not in (EXEC, EXIT) or thread != process or process <= 0:
        return None
    return ProcessEvent(what=what, process_id=process)


def listen() -> socket.socket:
    """Non-blocking and subscribed; raises OSError without the right to it."""
    connector = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_CONNECTOR)
    try:
        connector.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        with contextlib.suppress(PermissionError):  # a container may hear of processes, and not have this
            connector.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        _filter(connector)
        connector.bind((0, _CN_IDX_PROC))
        wish = struct.pack("=IIIIHHI", _CN_IDX_PROC, _CN_VAL_PROC, 0, 0, 4, 0, _PROC_CN_MCAST_LISTEN)
        connector.send(struct.pack("=IHHII", 16 + len(wish), _NLMSG_DONE, 0, 0, os.getpid()) + wish)
        connector.setblocking(False)
    except OSError:
        connector.close()
        raise
    return connector


def _filter(connector: socket.socket) -> None:
    """Only EXEC and EXIT of whole processes come through; `parse` looks again, for packets that are not the kernel's.

    Classic BPF (linux/filter.h) as (code, jump if true, jump if false, constant); loads are in network byte order.
    """
    program = [
        (0x20, 0, 0, _WHAT),
        (0x15, 1, 0, socket.htonl(EXEC)),
        (0x15, 0, 5, socket.htonl(EXIT)),
        (0x20, 0, 0, _THREAD),
        (0x07, 0, 0, 0),  # the index register keeps it
        (0x20, 0, 0, _PROCESS),
        (0x1D, 0, 1, 0),  # the same number: the process's first thread
        (0x06, 0, 0, 0xFFFFFFFF),
        (0x06, 0, 0, 0),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    described = struct.pack("@HP", len(program), ctypes.addressof(code))
    connector.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def receive(connector: socket.socket) -> ProcessEvent | None:
    """One event; None for others, and for packets that are not the kernel's.

    Raises BlockingIOError when nothing waits, OSError with ENOBUFS when the kernel dropped some.
    """
    packet, sender = connector.recvfrom(4096)
    if isinstance(sender, tuple) and sender[0] != 0:
        return None
    return parse(packet)
