"""On site or off site: the gateway's hardware address, the wireless network's name and the DNS suffix (T-29).

Each is hashed under the school's key and compared with the sites that the policy names; none of them is told to anybody
but the gateway's hash.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from schoolkeeper_agent import observations
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.seams import Ability, Emit, SensorError
from schoolkeeper_proto import model
from schoolkeeper_proto.marks import mark_hash, site_of
from schoolkeeper_proto.policy import MarkKind

_NETLINK_ROUTE = 0
_GROUPS = 0x1 | 0x4 | 0x40 | 0x400
"""Links, neighbours, IPv4 routes, IPv6 routes (linux/rtnetlink.h): a change of any is a reason to look again."""
_SETTLE_S = 1.0
_LOOK_AGAIN_S = 15.0
"""The resolver's file and the gateway's address can come later than the route."""
_SIOCGIWESSID = 0x8B1B
"""linux/wireless.h: the name of the wireless network that an interface is on."""
_IWREQ = struct.Struct("16sPHH")
_MAX_SSID = 32


class NetworkSensor:
    """Without any site in the policy the place stays unknown."""

    name = "network"
    kinds = (model.NetworkChanged.KIND,)

    def __init__(self, context: Context, *, ssid: Callable[[str], str] | None = None) -> None:
        self._context = context
        self._ssid = ssid or ssid_of
        self._last: observations.PlaceSeen | None = None

    def ability(self) -> Ability:
        if not self._context.bundle.sites.sites:
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
        changed, again = asyncio.Event(), True
        listener.setblocking(False)
        with listener:
            loop.add_reader(listener.fileno(), _drain, listener, changed)
            try:
                while True:
                    self._look(emit)
                    try:
                        async with asyncio.timeout(_LOOK_AGAIN_S if again else None):
                            await changed.wait()
                        again = True
                    except TimeoutError:
                        again = False
                        continue
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
        key = self._context.bundle.collection.pseudonym_key
        hashed = mark_hash(key, MarkKind.GATEWAY_MAC, address) if address else b""
        return observations.PlaceSeen(
            place=self._place(key, hashed, interface if medium == "wireless" else ""),
            medium=medium,
            network_hash=hashed,
        )

    def _place(self, key: bytes, gateway: bytes, wireless: str) -> model.Place:
        sites = self._context.bundle.sites
        if not sites.sites:
            return model.Place.UNKNOWN
        ssid = self._ssid(wireless) if wireless else ""
        seen = {
            MarkKind.GATEWAY_MAC: {gateway} if gateway else set(),
            MarkKind.SSID: {mark_hash(key, MarkKind.SSID, ssid)} if ssid else set(),
            MarkKind.DNS_SUFFIX: {
                mark_hash(key, MarkKind.DNS_SUFFIX, suffix)
                for suffix in dns_suffixes(_read(self._context.etc_root / "resolv.conf"))
            },
        }
        if site_of(sites, seen) is not None:
            return model.Place.ON_SITE
        # A gateway that is not resolved yet may still turn out to be the school's.
        return model.Place.OFF_SITE if gateway else model.Place.UNKNOWN


def dns_suffixes(resolver: str) -> tuple[str, ...]:
    """The domains of ``search`` and ``domain`` in resolv.conf(5), where the last line of either counts."""
    found: tuple[str, ...] = ()
    for line in resolver.split("\n"):
        word, _, rest = line.strip().partition(" ")
        if word in ("search", "domain"):
            found = tuple(part for part in rest.split() if part.strip("."))
    return found


def ssid_of(interface: str) -> str:
    """The wireless network's name; empty when the interface is on none or its driver does not say."""
    name = array.array("B", bytes(_MAX_SSID))
    address, _ = name.buffer_info()
    request = _IWREQ.pack(interface.encode()[:15], address, _MAX_SSID, 0)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            answer = fcntl.ioctl(asking.fileno(), _SIOCGIWESSID, request)
    except OSError:
        return ""
    length = _IWREQ.unpack(answer)[2]
    return name.tobytes()[: min(length, _MAX_SSID)].decode(errors="replace")


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
