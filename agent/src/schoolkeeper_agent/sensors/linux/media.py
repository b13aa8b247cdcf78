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
from schoolkeeper_agent.sensors.linux.block_device import describe, is_removable
from schoolkeeper_proto import model

if TYPE_CHECKING:
    from schoolkeeper_agent.sensors.linux.usb_interfaces import UsbInterfaces

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
        self._held: set[str] = set()
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
            watcher = _watch_mounts(
                loop, mounts.fileno(), lambda: self._mounts(mounts.fileno(), emit), stopped
            )
            try:
                for disk in sorted((self._context.sys_root / "block").iterdir()):
                    self._added(disk.name, emit)
                self._look_at_usb(emit)
                self._mounts(mounts.fileno(), emit)
                await stopped
            finally:
                loop.remove_reader(listener.fileno())
                watcher()

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
        disk = self._context.sys_root / "block" / name
        if name in self._held or not (is_removable(disk) or name in self._include):
            return
        medium = describe(disk, Path("/dev") / name)
        if medium.size_bytes == 0:
            return  # a reader without a card; 'change' comes with the card
        self._held.add(name)
        account, user_id, groups = self._person()
        emit(observations.MediumArrived(medium=medium, account=account, user_id=user_id, groups=groups))

    def _removed(self, name: str, emit: Emit) -> None:
        if name in self._held:
            self._held.discard(name)
            self._mounted.pop(name, None)
            emit(observations.MediumLeft(kernel_name=name))

    def _mounts(self, descriptor: int, emit: Emit) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        now: dict[str, bool] = {}
        for device, read_only in mounted_disks(os.fsdecode(b"".join(parts)), self._context.sys_root):
            if device in self._held:
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


def mounted_disks(mountinfo: str, sys_root: Path) -> list[tuple[str, bool]]:
    """(disk, read-only) of each mount whose source is a disk or a partition of one."""
    found = []
    for line in mountinfo.split("\n"):
        fields = line.split(" ")
        if len(fields) > 6 and parse_mounts(line):
            disk = _disk_of(fields[2], sys_root)
            if disk:
                options = fields[5].split(",") + fields[-1].split(",")
                found.append((disk, "ro" in options))
    return found


def _disk_of(device: str, sys_root: Path) -> str:
    place = Path(os.path.realpath(sys_root / "dev" / "block" / device))
    if not (place / "dev").exists():
        return ""
    if (place / "partition").exists():
        place = place.parent
    slaves = place / "slaves"
    if slaves.is_dir() and (below := sorted(slaves.iterdir())):
        # An opened LUKS volume: the medium is what lies below.
        lower = Path(os.path.realpath(below[0]))
        place = lower.parent if (lower / "partition").exists() else lower
    return place.name


def _watch_mounts(
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
