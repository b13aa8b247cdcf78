"""Blocks a removable medium, makes it read-only or gives it free, by the kernel's own means (T-44)."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import struct
import time
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import HoldMedia, LimitMedium
from schoolkeeper_agent.enforcers.linux.exec_responder.mounts import parse as parse_mounts
from schoolkeeper_agent.enforcers.linux.media_hold import RULE, MediaHold
from schoolkeeper_agent.seams import Ability, Outcome
from schoolkeeper_agent.sensors.linux.block_device import is_optical, sequence_of, usb_device, usb_interface
from schoolkeeper_proto.policy import MediaAccess

BLKROSET = 0x125D
BLKROGET = 0x125E
"""linux/fs.h: set and get the read-only flag of a block device."""
_MS_RDONLY, _MS_REMOUNT = 1, 32
_GONE_S = 2.0
_POLL_S = 0.02
_MOUNTS = Path("/proc/self/mountinfo")


class MediaEnforcer:
    """Of a USB device only the part that is the disk is de-authorised (Documentation/usb/authorization.rst, 'Interface
    authorization'): what also types or is a network card goes on. Another disk is removed from its bus."""

    name = "media"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._hold = MediaHold(context)
        self._made_read_only: set[int] = set()

    def ability(self) -> Ability:
        if not self._context.has_root:
            return Ability(able=False, because="needs root: without it media are watched, none is limited")
        if not (self._context.sys_root / "block").is_dir():
            return Ability(able=False, because=f"there is no {self._context.sys_root}/block")
        return Ability(able=True)

    async def perform(self, action: object) -> Outcome:
        try:
            if isinstance(action, HoldMedia):
                return self._outcome(action, self._hold_media(action))
            if isinstance(action, LimitMedium):
                return await self._limit(action)
        except OSError as error:
            return self._outcome(action, f"{error}")
        return self._outcome(action, f"{type(action).__name__} is not an action of this enforcer")

    async def close(self) -> None:
        """A limit stays until the medium is unplugged; what is plugged in from now on waits for the next service."""

    def _hold_media(self, action: HoldMedia) -> str:
        if not action.hold:
            self._hold.end()
            return ""
        if not any((root / RULE).exists() for root in (self._context.etc_root.parent, Path("/"))):
            return (
                f"media are not held before they are judged: /{RULE} is missing; install the agent's package"
            )
        self._hold.begin()
        return ""

    async def _limit(self, action: LimitMedium) -> Outcome:
        disk = self._context.sys_root / "block" / action.kernel_name
        if "/" in action.kernel_name or not disk.exists() or self._is_another(disk, action):
            gone = f"there is no medium {action.kernel_name!r} any more"
            return Outcome(enforcer=self.name, action=action, succeeded=False, detail=gone, gone=True)
        try:
            return self._outcome(action, await self._do(disk, action))
        except OSError as error:
            if not disk.exists():
                return Outcome(
                    enforcer=self.name, action=action, succeeded=False, detail=str(error), gone=True
                )
            return self._outcome(action, f"{action.access} for {action.kernel_name}: {error}")

    def _is_another(self, disk: Path, action: LimitMedium) -> bool:
        return bool(action.sequence) and sequence_of(disk) != action.sequence

    async def _do(self, disk: Path, action: LimitMedium) -> str:
        if action.access is MediaAccess.ALLOW:
            if sequence_of(disk) in self._made_read_only:
                make_writable(disk)
                self._made_read_only.discard(sequence_of(disk))
            self._hold.release(disk)
            return ""
        if action.access is MediaAccess.READ_ONLY:
            error = self._set_read_only(disk)
            if not error:
                self._hold.release(disk)
            return error
        if action.access is MediaAccess.BLOCK:
            return await self._block(disk, keep=action.keep)
        return f"{action.access} is nothing that can be done to a medium"

    def _set_read_only(self, disk: Path) -> str:
        self._made_read_only.add(sequence_of(disk))
        return make_read_only(disk)

    async def _block(self, disk: Path, *, keep: bool) -> str:
        """Read-only first: nothing is written while the device goes. Empty when nobody can reach it, else why not."""
        self._set_read_only(disk)
        self._hold.take_back(disk)
        interface = usb_interface(disk)
        stays = keep or _is_built_in(disk) or self._shares(disk, interface)
        if stays and await self._hold.holds_now(disk, _MOUNTS):
            return ""
        switch, word = disk / "device" / "delete", "1"
        if interface is not None and not self._shares(disk, interface):
            switch, word = interface / "authorized", "0"
        if not switch.exists():
            if await self._hold.holds_now(disk, _MOUNTS):
                return ""
            return f"{disk.name} can only be made read-only: its driver has no way to remove it"
        switch.write_text(word)
        deadline = time.monotonic() + _GONE_S
        while disk.exists():  # noqa: ASYNC240 - sysfs is memory
            if time.monotonic() > deadline:
                return f"{disk.name} is still there {_GONE_S:.0f} s after it was removed; it is read-only"
            await asyncio.sleep(_POLL_S)
        return ""

    def _shares(self, disk: Path, interface: Path | None) -> bool:
        """Another slot of the same reader: the card in it was not refused."""
        if interface is None:
            return False
        others = (other for other in (self._context.sys_root / "block").iterdir() if other.name != disk.name)
        return any(usb_interface(other) == interface for other in others)

    def _outcome(self, action: object, error: str) -> Outcome:
        return Outcome(enforcer=self.name, action=action, succeeded=not error, detail=error)


def _is_built_in(disk: Path) -> bool:
    """A reader or drive that nobody can unplug: removed it would refuse every card and disc until the machine starts
    anew."""
    usb = usb_device(disk)
    if usb is None and is_optical(disk):
        return True
    try:
        return usb is not None and (usb / "removable").read_text().strip() == "fixed"
    except OSError:
        return False


def make_writable(disk: Path) -> None:
    """Takes back what ``make_read_only`` set; a switch on the card itself stays. Raises ``OSError``."""
    for name in _names(disk):
        _set_flag(name, read_only=False)


def make_read_only(disk: Path, mountinfo: Path = _MOUNTS) -> str:
    """The disk and each of its partitions, and what is mounted of them; empty when nothing can be written any more.

    The flag stops later mounts and opens; a file system that is already mounted for writing would go on to write (the
    block layer only warns), so it is remounted.
    """
    names = _names(disk)
    for name in names:
        if not _set_flag(name, read_only=True):
            return f"the kernel did not make {name} read-only"
    return _remount(disk, names, mountinfo)


def _names(disk: Path) -> list[str]:
    return [disk.name, *(part.parent.name for part in disk.glob("*/partition"))]


def _set_flag(name: str, *, read_only: bool) -> bool:
    """Whether the kernel says afterwards what it was told."""
    descriptor = os.open(f"/dev/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, BLKROSET, struct.pack("i", read_only))
        answer = fcntl.ioctl(descriptor, BLKROGET, struct.pack("i", 0))
    finally:
        os.close(descriptor)
    return bool(struct.unpack("i", answer)[0]) == read_only


def _remount(disk: Path, names: list[str], mountinfo: Path) -> str:
    """Each superblock on these devices; one of several mount points is enough for all of them."""
    devices = {
        (disk if name == disk.name else disk / name).joinpath("dev").read_text().strip() for name in names
    }
    library = ctypes.CDLL(None, use_errno=True)
    for device, point, _ in parse_mounts(os.fsdecode(mountinfo.read_bytes())):
        if device not in devices:
            continue
        if library.mount(None, os.fsencode(point), None, _MS_REMOUNT | _MS_RDONLY, None) != 0:
            why = os.strerror(ctypes.get_errno())
            return f"{disk.name} is read-only for whatever opens it now, but is in use for writing at {point}: {why}"
    return ""
