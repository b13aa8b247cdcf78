"""Where a program came from: installed by whoever administers the machine, or brought along by a person.

By the file itself and not by its path, so that neither a name nor a mount decides: only root makes a file that belongs
to root. No data base is asked, so that what a package upgrade just wrote is installed at once.
"""

from __future__ import annotations

import os

from schoolkeeper_agent.enforcers.linux.exec_responder import mounts

SYSTEM, PERSONAL = "system", "personal"
MACHINES_MOUNTS = "/proc/1/mountinfo"
"""Not our own: a hardened service sees every file system mounted without set-user-id (systemd.exec(5))."""
_SURELY = ("/", "/usr")
_OTHERS_WRITE = 0o022
"""A POSIX ACL that lets others write shows in the group's bits (its mask): acl(5)."""


class Origin:
    """Knows the file systems whose owners can be believed; a stick's owners came with the stick."""

    __slots__ = ("_believed", "_others")

    def __init__(self) -> None:
        self._believed: frozenset[int] = frozenset()
        self._others: frozenset[int] = frozenset()

    def learn(self) -> None:
        """Takes what proc(5) mountinfo shows now."""
        try:
            with open(MACHINES_MOUNTS, "rb") as file:  # noqa: PTH123
                table = os.fsdecode(file.read())
        except OSError:
            table = ""
        believed, others = mounts.local(table)
        # Whatever the table says: the machine starts from these, and nobody brought them along.
        self._believed = _devices((*_SURELY, *believed))
        self._others = _devices(others) - self._believed

    def of(self, path: str, found: os.stat_result) -> str:
        """``found`` is the file's own state. A device that no mount shows (a layer of an overlay) is its folder's."""
        if found.st_uid != 0 or found.st_mode & _OTHERS_WRITE:
            return PERSONAL
        if found.st_dev in self._believed:
            return SYSTEM
        if found.st_dev in self._others:
            return PERSONAL
        try:
            above = os.stat(path.rpartition("/")[0] or "/")  # noqa: PTH116
        except OSError:
            return PERSONAL
        return SYSTEM if above.st_uid == 0 and above.st_dev in self._believed else PERSONAL


def _devices(points: tuple[str, ...]) -> frozenset[int]:
    found = set()
    for point in points:
        try:
            found.add(os.stat(point).st_dev)  # noqa: PTH116 - pathlib costs memory here
        except OSError:
            continue
    return frozenset(found)
