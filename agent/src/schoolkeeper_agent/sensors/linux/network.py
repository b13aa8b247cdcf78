"""On site or off site, told from the gateway's hardware address, hashed under the school's key (T-29)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
from pathlib import Path

from schoolkeeper_agent import observations
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.seams import Ability, Emit, SensorError
from schoolkeeper_proto import model

_NETLINK_ROUTE = 0
_GROUPS = 0x1 | 0x4 | 0x40 | 0x400
"""Links, neighbours, IPv4 routes, IPv6 routes (linux/rtnetlink.h): a change of any is a reason to look again."""
_SETTLE_S = 1.0
HASH_BYTES = 16


class NetworkSensor:
    """``on_site`` holds the hashes of the school's own networks; without any the place stays unknown."""

    name = "network"
    kinds = (model.NetworkChanged.KIND,)

    def __init__(self, context: Context, *, on_site: frozenset[bytes] = frozenset()) -> None:
        self._context = context
        self._on_site = on_site
        self._last: observations.PlaceSeen | None = None

    def ability(self) -> Ability:
        if not self._on_site:
            return Ability(
                able=True, because="the policy names no network of the school: the place stays unknown"
            )
        return Ability(able=True)

    async def run(self, emit: Emit) -> None:
        try:
            listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
            listener.bind((0, _GROUPS))
        except OSError as error:
            raise SensorError(f"changes of the network cannot be seen: {error}") from error
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        listener.setblocking(False)
        with listener:
            loop.add_reader(listener.fileno(), _drain, listener, changed)
            try:
                while True:
                    self._look(emit)
                    await changed.wait()
                    changed.clear()
                    await asyncio.sleep(_SETTLE_S)
            finally:
                loop.remove_reader(listener.fileno())

    def _look(self, emit: Emit) -> None:
        seen = self.place()
        if seen != self._last:
            self._last = seen
            emit(seen)

    def place(self) -> observations.PlaceSeen:
        """Where the device is now, as far as it can tell."""
        routes = _read(self._context.proc_root / "net" / "route")
        neighbours = _read(self._context.proc_root / "net" / "arp")
        found = default_gateway(routes)
        if found is None:
            return observations.PlaceSeen(place=model.Place.UNKNOWN, medium="none")
        interface, gateway = found
        medium = (
            "wireless"
            if (self._context.sys_root / "class/net" / interface / "wireless").exists()
            else "wired"
        )
        address = hardware_address(neighbours, gateway)
        if not address:
            return observations.PlaceSeen(place=model.Place.UNKNOWN, medium=medium)
        hashed = network_hash(self._context.bundle.collection.pseudonym_key, address)
        if not self._on_site:
            place = model.Place.UNKNOWN
        else:
            place = model.Place.ON_SITE if hashed in self._on_site else model.Place.OFF_SITE
        return observations.PlaceSeen(place=place, medium=medium, network_hash=hashed)


def network_hash(key: bytes, hardware: str) -> bytes:
    """Only the school can tell which network it is; a home's router stays nameless."""
    return hmac.new(key, b"gateway:" + hardware.lower().encode(), hashlib.sha256).digest()[:HASH_BYTES]


def default_gateway(routes: str) -> tuple[str, str] | None:
    """(interface, IPv4 address) of the default route with the lowest metric, from /proc/net/route."""
    found: list[tuple[int, str, str]] = []
    for line in routes.split("\n")[1:]:
        fields = line.split()
        if len(fields) < 8 or fields[1] != "00000000" or fields[7] != "00000000" or not fields[6].isdigit():
            continue
        try:
            gateway = bytes.fromhex(fields[2])
        except ValueError:
            continue
        if len(gateway) == 4 and any(gateway):
            found.append((int(fields[6]), fields[0], ".".join(str(part) for part in reversed(gateway))))
    if not found:
        return None
    _, interface, address = min(found)
    return (interface, address) if "/" not in interface and interface not in (".", "..") else None


def hardware_address(neighbours: str, gateway: str) -> str:
    """From /proc/net/arp; empty when it is not resolved (yet)."""
    for line in neighbours.split("\n")[1:]:
        fields = line.split()
        if len(fields) >= 4 and fields[0] == gateway and fields[3] != "00:00:00:00:00:00":
            return fields[3]
    return ""


def _drain(listener: socket.socket, changed: asyncio.Event) -> None:
    changed.set()
    try:
        while listener.recv(65536):
            pass
    except OSError:
        return


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
