"""Which disk a mount shows, by the mount table and sysfs. Light: the guard asks the same."""

from __future__ import annotations

import os
from pathlib import Path

from schoolkeeper_agent.enforcers.linux.exec_responder.mounts import parse


def mounted_disks(mountinfo: str, sys_root: Path) -> list[tuple[str, bool]]:
    """(disk, read-only) of each mount whose source is a disk or a partition of one."""
    return [(disk, read_only) for disk, _, _, read_only in mounts_of_disks(mountinfo, sys_root)]


def mounts_of_disks(mountinfo: str, sys_root: Path) -> list[tuple[str, str, str, bool]]:
    """(disk, device as 'major:minor', mount point, read-only) of each; an opened LUKS volume is its disk's."""
    found = []
    for line in mountinfo.split("\n"):
        fields = line.split(" ")
        if len(fields) > 6 and (parsed := parse(line)):
            disk = disk_of(fields[2], sys_root)
            if disk:
                options = fields[5].split(",") + fields[-1].split(",")
                found.append((disk, fields[2], parsed[0][1], "ro" in options))
    return found


def disk_of(device: str, sys_root: Path) -> str:
    """The name below /sys/block of a device 'major:minor'; empty when it is on no disk."""
    if device.startswith("0:"):
        return ""  # the kernel's own number for what has no block device: proc, tmpfs, overlay, a network
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
