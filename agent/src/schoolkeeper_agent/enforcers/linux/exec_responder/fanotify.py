"""fanotify(7) for executions: one group, file-system marks, ignore marks. Constants from <linux/fanotify.h>."""

from __future__ import annotations

import ctypes
import os
import struct

FAN_CLASS_CONTENT = 0x4
FAN_CLOEXEC = 0x1
FAN_NONBLOCK = 0x2
FAN_UNLIMITED_QUEUE = 0x10
FAN_UNLIMITED_MARKS = 0x20
FAN_MARK_ADD = 0x1
FAN_MARK_IGNORED_MASK = 0x20
FAN_MARK_FLUSH = 0x80
FAN_MARK_FILESYSTEM = 0x100
FAN_MARK_EVICTABLE = 0x200
FAN_OPEN_EXEC_PERM = 0x40000
FAN_ALLOW = 1
FAN_DENY = 2
AT_FDCWD = -100
METADATA_VERSION = 3

_EVENT = struct.Struct("=IBBHQii")
_ANSWER = struct.Struct("=iI")
BUFFER = 4096


class Group:
    """A fanotify group. Its descriptor is the only one: never duplicated, never inherited, gone with the process."""

    __slots__ = ("_evictable", "_libc", "fd")

    def __init__(self, library: ctypes.CDLL) -> None:
        library.fanotify_mark.argtypes = (
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint64,
            ctypes.c_int,
            ctypes.c_char_p,
        )
        flags = FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS
        self._libc = library
        self._evictable = FAN_MARK_EVICTABLE
        self.fd: int = library.fanotify_init(flags, os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME)
        if self.fd < 0:
            _fail("fanotify_init")

    def mark_file_system(self, mount_point: str) -> None:
        """Ask about every execution on this file system, in every mount namespace; raises OSError."""
        flags = FAN_MARK_ADD | FAN_MARK_FILESYSTEM
        if (
            self._libc.fanotify_mark(self.fd, flags, FAN_OPEN_EXEC_PERM, AT_FDCWD, os.fsencode(mount_point))
            != 0
        ):
            _fail(f"fanotify_mark {mount_point}")

    def ignore(self, file: int) -> bool:
        """Do not ask about this file again, until it is modified or the marks are flushed."""
        flags = FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | self._evictable
        if self._libc.fanotify_mark(self.fd, flags, FAN_OPEN_EXEC_PERM, file, None) == 0:
            return True
        if self._evictable:  # older than Linux 5.19
            self._evictable = 0
            return self.ignore(file)
        return False

    def forget_ignored(self) -> None:
        """Removes all ignore marks; those on file systems stay."""
        if self._libc.fanotify_mark(self.fd, FAN_MARK_FLUSH, 0, AT_FDCWD, None) != 0:
            _fail("fanotify_mark flush")

    def read(self) -> list[tuple[int, int]]:
        """(descriptor of the file, process id) of what waits; the caller answers and closes each."""
        try:
            data = os.read(self.fd, BUFFER)
        except BlockingIOError:
            return []
        found = []
        offset = 0
        while offset + _EVENT.size <= len(data):
            length, version, _, _, mask, file, process_id = _EVENT.unpack_from(data, offset)
            if version != METADATA_VERSION or length < _EVENT.size:
                raise OSError(f"fanotify speaks version {version}, not {METADATA_VERSION}")
            offset += length
            if file >= 0 and mask & FAN_OPEN_EXEC_PERM:
                found.append((file, process_id))
        return found

    def answer(self, file: int, *, allow: bool) -> None:
        os.write(self.fd, _ANSWER.pack(file, FAN_ALLOW if allow else FAN_DENY))


def _fail(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
