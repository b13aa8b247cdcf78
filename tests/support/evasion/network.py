"""A device's network for the ways that go through one: two namespaces, a server outside, and the sensor of bypasses."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.observations import BypassSeen
from schoolkeeper_agent.sensors.linux.bypass import BypassSensor
from support import netns
from support.core_playbook import bundle_of
from support.patience import eventually

_PLAIN = {"hosts": "127.0.0.1 localhost\n", "resolv.conf": "nameserver 10.0.0.1\n", "environment": ""}
_LINKS = ("tun7", "gre7", "sit7")


@dataclass(slots=True, kw_only=True)
class Network:
    """``seen``: what the sensor told. Its files lie in ``etc``, which only root can write."""

    cable: netns.Cable
    etc: Path
    emit: Callable[[object], None]
    seen: list[BypassSeen] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def environment(self) -> dict[str, str]:
        return {"OUTSIDE": netns.WEB4, "ETC": str(self.etc)}

    def inside(self, command: list[str]) -> list[str]:
        return ["ip", "netns", "exec", self.cable.device, *command]

    async def restore(self) -> None:
        """As the machine was; what the sensor says of that is over when this returns."""
        for name, text in _PLAIN.items():
            (self.etc / name).write_text(text)
        (self.etc / "systemd/resolved.conf").write_text("")
        (self.etc.parent / "proc/sys/kernel/hostname").write_text("laptop-7\n")
        for link in _LINKS:
            subprocess.run(
                self.inside(["ip", "link", "delete", link]), stderr=subprocess.DEVNULL, check=False
            )
        await self.looked()

    async def looked(self) -> None:
        """Returns when the sensor has looked after everything until now: it tells of a proxy that is new."""
        proxy = f"canary-{next(self._numbers)}.example:1"
        file = self.etc / "environment"
        before = file.read_text()
        file.write_text(before + f"ftp_proxy=http://{proxy}\n")
        await eventually(lambda: any(proxy in one.evidence for one in self.seen), "the sensor looks")
        file.write_text(before)

    def told(self, seen: object) -> None:
        """In the event loop of the test."""
        if isinstance(seen, BypassSeen):
            self.seen.append(seen)
            if "canary-" not in seen.evidence:
                self.emit(seen)


@contextlib.contextmanager
def device_network(folder: Path, emit: Callable[[object], None]) -> Iterator[Network]:
    """Emits what the sensor sees in the event loop that runs now."""
    etc, proc = folder / "etc", folder / "proc"
    (etc / "systemd/resolved.conf.d").mkdir(parents=True)
    (proc / "sys/kernel").mkdir(parents=True)
    for name, text in _PLAIN.items():
        (etc / name).write_text(text)
    (etc / "systemd/resolved.conf").write_text("")
    (proc / "sys/kernel/hostname").write_text("laptop-7\n")
    with netns.cable() as cable, contextlib.ExitStack() as held:
        made = Network(cable=cable, etc=etc, emit=emit)
        inside = _start(held, made.inside(["sleep", "infinity"]))
        (proc / "net").symlink_to(f"/proc/{inside.pid}/net")
        server = "import http.server as h; h.ThreadingHTTPServer(('', 443), h.SimpleHTTPRequestHandler).serve_forever()"
        _start(held, ["ip", "netns", "exec", cable.outside, sys.executable, "-c", server], cwd=etc)
        context = Context(
            bundle=bundle_of(), run_dir=folder, state_dir=folder / "state", etc_root=etc, proc_root=proc,
            sys_root=folder / "sys",
        )  # fmt: skip
        held.enter_context(_sensor(cable, context, made.told))
        yield made


def _start(
    held: contextlib.ExitStack, command: list[str], cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=cwd)
    held.callback(process.wait)
    held.callback(process.kill)
    return process


@contextlib.contextmanager
def _sensor(cable: netns.Cable, context: Context, told: Callable[[object], None]) -> Iterator[None]:
    """The sensor in a thread of the namespace, with an event loop of its own."""
    ours = asyncio.get_running_loop()
    theirs: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def watch() -> None:
        over = asyncio.Event()
        theirs.append((asyncio.get_running_loop(), over))
        sensor = BypassSensor(context, settle_s=0.05)
        running = asyncio.create_task(sensor.run(lambda seen: ours.call_soon_threadsafe(told, seen)))
        await over.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    thread = threading.Thread(
        target=lambda: netns.inside(cable.device, lambda: asyncio.run(watch()), seconds=3600), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        for loop, over in theirs:
            loop.call_soon_threadsafe(over.set)
        thread.join(60)
