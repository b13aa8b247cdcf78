"""Which programs a package brought, from dpkg's own lists (dpkg-query(1), deb-md5sums: /var/lib/dpkg/info/NAME.list).

Only the packages that rules name are looked up, when rules come and when dpkg changed its lists: the exec responder
gets paths, and asks no data base while it decides.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from schoolkeeper_agent.enforcers.linux.inotify import FolderWatch

LISTS = Path("/var/lib/dpkg/info")
SETTLE_S = 2.0
"""An upgrade writes many lists; it is looked at when it rests."""
_MAX_LIST = 16 << 20


def programs_of(packages: Iterable[str], lists: Path = LISTS) -> dict[str, str]:
    """Path -> package, of everything executable in these packages. A package that is not installed has nothing."""
    found: dict[str, str] = {}
    for package in sorted(packages):
        if "/" in package or package in ("", ".", ".."):
            continue
        for name in (lists / f"{package}.list", *sorted(lists.glob(f"{_literal(package)}:*.list"))):
            for path in _paths(name):
                if _is_program(path):
                    found[path] = package
                    found[os.path.realpath(path)] = package
    return found


class PackageWatch:
    """Calls ``changed`` in the event loop when dpkg changed its lists and then rested."""

    def __init__(
        self, changed: Callable[[], None], lists: Path = LISTS, *, settle_s: float = SETTLE_S
    ) -> None:
        """Raises ``OSError`` where the kernel gives no watch."""
        self._changed = changed
        self._settle_s = settle_s
        self._later: asyncio.TimerHandle | None = None
        self._watch = FolderWatch(self._stirred)
        self._watch.follow([lists])

    def close(self) -> None:
        self._watch.close()
        if self._later is not None:
            self._later.cancel()

    def _stirred(self) -> None:
        if self._later is not None:
            self._later.cancel()
        self._later = asyncio.get_running_loop().call_later(self._settle_s, self._changed)


def _literal(package: str) -> str:
    return "".join(f"[{one}]" if one in "*?[" else one for one in package)


def _paths(listing: Path) -> list[str]:
    try:
        with listing.open("rb") as file:
            return os.fsdecode(file.read(_MAX_LIST)).split("\n")
    except OSError:
        return []


def _is_program(path: str) -> bool:
    if not path.startswith("/"):
        return False
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - called for every file of a package
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & 0o111)
