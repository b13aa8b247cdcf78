"""A question to a name server past an isolation, for a collector that moved while the device was held (RFC 1035).

The table lets no name server be asked. This asks with the mark of the self-test, so that nothing is opened for anybody
else, and only after the collector was reachable neither through the table nor round it. Addresses that come back are no
trust: whatever answers there must show a certificate of the school's own authority.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from schoolkeeper_agent.enforcers.linux.isolation_rules import PROBE_MARK

PORT = 53
ASK_S = 2.0
_A, _AAAA, _IN = 1, 28, 1
_RECURSE = 0x0100
_HEAD = struct.Struct(">HHHHHH")
_ANSWER = struct.Struct(">HHIH")
_MOST = 16


def name_servers(files: Iterable[Path]) -> tuple[str, ...]:
    """Addresses after ``nameserver`` in these files, without those of this machine's own cache: it may not ask on."""
    found: list[str] = []
    for path in files:
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            word, _, rest = line.strip().partition(" ")
            try:
                address = ipaddress.ip_address(rest.strip()) if word == "nameserver" else None
            except ValueError:
                continue
            if address is not None and not address.is_loopback:
                found.append(str(address))
    return tuple(dict.fromkeys(found))[:4]


async def ask(host: str, servers: Iterable[str], *, port: int = PORT) -> tuple[str, ...]:
    """Addresses of the name, of both families; empty when no server answers."""
    for server in servers:
        found: list[str] = []
        for kind in (_A, _AAAA):
            try:
                found += await _one(host, kind, server, port)
            except (OSError, ValueError):
                continue
        if found:
            return tuple(found[:_MOST])
    return ()


async def _one(host: str, kind: int, server: str, port: int) -> list[str]:
    number = int.from_bytes(os.urandom(2), "big")
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
        asking.setblocking(False)
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROBE_MARK)
        asking.connect((server, port))
        async with asyncio.timeout(ASK_S):
            await loop.sock_sendall(asking, question(number, host, kind))
            while True:
                data = await loop.sock_recv(asking, 4096)
                if data[:2] == number.to_bytes(2, "big"):
                    return answers(data, kind)


def question(number: int, host: str, kind: int) -> bytes:
    """Raises ``ValueError`` for a name that cannot be asked for."""
    labels = host.rstrip(".").encode("ascii").split(b".")
    if any(not 0 < len(label) < 64 for label in labels):
        raise ValueError(f"{host!r} is no name")
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return _HEAD.pack(number, _RECURSE, 1, 0, 0, 0) + name + struct.pack(">HH", kind, _IN)


def answers(data: bytes, kind: int) -> list[str]:
    """The addresses of one kind in a reply; what cannot be read ends it."""
    found: list[str] = []
    try:
        _, flags, questions, count, _, _ = _HEAD.unpack_from(data)
        if not flags & 0x8000 or flags & 0x000F:
            return found
        at = _HEAD.size
        for _ in range(questions):
            at = _after_name(data, at) + 4
        for _ in range(min(count, 64)):
            at = _after_name(data, at)
            said, _, _, length = _ANSWER.unpack_from(data, at)
            at += _ANSWER.size
            if said == kind and length == (4 if kind == _A else 16) and at + length <= len(data):
                found.append(str(ipaddress.ip_address(data[at : at + length])))
            at += length
    except (struct.error, IndexError):
        pass
    return found


def _after_name(data: bytes, at: int) -> int:
    """Behind a name; a pointer ends it (RFC 1035, 4.1.4)."""
    while data[at]:
        if data[at] >= 0xC0:
            return at + 2
        at += 1 + data[at]
    return at + 1
