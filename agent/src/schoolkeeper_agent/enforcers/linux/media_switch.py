"""What only CAP_SYS_ADMIN may do to a medium: its read-only flag, a mount made read-only, a look at its writes.

Light, and without asyncio: the guard does it for the service, and the service itself where it has no guard.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from pathlib import Path

from schoolkeeper_agent.enforcers.linux.exec_responder import fanotify
from schoolkeeper_agent.enforcers.linux.exec_responder.mounts import parse as parse_mounts
from schoolkeeper_agent.enforcers.linux.exec_responder.process import libc

BLKROSET = 0x125D
BLKROGET = 0x125E
"""linux/fs.h: set and get the read-only flag of a block device."""
_MS_RDONLY, _MS_REMOUNT = 1, 32
MOUNTS = Path("/proc/self/mountinfo")


def make_writable(disk: Path) -> None:
    """Takes back what ``make_read_only`` set; a switch on the card itself stays. Raises ``OSError``."""
    for name in _names(disk):
        _set_flag(name, read_only=False)


def make_read_only(disk: Path, mountinfo: Path = MOUNTS) -> str:
    """The disk and each of its partitions, and what is mounted of them; empty when nothing can be written any more.

    The flag stops later mounts and opens; a file system that is already mounted for writing would go on to write (the
    block layer only warns), so it is remounted.
    """
    names = _names(disk)
    for name in names:
        if not _set_flag(name, read_only=True):
            return f"the kernel did not make {name} read-only"
    return _remount(disk, names, mountinfo)


def watch_writes(mount_point: str) -> int:
    """The descriptor of a fanotify group that is told of files closed after writing there; raises ``OSError``."""
    library = libc()
    group = fanotify.listen(library, fanotify.FAN_CLASS_NOTIF)
    try:
        fanotify.mark_file_system(library, group, fanotify.FAN_CLOSE_WRITE, mount_point)
    except OSError:
        os.close(group)
        raise
    return group


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
    library = libc()
    for device, point, _ in parse_mounts(os.fsdecode(mountinfo.read_bytes())):
        if device not in devices:
            continue
        if library.mount(None, os.fsencode(point), None, _MS_REMOUNT | _MS_RDONLY, None) != 0:
            why = os.strerror(ctypes.get_errno())
            return f"{disk.name} is read-only for whatever opens it now, but is in use for writing at {point}: {why}"
    return ""
