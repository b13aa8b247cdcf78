"""Where the collector is, in numbers, and whether it can be reached through an isolation or round it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterable

from schoolkeeper_agent.enforcers.linux.isolation_rules import PROBE_MARK, Endpoint
from schoolkeeper_agent.net import AddressError, split_address

RESOLVE_S = 1.0
CONNECT_S = 3.0


async def resolve(
    addresses: Iterable[str], known: dict[str, tuple[Endpoint, ...]]
) -> dict[str, tuple[Endpoint, ...]]:
    """Each ``host:port`` in numbers: those of now with those last known; what cannot be resolved keeps the latter.

    Takes ``RESOLVE_S`` at most, since an isolation must not wait for a name server.
    """
    wanted: dict[str, tuple[str, int]] = {}
    found: dict[str, tuple[Endpoint, ...]] = {}
    for address in addresses:
        with contextlib.suppress(AddressError):
            host, port = split_address(address)
            try:
                found[address] = (Endpoint(str(ipaddress.ip_address(host)), port),)
            except ValueError:
                wanted[address] = (host, port)
                found[address] = known.get(address, ())
    loop = asyncio.get_running_loop()
    asked = {address: loop.create_task(_ask(loop, *place)) for address, place in wanted.items()}
    if asked:
        done, late = await asyncio.wait(asked.values(), timeout=RESOLVE_S)
        for task in late:
            task.cancel()
        for address, task in asked.items():
            if task in done:
                found[address] = tuple(dict.fromkeys((*task.result(), *found[address])))[:16]
    return found


def name_of(address: str) -> tuple[str, int]:
    """(name, port) of ``host:port``; the name is empty for an address in numbers and for what cannot be used."""
    try:
        host, port = split_address(address)
    except AddressError:
        return "", 0
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host, port
    return "", port


async def _ask(loop: asyncio.AbstractEventLoop, host: str, port: int) -> tuple[Endpoint, ...]:
    try:
        answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(Endpoint(str(answer[4][0]).partition("%")[0], port) for answer in answers)


async def reachable(endpoints: Iterable[Endpoint], *, round_it: bool) -> bool:
    """Whether any of them takes a connection: through the table, or ``round_it`` by the mark."""
    tries = [asyncio.create_task(_connects(one, round_it=round_it)) for one in endpoints]
    try:
        for finished in asyncio.as_completed(tries):
            if await finished:
                return True
        return False
    finally:
        for task in tries:
            task.cancel()


async def _connects(endpoint: Endpoint, *, round_it: bool) -> bool:
    family = socket.AF_INET6 if ":" in endpoint.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as plain:
        plain.setblocking(False)
        try:
            if round_it:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROBE_MARK)
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().sock_connect(plain, (endpoint.address, endpoint.port))
        except OSError:
            return False
        return True
