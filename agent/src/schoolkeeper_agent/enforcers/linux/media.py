"""Blocks a removable medium, makes it read-only or gives it free, by the kernel's own means (T-44)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import HoldMedia, LimitMedium
from schoolkeeper_agent.enforcers.linux.media_hold import RULE, MediaHold
from schoolkeeper_agent.enforcers.linux.media_switch import MOUNTS, make_read_only, make_writable
from schoolkeeper_agent.seams import Ability, Outcome
from schoolkeeper_agent.sensors.linux.block_device import is_optical, sequence_of, usb_device, usb_interface
from schoolkeeper_proto.policy import MediaAccess

_FIRST_S = 1.0
_GONE_S = 2.0
_POLL_S = 0.02


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
                if error := await self._switch(disk, read_only=False):
                    return error
                self._made_read_only.discard(sequence_of(disk))
            self._hold.release(disk)
            return ""
        if action.access is MediaAccess.READ_ONLY:
            error = await self._set_read_only(disk)
            if not error:
                self._hold.release(disk)
            return error
        if action.access is MediaAccess.BLOCK:
            return await self._block(disk, keep=action.keep)
        return f"{action.access} is nothing that can be done to a medium"

    async def _set_read_only(self, disk: Path) -> str:
        self._made_read_only.add(sequence_of(disk))
        return await self._switch(disk, read_only=True)

    async def _switch(self, disk: Path, *, read_only: bool) -> str:
        """By the guard where there is one: empty, or why not."""
        if (guard := self._context.guard) is not None:
            from schoolkeeper_agent.guard.requests import Limit

            wanted = Limit(disk.name, sequence_of(disk), read_only)
            return (await asyncio.to_thread(guard.ask, wanted)).error
        if read_only:
            return make_read_only(disk)
        make_writable(disk)
        return ""

    async def _block(self, disk: Path, *, keep: bool) -> str:
        """Read-only first: nothing is written while the device goes. Empty when nobody can reach it, else why not."""
        with contextlib.suppress(TimeoutError):  # a guard that takes its time does not keep it within reach
            async with asyncio.timeout(_FIRST_S):
                await self._set_read_only(disk)
        self._hold.take_back(disk)
        interface = usb_interface(disk)
        stays = keep or _is_built_in(disk) or self._shares(disk, interface)
        if stays and await self._hold.holds_now(disk, MOUNTS):
            return ""
        switch, word = disk / "device" / "delete", "1"
        if interface is not None and not self._shares(disk, interface):
            switch, word = interface / "authorized", "0"
        if not switch.exists():
            if await self._hold.holds_now(disk, MOUNTS):
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
