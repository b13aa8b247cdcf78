"""fanotify(7): questions about executions, and the calls that other listeners share.

Constants from <linux/fanotify.h>.
"""

from __future__ import annotations

import ctypes
import os
import struct

from schoolkeeper_agent.enforcers.linux.exec_responder.process import libc

FAN_CLASS_NOTIF = 0x0
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
FAN_CLOSE_WRITE = 0x8
FAN_Q_OVERFLOW = 0x4000
FAN_OPEN_EXEC_PERM = 0x40000
FAN_ALLOW = 1
FAN_DENY = 2
AT_FDCWD = -100
METADATA_VERSION = 3

_EVENT = struct.Struct("=IBBHQii")
_ANSWER = struct.Struct("=iI")
BUFFER = 4096


def listen(library: ctypes.CDLL, flags: int, *, file_flags: int = 0) -> int:
    """A new group's descriptor, close-on-exec and never blocking; raises OSError. Files are opened for reading."""
    library.fanotify_mark.argtypes = (
        ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p,
    )  # fmt: skip
    descriptor: int = library.fanotify_init(
        flags | FAN_CLOEXEC | FAN_NONBLOCK, os.O_RDONLY | os.O_CLOEXEC | file_flags
    )
    if descriptor < 0:
        _fail("fanotify_init")
    return descriptor


def mark_file_system(library: ctypes.CDLL, group: int, mask: int, mount_point: str) -> None:
    """What is mounted there, in every mount namespace; raises OSError."""
    flags = FAN_MARK_ADD | FAN_MARK_FILESYSTEM
    if library.fanotify_mark(group, flags, mask, AT_FDCWD, os.fsencode(mount_point)) != 0:
        _fail(f"fanotify_mark {mount_point}")


def events(data: bytes) -> list[tuple[int, int, int]]:
    """(mask, descriptor of the file or -1, process id) of each; the caller closes the descriptors."""
    found = []
    offset = 0
    while offset + _EVENT.size <= len(data):
        length, version, _, _, mask, file, process_id = _EVENT.unpack_from(data, offset)
        if version != METADATA_VERSION or length < _EVENT.size:
            raise OSError(f"fanotify speaks version {version}, not {METADATA_VERSION}")
        offset += length
        found.append((mask, file, process_id))
    return found


class Group:
    """A fanotify group. Its descriptor is the only one: never duplicated, never inherited, gone with the process."""

    __slots__ = ("_evictable", "_libc", "fd")

    def __init__(self, library: ctypes.CDLL) -> None:
        self._libc = library
        self._evictable = FAN_MARK_EVICTABLE
        flags = FAN_CLASS_CONTENT | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS
        self.fd = listen(library, flags, file_flags=os.O_NOATIME)

    def mark_file_system(self, mount_point: str) -> None:
        """Ask about every execution on this file system, in every mount namespace; raises OSError."""
        mark_file_system(self._libc, self.fd, FAN_OPEN_EXEC_PERM, mount_point)

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
        return [
            (file, process_id)
            for mask, file, process_id in events(data)
            if file >= 0 and mask & FAN_OPEN_EXEC_PERM
        ]

    def answer(self, file: int, *, allow: bool) -> None:
        os.write(self.fd, _ANSWER.pack(file, FAN_ALLOW if allow else FAN_DENY))


def why_not() -> str:
    """Empty when the kernel lets this process decide on executions: asked by making a group and closing it again."""
    try:
        group = Group(libc())
    except OSError as error:
        return f"the kernel refuses exec decisions: {error.strerror}"
    os.close(group.fd)
    return ""


def _fail(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
