"""What the guard does for one request. Words come back: empty when it is done, else why it is not."""

from __future__ import annotations

from pathlib import Path

from schoolkeeper_agent.enforcers.linux import media_switch
from schoolkeeper_agent.guard.requests import Limit, Watch
from schoolkeeper_agent.sensors.linux.block_device import is_removable, sequence_of
from schoolkeeper_agent.sensors.linux.mounted import mounts_of_disks


class NotDone(Exception):
    """Why it was left alone."""


def limit(request: Limit, sys_root: Path = Path("/sys")) -> str:
    """Sets or takes back the read-only flag of that very medium, and of no other kind of disk. Raises ``OSError``."""
    disk = sys_root / "block" / request.disk
    if not is_removable(disk):
        raise NotDone(f"{request.disk} is no removable medium")
    if request.sequence and sequence_of(disk) != request.sequence:
        raise NotDone(f"{request.disk} is another medium by now")
    if request.read_only:
        return media_switch.make_read_only(disk)
    media_switch.make_writable(disk)
    return ""


def watch(request: Watch, sys_root: Path = Path("/sys"), mountinfo: Path = media_switch.MOUNTS) -> int:
    """A descriptor that tells of writes to the removable medium that is mounted there. Raises ``OSError``."""
    for disk, _, point, _ in mounts_of_disks(mountinfo.read_text(errors="surrogateescape"), sys_root):
        if point == request.mount and is_removable(sys_root / "block" / disk):
            return media_switch.watch_writes(point)
    raise NotDone(f"no removable medium is mounted at {request.mount}")
