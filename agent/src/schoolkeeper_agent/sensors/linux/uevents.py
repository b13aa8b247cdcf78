"""The kernel's own device events, straight from its netlink socket (udev(7) reads the same): parsed, bounded."""

from __future__ import annotations

import socket
from dataclasses import dataclass

MAX_EVENT = 16 << 10
_NETLINK_KOBJECT_UEVENT = 15
_KERNEL_GROUP = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEvent:
    """``properties`` as the kernel sent them, for example SUBSYSTEM, DEVNAME, DEVTYPE."""

    action: str
    device_path: str
    properties: dict[str, str]


def parse(data: bytes) -> DeviceEvent | None:
    """One packet: ``add@/devices/...`` and NUL-separated ``KEY=value``; None for what is none (udev's own format)."""
    head, _, rest = data[:MAX_EVENT].partition(b"\0")
    action, at, path = head.partition(b"@")
    if not at or not action.isalpha() or not path.startswith(b"/"):
        return None
    properties = {}
    for line in rest.split(b"\0"):
        key, equals, value = line.partition(b"=")
        if equals:
            properties[key.decode(errors="replace")] = value.decode(errors="replace")
    return DeviceEvent(
        action=action.decode(), device_path=path.decode(errors="replace"), properties=properties
    )


def open_socket() -> socket.socket:
    """Non-blocking, subscribed to the kernel's events; no rights are needed."""
    listener = socket.socket(
        socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_KOBJECT_UEVENT
    )
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        listener.bind((0, _KERNEL_GROUP))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def receive(listener: socket.socket) -> DeviceEvent | None:
    """One event, or None when the packet is none or not the kernel's (anybody can send to a netlink address).

    Raises BlockingIOError when nothing waits, OSError (ENOBUFS) when some were lost.
    """
    data, sender = listener.recvfrom(MAX_EVENT)
    if isinstance(sender, tuple) and sender[0] != 0:
        return None
    return parse(data)
