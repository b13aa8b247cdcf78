"""fanotify(7) that only tells: which files of one file system were closed after writing. Nothing waits for it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from schoolkeeper_agent.enforcers.linux.exec_responder import fanotify
from schoolkeeper_agent.enforcers.linux.media_switch import watch_writes

_BUFFER = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Of one file: what tells it from others there, and its size in bytes when it was closed."""

    inode: int
    size: int


class WriteWatch:
    """One file system. Methods raise ``OSError``."""

    def __init__(self, mount_point: str, descriptor: int = -1) -> None:
        """``descriptor``: a group that the guard made for it; without one it is made here, which needs the right."""
        self.fd = descriptor if descriptor >= 0 else watch_writes(mount_point)

    def read(self) -> tuple[list[Written], bool]:
        """What waits, at most a few thousand; and whether the kernel lost some of it (its queue holds 16,384)."""
        try:
            data = os.read(self.fd, _BUFFER)
        except BlockingIOError:
            return [], False
        found, lost = [], False
        for mask, file, _ in fanotify.events(data):
            lost = lost or bool(mask & fanotify.FAN_Q_OVERFLOW)
            if file < 0:
                continue
            try:
                status = os.fstat(file)
                found.append(Written(inode=status.st_ino, size=status.st_size))
            except OSError:
                lost = True  # a stick that is gone; what follows is read and closed all the same
            finally:
                os.close(file)
        return found, lost

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
