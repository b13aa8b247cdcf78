"""Opens a window of ours in the person's desktop. The helper that systemd keeps has no desktop in its own surroundings.

Where there is one (the autostart entry's helper), the program is a child. Else the account's own manager starts it
(org.freedesktop.systemd1, StartTransientUnit), to which desktops tell where their screen is.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

PROGRAMS = {
    "agreement": "schoolkeeper_agent.agreeing",
    "encrypt": "schoolkeeper_agent.encrypting.window",
}
"""What can be opened, and what shows it; given the folder of the run."""
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")
STARTED_SECONDS = 1.5
"""A program that cannot show anything ends within it; less than the service waits for the helper."""
_MANAGER, _PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
_EXISTS = "org.freedesktop.systemd1.UnitExists"


@dataclass(slots=True)
class Opener:
    """``bus_address``: the person's own bus, or empty."""

    run_dir: Path
    bus_address: str
    _open: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def open(self, what: str) -> bool:
        """Whether it is there, or was already; False where the desktop can show none."""
        program = PROGRAMS.get(what)
        if program is None:
            return False
        command = [sys.executable, "-I", "-m", program, str(self.run_dir)]
        if any(os.environ.get(name) for name in SCREENS):
            return await self._as_child(what, command)
        return bool(self.bus_address) and await self._by_manager(what, command)

    async def _as_child(self, what: str, command: list[str]) -> bool:
        running = self._open.get(what)
        if running is None or running.returncode is not None:
            running = self._open[what] = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.DEVNULL
            )
        try:
            async with asyncio.timeout(STARTED_SECONDS):
                return await running.wait() in (0, 1)
        except TimeoutError:
            return True

    async def _by_manager(self, what: str, command: list[str]) -> bool:
        from dbus_fast.aio import MessageBus
        from dbus_fast.errors import DBusError

        try:
            async with asyncio.timeout(STARTED_SECONDS):
                bus = await MessageBus(bus_address=self.bus_address).connect()
                try:
                    return await _started(bus, f"schoolkeeper-{what}.service", command)
                finally:
                    bus.disconnect()
        except (OSError, DBusError, EOFError, ValueError, TimeoutError):
            return False


async def _started(bus: MessageBus, unit: str, command: list[str]) -> bool:
    from dbus_fast import MessageType, Variant

    surroundings: list[object] = [f"{_MANAGER}.Manager", "Environment"]
    known = await _call(bus, "org.freedesktop.DBus.Properties", "Get", "ss", surroundings)
    if known is None or known.message_type is not MessageType.METHOD_RETURN:
        return False
    if not any(line.startswith(tuple(f"{name}=" for name in SCREENS)) for line in known.body[0].value):
        return False
    what = [
        ["Description", Variant("s", "A window of Schoolkeeper")],
        ["ExecStart", Variant("a(sasb)", [[command[0], command, False]])],
        ["CollectMode", Variant("s", "inactive-or-failed")],
    ]
    asked: list[object] = [unit, "fail", what, []]
    answer = await _call(bus, f"{_MANAGER}.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", asked)
    if answer is None:
        return False
    return answer.message_type is MessageType.METHOD_RETURN or answer.error_name == _EXISTS


async def _call(
    bus: MessageBus, interface: str, member: str, signature: str, body: list[object]
) -> Message | None:
    from dbus_fast import Message as Asked

    call = Asked(
        destination=_MANAGER, path=_PATH, interface=interface, member=member, signature=signature, body=body
    )
    return await bus.call(call)
