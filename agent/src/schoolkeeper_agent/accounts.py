"""Names and groups of the operating system's accounts, asked once each and remembered."""

from __future__ import annotations

import grp
import os
import pwd


class Accounts:
    """Remembers; ``forget`` at a sign-in, since a directory may have changed a person's groups."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._groups: dict[int, frozenset[str] | None] = {}

    def name(self, user_id: int) -> str:
        """The account's name, its number as text when nothing knows it, empty for no account."""
        if user_id < 0:
            return ""
        if user_id not in self._names:
            try:
                self._names[user_id] = pwd.getpwuid(user_id).pw_name
            except KeyError:
                self._names[user_id] = str(user_id)
        return self._names[user_id]

    def groups(self, user_id: int) -> frozenset[str] | None:
        """Names of all groups of the account; None when they cannot be told."""
        if user_id < 0:
            return None
        if user_id not in self._groups:
            self._groups[user_id] = _ask(user_id)
        return self._groups[user_id]

    def forget(self) -> None:
        self._names.clear()
        self._groups.clear()


def _ask(user_id: int) -> frozenset[str] | None:
    try:
        account = pwd.getpwuid(user_id)
        numbers = os.getgrouplist(account.pw_name, account.pw_gid)
        return frozenset(grp.getgrgid(number).gr_name for number in numbers)
    except (KeyError, OSError):
        return None


def plain_text(path: str) -> str:
    """A path as text that can be written down: bytes that are no UTF-8 become the replacement character."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
