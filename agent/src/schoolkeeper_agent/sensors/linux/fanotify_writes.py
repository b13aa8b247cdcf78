"""fanotify(7) that only tells: which files of one file system were closed after writing. Nothing waits for it."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass

FAN_CLASS_NOTIF = 0x0
FAN_CLOEXEC, FAN_NONBLOCK = 0x1, 0x2
FAN_MARK_ADD, FAN_MARK_FILESYSTEM = 0x1, 0x100
FAN_CLOSE_WRITE, FAN_Q_OVERFLOW = 0x8, 0x4000
AT_FDCWD = -100
_EVENT = struct.Struct("=IBBHQii")
_BUFFER = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Of one file: what tells it from others there, and its size in bytes when it was closed."""

    inode: int
    size: int


class WriteWatch:
    """One file system. Methods raise ``OSError``."""

    def __init__(self, mount_point: str) -> None:
        """Only what happens on the superblock that is mounted there, in every mount namespace."""
        library = ctypes.CDLL(None, use_errno=True)
        library.fanotify_mark.argtypes = (
            ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p,
        )  # fmt: skip
        flags = FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK
        self.fd: int = library.fanotify_init(flags, os.O_RDONLY | os.O_CLOEXEC)
        if self.fd < 0:
            raise _failed("fanotify_init")
        mark = FAN_MARK_ADD | FAN_MARK_FILESYSTEM
        if library.fanotify_mark(self.fd, mark, FAN_CLOSE_WRITE, AT_FDCWD, os.fsencode(mount_point)):
            error = _failed(f"fanotify_mark {mount_point}")
            self.close()
            raise error

    def read(self) -> tuple[list[Written], bool]:
        """What waits, at most a few thousand; and whether the kernel lost some of it (its queue holds 16,384)."""
        try:
            data = os.read(self.fd, _BUFFER)
        except BlockingIOError:
            return [], False
        found, lost, at = [], False, 0
        while at + _EVENT.size <= len(data):
            length, _, _, _, mask, file, _ = _EVENT.unpack_from(data, at)
            at += max(length, _EVENT.size)
            lost = lost or bool(mask & FAN_Q_OVERFLOW)
            if file >= 0:
                try:
                    status = os.fstat(file)
                    found.append(Written(inode=status.st_ino, size=status.st_size))
                finally:
                    os.close(file)
        return found, lost

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
