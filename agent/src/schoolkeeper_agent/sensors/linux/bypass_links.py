"""Links of this machine from the kernel's own list: a netlink dump, parsed (rtnetlink(7), linux/if_link.h)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_RTM_NEWLINK, _RTM_GETLINK, _NLMSG_DONE = 16, 18, 3
_REQUEST, _DUMP = 0x1, 0x300
_HEADER = struct.Struct("=IHHII")
_INFO = struct.Struct("=BBHiII")
_ATTRIBUTE = struct.Struct("=HH")
_ADDRESS, _NAME, _LINKINFO, _PERMANENT = 1, 3, 18, 54
_KIND = 1
_UP = 1
_MOST = 1 << 20
ETHERNET = 1
"""linux/if_arp.h"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """``kind`` as ``ip -d link`` shows it, empty for real hardware. ``permanent``: the address it was built with."""

    name: str
    hardware: int
    up: bool
    kind: str = ""
    address: bytes = b""
    permanent: bytes = b""


def links() -> tuple[Link, ...]:
    """Every link of this network namespace; raises ``OSError``."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as asking:
        asking.settimeout(5)
        size = _HEADER.size + _INFO.size
        asking.send(_HEADER.pack(size, _RTM_GETLINK, _REQUEST | _DUMP, 1, 0) + _INFO.pack(0, 0, 0, 0, 0, 0))
        found: list[Link] = []
        taken = 0
        while taken < _MOST:
            data = asking.recv(65_536)
            taken += len(data)
            more, done = parse(data)
            found += more
            if done:
                break
        return tuple(found)


def parse(data: bytes) -> tuple[list[Link], bool]:
    """The links of one datagram, and whether the dump is over; what cannot be read is left out."""
    found: list[Link] = []
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return found, True
        if kind == _NLMSG_DONE:
            return found, True
        if kind == _RTM_NEWLINK and length >= _HEADER.size + _INFO.size:
            _, _, hardware, _, flags, _ = _INFO.unpack_from(data, at + _HEADER.size)
            body = data[at + _HEADER.size + _INFO.size : at + length]
            found.append(_link(hardware, flags, dict(_attributes(body))))
        at += (length + 3) & ~3
    return found, not data


def _link(hardware: int, flags: int, held: dict[int, bytes]) -> Link:
    about = dict(_attributes(held.get(_LINKINFO, b"")))
    return Link(
        name=_text(held.get(_NAME, b"")),
        hardware=hardware,
        up=bool(flags & _UP),
        kind=_text(about.get(_KIND, b"")),
        address=held.get(_ADDRESS, b""),
        permanent=held.get(_PERMANENT, b""),
    )


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, body[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")[:64]
