"""Media out of people's reach until they are judged, with or without this service (T-44).

The package's udev rule (``99-schoolkeeper-media.rules``) makes the node of every removable medium root's alone and
has udisks ask for an administrator before it mounts or opens one, so no desktop wins a race: not at the machine's
start, not after a dock woke up. Two signs are ours: the file ``HOLD`` says that the rule holds at all, and a file for
each medium gives it free. They are named by ``diskseq``, which the kernel gives once: what is plugged in next waits.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.identity import write_private
from schoolkeeper_agent.sensors.linux.block_device import is_removable, sequence_of

HOLD = "schoolkeeper/hold-media"
"""Below /etc, which is there before any other file system."""
RELEASED = "media"
RULE = Path("usr/lib/udev/rules.d/99-schoolkeeper-media.rules")
_SIGN = "E:UDISKS_SYSTEM=1"
_TOLD_S, _POLL_S = 5.0, 0.02


class MediaHold:
    """Methods raise ``OSError``."""

    def __init__(self, context: Context) -> None:
        self._block = context.sys_root / "block"
        self._flag = context.etc_root / HOLD
        self._released = context.run_dir / RELEASED
        self._udev = context.run_root / "udev" / "data"

    @property
    def holds(self) -> bool:
        return self._flag.exists()

    def begin(self) -> None:
        if not self.holds:
            self._flag.parent.mkdir(exist_ok=True)
            write_private(self._flag, b"media wait until the school's agent has judged them\n")
        self._released.mkdir(parents=True, exist_ok=True)

    def end(self) -> None:
        """What waits is free at once."""
        self._flag.unlink(missing_ok=True)
        if self._block.is_dir():
            for disk in sorted(self._block.iterdir()):
                if is_removable(disk):
                    tell_udev(disk)

    def release(self, disk: Path) -> None:
        """Gives this medium free: udev looks at it again, and the desktop mounts it."""
        sequence = sequence_of(disk)
        if not self.holds or not sequence:
            return
        self._forget_gone()
        sign = self._sign(sequence)
        if not sign.exists():
            sign.parent.mkdir(parents=True, exist_ok=True)
            sign.touch()
            tell_udev(disk)

    def take_back(self, disk: Path) -> None:
        """Out of reach again, for whoever opens it next."""
        if (sign := self._sign(sequence_of(disk))).exists():
            sign.unlink()
        if self.holds:
            tell_udev(disk)

    async def holds_now(self, disk: Path, mountinfo: Path) -> bool:
        """Whether nobody but root can reach it: by what udev wrote down and the nodes show, not by what was asked.

        Waits a moment for udev. A medium that is mounted is within reach.
        """
        if not self.holds:
            return False
        devices = _with_partitions(disk)
        numbers = [(device / "dev").read_text().strip() for device in devices]
        deadline = time.monotonic() + _TOLD_S
        while not all(map(self._is_held, devices, numbers)):
            if time.monotonic() > deadline or not disk.exists():  # noqa: ASYNC240 - sysfs is memory
                return False
            await asyncio.sleep(_POLL_S)
        mounted = {line.split(" ")[2] for line in mountinfo.read_text().splitlines() if line.count(" ") > 5}  # noqa: ASYNC240
        return not mounted & set(numbers)

    def _is_held(self, device: Path, number: str) -> bool:
        try:
            known = (self._udev / f"b{number}").read_text().splitlines()
            return _SIGN in known and not Path("/dev", device.name).stat().st_mode & 0o077
        except OSError:
            return False

    def _sign(self, sequence: int) -> Path:
        return self._released / f"{sequence}.released"

    def _forget_gone(self) -> None:
        there = {f"{sequence_of(disk)}.released" for disk in self._block.iterdir()}
        if self._released.is_dir():
            for sign in self._released.iterdir():
                if sign.name not in there:
                    sign.unlink(missing_ok=True)


def _with_partitions(disk: Path) -> list[Path]:
    return [disk, *(entry.parent for entry in disk.glob("*/partition"))]


def tell_udev(disk: Path) -> None:
    """The kernel announces it and its partitions again; nothing about them has changed."""
    for device in _with_partitions(disk):
        (device / "uevent").write_text("change")
