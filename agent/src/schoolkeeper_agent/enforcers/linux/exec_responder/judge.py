"""One decision on one file that is about to be executed."""

from __future__ import annotations

import os
import time

from schoolkeeper_agent.enforcers.linux.exec_responder.origin import PERSONAL, SYSTEM, Origin
from schoolkeeper_agent.enforcers.linux.exec_responder.settled import Settled
from schoolkeeper_proto.conditions import KNOWN, Circumstances
from schoolkeeper_proto.matching import ApplicationTable, Verdict

_CHUNK = 1 << 20
_HASHES = 8192
FIRST_PERSON_UID = 1000
_NOBODY = frozenset({KNOWN})
"""Of an account of the system: it is told to be in no group of people."""


class TooSlow(Exception):
    """The file could not be examined within the time that a decision has."""


class Judge:
    """A table, whom it concerns, and what was found out about files."""

    __slots__ = (
        "_aliases", "_base_ms", "_groups", "_hashes", "_limit_ns", "_origin", "_packages", "_place", "_settled",
        "table",
    )  # fmt: skip

    def __init__(
        self,
        table: ApplicationTable,
        settled: Settled,
        origin: Origin,
        *,
        place: str,
        groups: dict[int, frozenset[str]],
        limit_ms: int,
        base_ms: int | None = None,
        packages: dict[str, str] | None = None,
    ) -> None:
        """``base_ms``: believed Unix time less the time since boot; without it the wall clock has to do.

        ``packages``: path -> package, of the packages that rules name.
        """
        self._settled = settled
        self._origin = origin
        self._packages = packages or {}
        self.table = table
        self._place = place
        self._groups = groups
        self._limit_ns = limit_ms * 1_000_000
        self._base_ms = base_ms
        self._hashes: dict[tuple[int, int, int, int, int], str] = {}
        self._aliases: dict[tuple[int, int], str] = {}
        for path in (*table.exact_paths, *self._packages):
            self._learn(path)

    def take_over(self, other: Judge) -> None:
        """Hashes belong to files, not to a policy: they stay through a swap."""
        self._hashes = other._hashes

    def needs_user(self, path: str, found: os.stat_result) -> bool:
        """Whether the verdict hangs on who executes it."""
        if self.table.needs_user:
            return True
        return self.table.needs_origin and self._origin.of(path, found) == PERSONAL

    def decide(self, file: int, path: str, found: os.stat_result, user_id: int) -> tuple[Verdict, str]:
        """The verdict and the hash if one was needed; raises ``TooSlow``."""
        digest = self.sha256(file, found) if self.table.needs_sha256 else ""
        return self._with(path, found, user_id, digest), digest

    def decide_without_hash(self, path: str, found: os.stat_result, user_id: int) -> Verdict:
        return self._with(path, found, user_id, "")

    def _with(self, path: str, found: os.stat_result, user_id: int, digest: str) -> Verdict:
        here = Circumstances(now_ms=self._now_ms(), place=self._place, groups=self._groups_of(user_id))
        alias = self._alias(path, found) if self._aliases else ""
        package = self._packages.get(path) or self._packages.get(alias, "") if self._packages else ""
        if not self.table.needs_origin:
            return self.table.decide(path, here, sha256=digest, alias=alias, package=package)
        origin = self._origin.of(path, found)
        # What the system's own accounts run is the administrator's business: a package upgrade, a timer, the boot.
        trusted = origin == PERSONAL and 0 <= user_id < FIRST_PERSON_UID
        verdict = self.table.decide(
            path, here, sha256=digest, alias=alias, package=package, origin=SYSTEM if trusted else origin
        )
        return verdict if origin == SYSTEM else verdict.for_this_user()

    def _now_ms(self) -> int:
        """Unix time that setting the clock does not move."""
        if self._base_ms is None:
            return time.time_ns() // 1_000_000
        return self._base_ms + time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def _groups_of(self, user_id: int) -> frozenset[str] | None:
        if 0 <= user_id < FIRST_PERSON_UID:
            return _NOBODY
        return self._groups.get(user_id)

    def _alias(self, path: str, found: os.stat_result) -> str:
        """The path a rule names, when the same file is reached by another one (a bind mount, a hard link)."""
        key = (found.st_dev, found.st_ino)
        named = self._aliases.get(key, "")
        if not named or named == path:
            return ""
        try:
            there = os.stat(named)  # noqa: PTH116 - pathlib costs memory here
        except OSError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != key:
            # The file is gone and its number may be another's by now.
            del self._aliases[key]
            return ""
        return named

    def _learn(self, path: str) -> None:
        try:
            found = os.stat(path)  # noqa: PTH116
        except OSError:
            return
        self._aliases[(found.st_dev, found.st_ino)] = path

    def sha256(self, file: int, found: os.stat_result) -> str:
        """Lower-case hexadecimal, remembered by (device, inode, mtime, size, ctime); raises ``TooSlow``."""
        key = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, found.st_ctime_ns)
        known = self._hashes.get(key)
        if known is not None:
            return known
        import hashlib  # only a table with hashes pays for it (3.5 MiB)

        started = time.monotonic_ns()
        digest = hashlib.sha256()
        offset = 0
        while chunk := os.pread(file, _CHUNK, offset):
            digest.update(chunk)
            offset += len(chunk)
            if time.monotonic_ns() - started > self._limit_ns:
                raise TooSlow
        answer = digest.hexdigest()
        if self._settled.holds(file, found):
            if len(self._hashes) >= _HASHES:
                self._hashes.clear()
            self._hashes[key] = answer
        return answer


def real_user_of(process_id: int) -> int:
    """The real user id from proc(5) status; the folder's owner would be root for whoever just became somebody else."""
    try:
        with open(f"/proc/{process_id}/status", "rb") as file:  # noqa: PTH123
            text = file.read(2048)
    except OSError:
        return -1
    at = text.find(b"\nUid:\t")
    if at < 0:
        return -1
    digits = text[at + 6 : at + 18].split()[0]
    return int(digits) if digits.isdigit() else -1
