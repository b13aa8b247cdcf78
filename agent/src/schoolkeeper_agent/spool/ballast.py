"""A file that holds nothing: room kept back on the disk for the moment when somebody else has filled it.

When the file system is full, neither a critical event nor the eviction that would make room for it can be written.
Then the ballast goes, and comes back once the disk has room again. It is part of the spool's room, not on top of it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from schoolkeeper_agent.spool import room, schema
from schoolkeeper_agent.system import here
from schoolkeeper_proto.wire import Lane

_LEAST = 64 << 10
_SHARE_OF_FREE = 8
"""At most one part in so many of what is free: on a small disk the ballast must not be what fills it."""


class Ballast:
    """Beside the spool's database. Never raises: a disk that cannot keep it has none."""

    def __init__(self, spool: Path, most: int) -> None:
        self._path = spool.with_name(f"{spool.name}.ballast")
        self._most = most
        self.held = 0
        """Bytes held now."""
        self._given_back = 0

    def restore(self) -> bool:
        """Takes the room again, if there is plenty; whether it is held."""
        if self.held or not self._most:
            return bool(self.held)
        with contextlib.suppress(OSError):
            left = here.taken_bytes(self._path) if self._path.exists() else 0
            plenty = (here.free_bytes(self._path.parent) + left) // _SHARE_OF_FREE
            size = min(self._most, plenty) // _LEAST * _LEAST
            if left >= _LEAST or size:
                self._take(max(size, min(left, self._most) // _LEAST * _LEAST))
        return bool(self.held)

    def release(self) -> bool:
        """Gives the room back to the disk; whether there was any."""
        held, self.held = self.held, 0
        self._given_back = max(held, self._given_back)
        with contextlib.suppress(OSError):
            self._path.unlink()
            return True
        return bool(held)

    def has_room_again(self) -> bool:
        """Whether the disk has room to spare, more than the ballast itself gave back; then it is in its place again."""
        with contextlib.suppress(OSError):
            if here.free_bytes(self._path.parent) >= max(2 * self._given_back, _LEAST * _SHARE_OF_FREE):
                self._given_back = 0
                self.restore()
                return True
        return False

    def _take(self, size: int) -> None:
        file = os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            here.take_room(file, size)
            self.held = size
        except OSError:
            self._path.unlink()
        finally:
            os.close(file)


class Disk:
    """Whether others have filled the disk, and what the spool may still use on it.

    From the first refusal on the spool lives within what it has taken: less important events give way to more important
    ones. Critical events, and settling what was delivered, may take half of the ballast beyond that; the other half
    is for the database's own log.
    """

    def __init__(self, spool: Path, room_bytes: int) -> None:
        size = size_for(room_bytes)
        self.room = room_bytes - size
        """Bytes for frames while the disk is not full."""
        self._ballast = Ballast(spool, size)
        self._full_at: int | None = None
        self._more = 0
        self._ballast.restore()

    @property
    def full(self) -> bool:
        return self._full_at is not None

    def room_for(self, lane: Lane) -> int:
        """Bytes of frames that the spool may hold after an append to that lane."""
        if self._full_at is None:
            return self.room
        return min(self.room, self._full_at + (self._more if lane is Lane.CRITICAL else 0))

    def refused(
        self, error: Exception, used: int, database: sqlite3.Connection | None, *, important: bool
    ) -> bool:
        """After a write was refused; whether trying once more can help."""
        if error.__cause__ is None:
            return self.full and self.look()  # refused by us, since there was no room
        if not schema.is_full(error.__cause__):
            return False
        before, self._full_at = self._full_at, used if self._full_at is None else self._full_at
        held = self._ballast.held
        released = important and self._ballast.release()
        if released:
            self._more = held // 2
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                # What the log holds goes into the database, so that the log begins anew within the room it has.
                database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return released or before is None

    def look(self) -> bool:
        """Whether the disk was full and is no longer; the ballast goes back to its place."""
        was_full = self.full
        if self._ballast.has_room_again():
            self._full_at, self._more = None, 0
        return was_full and not self.full


def size_for(room_bytes: int) -> int:
    """Bytes of ballast for a spool of that room; small spools have none."""
    return room.BALLAST if room_bytes >= room.LEAST_ROOM_WITH_BALLAST else 0
