"""Removable media: seen the moment the kernel has them, recognised by their bytes, and their mounts (T-44).

Telephones and cameras come by the same socket, where the policy has a rule on them (``usb_interfaces.py``).
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from schoolkeeper_agent import observations
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.linux.exec_responder.mounts import parse as parse_mounts
from schoolkeeper_agent.seams import Ability, Emit, SensorError
from schoolkeeper_agent.sensors.linux import uevents
from schoolkeeper_agent.sensors.linux.block_device import (
    describe,
    has_medium,
    is_removable,
    sequence_of,
)
from schoolkeeper_agent.sensors.linux.mounted import disk_of, mounted_disks
from schoolkeeper_proto import model

if TYPE_CHECKING:
    from schoolkeeper_agent.sensors.linux.usb_interfaces import UsbInterfaces

_SYSTEM_POINTS = frozenset({"/", "/usr", "/var", "/boot", "/boot/efi"})
Person = Callable[[], tuple[str, int, frozenset[str] | None]]
"""Account, user id and groups of whoever sits at the screen."""


class MediaSensor:
    """``include`` lets a test name devices of its own that are not removable, such as a loop device."""

    name = "media"
    kinds = (
        model.MediumAttached.KIND,
        model.MediumMounted.KIND,
        model.MediumRefused.KIND,
        model.MediumMadeReadOnly.KIND,
        model.MediumEjected.KIND,
    )

    def __init__(
        self,
        context: Context,
        *,
        person: Person = lambda: ("", -1, None),
        include: frozenset[str] = frozenset(),
    ) -> None:
        self._context = context
        self._person = person
        self._include = include
        self._held: dict[str, int] = {}
        self._shown: dict[str, model.Medium] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._of_the_system: frozenset[str] = frozenset()
        self._look_at_mounts: Callable[[], None] = _nothing
        self._mounted: dict[str, bool] = {}
        self._usb: UsbInterfaces | None = None

    def ability(self) -> Ability:
        if not (self._context.sys_root / "block").is_dir():
            return Ability(able=False, because=f"there is no {self._context.sys_root}/block")
        if not self._context.has_root:
            return Ability(
                able=True, because="without root the content of media is not recognised: all are unknown"
            )
        return Ability(able=True)

    async def run(self, emit: Emit) -> None:
        """What is plugged in already comes first, then every change."""
        try:
            listener = uevents.open_socket()
        except OSError as error:
            raise SensorError(f"the kernel's device events cannot be read: {error}") from error
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[None] = loop.create_future()
        with listener, (self._context.proc_root / "self" / "mountinfo").open("rb", buffering=0) as mounts:
            loop.add_reader(listener.fileno(), _guarded, lambda: self._drain(listener, emit), stopped)
            self._look_at_mounts = lambda: self._mounts(mounts.fileno(), emit)
            watcher = watch_mounts(loop, mounts.fileno(), self._look_at_mounts, stopped)
            try:
                self._find(mounts.fileno(), emit)
                self._look_at_usb(emit)
                self._look_at_mounts()
                await stopped
            finally:
                loop.remove_reader(listener.fileno())
                watcher()
                self._look_at_mounts = _nothing
                for task in self._looking.values():
                    task.cancel()

    def _find(self, mounts: int, emit: Emit) -> None:
        """What is there now; what an earlier run knew and is not there any more has left."""
        self._of_the_system = _system_disks(all_of(mounts), self._context.sys_root)
        disks = {disk.name for disk in (self._context.sys_root / "block").iterdir()}
        for name in sorted(self._shown.keys() - disks):
            self._removed(name, emit)
        for name in sorted(disks):
            self._added(name, emit)

    def _drain(self, listener: socket.socket, emit: Emit) -> None:
        for _ in range(256):
            try:
                event = uevents.receive(listener)
            except BlockingIOError:
                return
            if event is not None and self._usb is not None and event.properties.get("SUBSYSTEM") == "usb":
                self._usb.heard(event, emit)
            if event is None or event.properties.get("SUBSYSTEM") != "block":
                continue
            name = event.properties.get("DEVNAME", "").removeprefix("/dev/")
            if event.properties.get("DEVTYPE") != "disk" or not name or "/" in name:
                continue
            if event.action == "remove":
                self._removed(name, emit)
            elif event.action in ("add", "change"):
                self._added(name, emit)

    def _look_at_usb(self, emit: Emit) -> None:
        if not self._context.bundle.peripherals.rules:
            return
        from schoolkeeper_agent.sensors.linux.usb_interfaces import UsbInterfaces

        self._usb = UsbInterfaces(self._context, self._person)
        self._usb.start(emit)

    def _added(self, name: str, emit: Emit) -> None:
        """A disk or card that is new, or whose bytes may have changed; a thread looks what it is: a stick can hang."""
        disk = self._context.sys_root / "block" / name
        if name not in self._include and (not is_removable(disk) or name in self._of_the_system):
            return
        sequence = sequence_of(disk)
        if name in self._held and (self._held[name] != sequence or not has_medium(disk)):
            self._removed(name, emit)  # another card in the same reader, or another stick under the same name
        if not has_medium(disk):
            return  # a reader without a card; 'change' comes with the card
        self._held[name] = sequence
        if name in self._looking:
            self._again.add(name)
        else:
            self._looking[name] = asyncio.create_task(self._look(name, sequence, emit))

    async def _look(self, name: str, sequence: int, emit: Emit) -> None:
        """One at a time for each disk. Tells what is there if it is still there, and not again while it is the same."""
        try:
            medium = await asyncio.to_thread(
                describe, self._context.sys_root / "block" / name, Path("/dev") / name
            )
        finally:
            self._looking.pop(name, None)
        if name in self._again:
            self._again.discard(name)
            self._added(name, emit)
        if self._held.get(name) != sequence:
            return
        if medium is None:
            self._removed(name, emit)
            return
        if self._shown.get(name) == medium:
            return
        self._shown[name] = medium
        account, user_id, groups = self._person()
        emit(
            observations.MediumArrived(
                medium=medium, sequence=sequence, account=account, user_id=user_id, groups=groups
            )
        )
        self._look_at_mounts()

    def _removed(self, name: str, emit: Emit) -> None:
        self._held.pop(name, None)
        self._mounted.pop(name, None)
        self._again.discard(name)
        if self._shown.pop(name, None) is not None:
            emit(observations.MediumLeft(kernel_name=name))

    def _mounts(self, descriptor: int, emit: Emit) -> None:
        now: dict[str, bool] = {}
        for device, read_only in mounted_disks(all_of(descriptor), self._context.sys_root):
            if device in self._shown:
                now[device] = now.get(device, True) and read_only
        for device, read_only in now.items():
            if self._mounted.get(device) != read_only:
                emit(observations.MediumInUse(kernel_name=device, read_only=read_only))
        self._mounted = now


def _guarded(step: Callable[[], None], stopped: asyncio.Future[None]) -> None:
    """What goes wrong in a callback ends the sensor, so that it is restarted and reported."""
    try:
        step()
    except OSError as error:
        if not stopped.done():
            stopped.set_exception(SensorError(f"reading device events failed: {error}"))


def _nothing() -> None:
    """No mount table is open."""


def all_of(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    parts = []
    while part := os.read(descriptor, 65536):
        parts.append(part)
    return os.fsdecode(b"".join(parts))


def _system_disks(mountinfo: str, sys_root: Path) -> frozenset[str]:
    """What this machine runs from is never limited, though it hangs on USB: nothing would go on running."""
    found = set()
    for device, point, _ in parse_mounts(mountinfo):
        if point in _SYSTEM_POINTS and (disk := disk_of(device, sys_root)):
            found.add(disk)
    return frozenset(found)


def watch_mounts(
    loop: asyncio.AbstractEventLoop, descriptor: int, step: Callable[[], None], stopped: asyncio.Future[None]
) -> Callable[[], None]:
    """The mount table tells of a change by POLLPRI (proc(5)), which epoll hands on; asyncio only knows 'readable'."""
    epoll = select.epoll()
    epoll.register(descriptor, select.EPOLLPRI | select.EPOLLERR)

    # Asking the inner epoll would find nothing: being asked from outside has taken the news already.
    loop.add_reader(epoll.fileno(), _guarded, step, stopped)

    def stop() -> None:
        loop.remove_reader(epoll.fileno())
        epoll.close()

    return stop
