"""Whether only root can change a file or what lies at its path: the condition for not being asked again."""

from __future__ import annotations

import os
import stat

_REMEMBERED = 2048
_OTHERS_WRITE = 0o022
"""A POSIX ACL that lets others write shows in the group's bits (its mask): acl(5)."""


class RootOnly:
    """Remembers folders until ``forget``: the loop forgets at every flush."""

    __slots__ = ("_folders",)

    def __init__(self) -> None:
        self._folders: dict[str, bool] = {}

    def holds(self, path: str, found: os.stat_result) -> bool:
        """``found`` is the file's own state. The caller saw that the path leads to this very file here."""
        if found.st_uid != 0 or found.st_mode & _OTHERS_WRITE or found.st_nlink != 1:
            return False
        return stat.S_ISREG(found.st_mode) and self._folder(path.rpartition("/")[0] or "/")

    def forget(self) -> None:
        self._folders.clear()

    def _folder(self, folder: str) -> bool:
        known = self._folders.get(folder)
        if known is not None:
            return known
        try:
            found = os.stat(folder)  # noqa: PTH116
            answer = found.st_uid == 0 and not found.st_mode & _OTHERS_WRITE
        except OSError:
            answer = False
        if answer and folder != "/":
            answer = self._folder(folder.rpartition("/")[0] or "/")
        if len(self._folders) >= _REMEMBERED:
            self._folders.clear()
        self._folders[folder] = answer
        return answer
