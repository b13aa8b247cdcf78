"""Whether what was found out about a file's content stays true until its time stamps change.

Not while somebody can write to it: a page that is mapped and already dirty changes without a new time stamp. And not
at all on a tmpfs, where writes through a mapping leave no trace in the file's times.
"""

from __future__ import annotations

import fcntl
import os
import time

SHOWS_WRITES = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "f2fs", "vfat", "exfat", "squashfs", "iso9660", "erofs"}
)
"""File systems that set a file's times at the first write through a new mapping (page_mkwrite in the kernel)."""
_FRESH_NS = 50_000_000
"""A file changed this recently could change again within the same tick of its clock."""
_OTHERS_WRITE = 0o022


class Settled:
    """``devices``: numbers (st_dev) of the file systems of which it can be told."""

    __slots__ = ("devices",)

    def __init__(self) -> None:
        self.devices: frozenset[int] = frozenset()

    def holds(self, file: int, found: os.stat_result) -> bool:
        if abs(time.time_ns() - found.st_ctime_ns) < _FRESH_NS:
            return False
        if found.st_uid == 0 and not found.st_mode & _OTHERS_WRITE:
            return True
        return found.st_dev in self.devices and _nobody_writes(file)


def _nobody_writes(file: int) -> bool:
    """The kernel gives a read lease only while no descriptor or mapping can write (fcntl(2), F_SETLEASE).

    The caller ignores SIGIO, which tells of a lease that somebody wants broken.
    """
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True
