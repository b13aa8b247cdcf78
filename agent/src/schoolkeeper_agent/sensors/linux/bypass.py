"""Ways round the school's network rules: tunnels, proxies, name servers, hosts file, tethering, another name.

The kernel says when links or routes change (netlink) and when files do (inotify); then everything is looked at once,
and each sign that is new is told once. There is no timer but one look an hour. Nothing is sent to find out.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from schoolkeeper_agent import observations
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.seams import Ability, Emit, SensorError
from schoolkeeper_proto import model

if TYPE_CHECKING:
    from schoolkeeper_agent.sensors.linux.bypass_signs import Facts, Sign

KEPT = "bypass.json"
SETTLE_S = 1.0
LOOK_S = 3_600.0
_GROUPS = 0x1 | 0x40 | 0x400
"""Links, IPv4 routes, IPv6 routes (linux/rtnetlink.h)."""
_WATCHED = 0x8 | 0x80 | 0x40 | 0x200
"""Written and closed, moved in, moved out, deleted (inotify(7))."""
_FILES = ("resolv.conf", "hosts", "hostname", "environment")
_FOLDERS = ("", "systemd", "systemd/resolved.conf.d")
_MOST_BYTES = 1 << 20


class BypassSensor:
    """Keeps what may not change unseen below the state folder."""

    name = "bypass"
    kinds = (model.FilterBypass.KIND,)

    def __init__(self, context: Context, *, settle_s: float = SETTLE_S) -> None:
        self._context = context
        self._settle_s = settle_s
        self._told: frozenset[Sign] = frozenset()

    def ability(self) -> Ability:
        return Ability(able=True)

    async def run(self, emit: Emit) -> None:
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        with contextlib.ExitStack() as held:
            for descriptor in (held.enter_context(_routes()).fileno(), held.enter_context(self._files())):
                loop.add_reader(descriptor, _drain, descriptor, changed)
                held.callback(loop.remove_reader, descriptor)
            while True:
                self._look(emit)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await changed.wait()
                    await asyncio.sleep(self._settle_s)
                changed.clear()

    def _look(self, emit: Emit) -> None:
        from schoolkeeper_agent.sensors.linux import bypass_signs

        facts = self.facts()
        allowed = bypass_signs.allowed_by(self._context.bundle.network.rules)
        stand, marks = bypass_signs.signs(facts, allowed=allowed), bypass_signs.marks(facts)
        before = self._kept()
        for sign in sorted((stand - self._told) | bypass_signs.changes(before, marks)):
            emit(observations.BypassSeen(technique=sign.technique, evidence=sign.evidence[:200]))
        self._told = stand
        if marks != before:
            self._keep(marks)

    def facts(self) -> Facts:
        """What the machine shows now; what cannot be read is empty."""
        from schoolkeeper_agent.sensors.linux import bypass_links, bypass_signs

        etc, net = self._context.etc_root, self._context.proc_root / "net"
        try:
            links = bypass_links.links()
        except OSError as error:
            raise SensorError(f"the links of this machine cannot be listed: {error}") from error
        resolved = [etc / "systemd/resolved.conf", *sorted((etc / "systemd/resolved.conf.d").glob("*.conf"))]
        return bypass_signs.Facts(
            links=links,
            drivers={link.name: self._driver(link.name) for link in links},
            default_links=bypass_signs.default_links(_read(net / "route"), _read(net / "ipv6_route")),
            resolver=_read(etc / "resolv.conf"),
            resolved="\n".join(_read(path) for path in resolved),
            hosts=_read(etc / "hosts"),
            environment=_read(etc / "environment"),
            hostname=_read(self._context.proc_root / "sys/kernel/hostname").strip(),
            command_line=_read(self._context.proc_root / "cmdline"),
            listening=bypass_signs.listening_ports((_read(net / "tcp"), _read(net / "tcp6"))),
        )

    def _driver(self, link: str) -> str:
        """The kernel's driver of a link; bnep for a network over Bluetooth."""
        if "/" in link or link in ("", ".", ".."):
            return ""
        folder = self._context.sys_root / "class/net" / link
        try:
            return (folder / "device/driver").readlink().name
        except OSError:
            return "bnep" if "DEVTYPE=bluetooth" in _read(folder / "uevent") else ""

    def _kept(self) -> dict[str, str]:
        try:
            said = json.loads((self._context.state_dir / KEPT).read_bytes())
            return {str(key): str(value) for key, value in said.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _keep(self, marks: dict[str, str]) -> None:
        from schoolkeeper_agent.identity import write_private

        with contextlib.suppress(OSError):
            write_private(self._context.state_dir / KEPT, json.dumps(marks).encode())

    @contextlib.contextmanager
    def _files(self) -> Iterator[int]:
        """Whole folders, since editors replace files; the resolver's file may be a link into another one."""
        library = ctypes.CDLL(None, use_errno=True)
        watcher = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if watcher < 0:
            raise SensorError(f"changed files cannot be seen: {os.strerror(ctypes.get_errno())}")
        try:
            etc = self._context.etc_root
            folders = {etc / folder for folder in _FOLDERS}
            folders |= {(etc / name).resolve().parent for name in _FILES}
            for folder in folders:
                library.inotify_add_watch(watcher, os.fsencode(folder), _WATCHED)
            yield watcher
        finally:
            os.close(watcher)


def _routes() -> socket.socket:
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    listener.setblocking(False)
    try:
        listener.bind((0, _GROUPS))
    except OSError as error:
        listener.close()
        raise SensorError(f"changes of the network cannot be seen: {error}") from error
    return listener


def _drain(descriptor: int, changed: asyncio.Event) -> None:
    changed.set()
    with contextlib.suppress(OSError):
        while os.read(descriptor, 65_536):
            pass


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""
