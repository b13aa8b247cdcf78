"""Blocks a removable medium or makes it read-only, by the kernel's own means (T-44)."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import struct
import time
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import LimitMedium
from schoolkeeper_agent.enforcers.linux.exec_responder.mounts import parse as parse_mounts
from schoolkeeper_agent.seams import Ability, Outcome
from schoolkeeper_agent.sensors.linux.block_device import usb_device
from schoolkeeper_proto.policy import MediaAccess

BLKROSET = 0x125D
BLKROGET = 0x125E
"""linux/fs.h: set and get the read-only flag of a block device."""
_MS_RDONLY, _MS_REMOUNT = 1, 32
_GONE_S = 2.0
_POLL_S = 0.02


class MediaEnforcer:
    """A blocked USB device is de-authorised (Documentation/usb/authorization.rst); another disk is removed."""

    name = "media"

    def __init__(self, context: Context) -> None:
        self._context = context

    def ability(self) -> Ability:
        if not self._context.has_root:
            return Ability(able=False, because="needs root: without it media are watched, none is limited")
        if not (self._context.sys_root / "block").is_dir():
            return Ability(able=False, because=f"there is no {self._context.sys_root}/block")
        return Ability(able=True)

    async def perform(self, action: object) -> Outcome:
        if not isinstance(action, LimitMedium):
            return self._outcome(action, f"{type(action).__name__} is not an action of this enforcer")
        disk = self._context.sys_root / "block" / action.kernel_name
        if "/" in action.kernel_name or not disk.exists():
            return self._outcome(action, f"there is no medium {action.kernel_name!r} any more")
        try:
            if action.access is MediaAccess.READ_ONLY:
                return self._outcome(action, make_read_only(disk))
            if action.access is MediaAccess.BLOCK:
                return self._outcome(action, await self._block(disk))
        except OSError as error:
            return self._outcome(action, f"{action.access} for {action.kernel_name}: {error}")
        return self._outcome(action, f"{action.access} is nothing that can be done to a medium")

    async def close(self) -> None:
        """Nothing of ours serves a medium: a limit stays until it is unplugged."""

    def _outcome(self, action: object, error: str) -> Outcome:
        return Outcome(enforcer=self.name, action=action, succeeded=not error, detail=error)

    async def _block(self, disk: Path) -> str:
        """Read-only first: nothing is written while the device goes. Empty when it is gone, else why it is not."""
        make_read_only(disk)
        usb = usb_device(disk)
        switch = usb / "authorized" if usb is not None else disk / "device" / "delete"
        if not switch.exists():
            return f"{disk.name} can only be made read-only: its driver has no way to remove it"
        _write(switch, "0" if usb is not None else "1")
        deadline = time.monotonic() + _GONE_S
        while disk.exists():  # noqa: ASYNC240 - sysfs is memory
            if time.monotonic() > deadline:
                return f"{disk.name} is still there {_GONE_S:.0f} s after it was removed; it is read-only"
            await asyncio.sleep(_POLL_S)
        return ""


def _write(switch: Path, text: str) -> None:
    switch.write_text(text)


def make_read_only(disk: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> str:
    """The disk and each of its partitions, and what is mounted of them; empty when nothing can be written any more.

    The flag stops later mounts and opens; a file system that is already mounted for writing would go on to write (the
    block layer only warns), so it is remounted.
    """
    names = [disk.name, *(part.parent.name for part in disk.glob("*/partition"))]
    for name in names:
        descriptor = os.open(f"/dev/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fcntl.ioctl(descriptor, BLKROSET, struct.pack("i", 1))
            answer = fcntl.ioctl(descriptor, BLKROGET, struct.pack("i", 0))
        finally:
            os.close(descriptor)
        if struct.unpack("i", answer)[0] != 1:
            return f"the kernel did not make {name} read-only"
    return _remount(disk, names, mountinfo)


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
