"""Blocks a removable medium or makes it read-only, by the kernel's own means (T-44)."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import time
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import LimitMedium
from schoolkeeper_agent.seams import Ability, Outcome
from schoolkeeper_agent.sensors.linux.block_device import usb_device
from schoolkeeper_proto.policy import MediaAccess

BLKROSET = 0x125D
BLKROGET = 0x125E
"""linux/fs.h: set and get the read-only flag of a block device."""
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


def make_read_only(disk: Path) -> str:
    """The disk and each of its partitions; empty when the kernel shows all of them read-only.

    A file system that is already mounted for writing gets its writes refused by the block layer.
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
    return ""
