"""inotify(7): the kernel says that something changed in a folder; nothing is polled."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from schoolkeeper_agent.enforcers.linux.exec_responder.process import libc

_ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x4, 0x8, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_ONLYDIR, _DONT_FOLLOW = 0x1000000, 0x2000000
_MASK = (
    _ATTRIB
    | _CLOSE_WRITE
    | _MOVED_FROM
    | _MOVED_TO
    | _CREATE
    | _DELETE
    | _DELETE_SELF
    | _MOVE_SELF
    | _ONLYDIR
    | _DONT_FOLLOW
)
_ROOM = 1 << 16


class FolderWatch:
    """Calls ``changed`` in the event loop when something happens in one of the folders; what, it does not say."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """Raises ``OSError`` where the kernel gives no more of them."""
        self._changed = changed
        self._libc = libc()
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError("the kernel gives no inotify instance (fs.inotify.max_user_instances)")
        asyncio.get_running_loop().add_reader(self._fd, self._readable)

    def follow(self, folders: Iterable[Path]) -> None:
        """Watches these, too. A folder that is watched already stays so, one that is not there is left out."""
        for folder in folders:
            self._libc.inotify_add_watch(self._fd, os.fsencode(folder), _MASK)

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, _ROOM)
        self._changed()
