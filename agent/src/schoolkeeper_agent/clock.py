"""Time that a wrong or moved wall clock cannot bend.

Each acknowledgement carries time that the school's command key signed. The *floor* is the last signed time plus
running monotonic time (suspend included), never the wall clock. Wall time in milliseconds is Unix time; monotonic
time counts milliseconds since boot. Everything but ``SystemClock`` is pure.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from schoolkeeper_agent.system import here
from schoolkeeper_proto.model import ClockChanged

STEP_MS = 5_000
"""A wall clock that moved this much more or less than monotonic time was set, not slewed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One reading of both clocks, in milliseconds."""

    wall_ms: int
    monotonic_ms: int


class SystemClock:
    """The machine's own clocks (Linux: CLOCK_BOOTTIME, which runs on through suspend)."""

    def __init__(self, proc_root: Path = Path("/proc")) -> None:
        self._boot_id = _boot_id(proc_root)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        if hasattr(time, "CLOCK_BOOTTIME"):
            return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        return time.monotonic_ns() // 1_000_000  # Windows: GetTickCount64, since the start, asleep or not

    @property
    def boot_id(self) -> bytes:
        return self._boot_id

    def now(self) -> Moment:
        return Moment(wall_ms=self.wall_ms(), monotonic_ms=self.monotonic_ms())


def _boot_id(proc_root: Path) -> bytes:
    found = here.boot_id(proc_root)
    return found if len(found) == 16 else os.urandom(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeFloor:
    """What the device can be sure of: it is at least ``signed_ms`` plus what ran since on this boot's clock.

    ``boot_id`` is the boot in which ``at_monotonic_ms`` was read. ``signed_ms`` 0: no signed time was ever seen.
    """

    signed_ms: int = 0
    at_monotonic_ms: int = 0
    boot_id: bytes = b""

    def at(self, now: Moment, boot_id: bytes) -> int:
        """The floor in Unix milliseconds; 0 when unknown. After a reboot it stands still until the next signed time."""
        if not self.signed_ms:
            return 0
        if boot_id != self.boot_id:
            return self.signed_ms
        return self.signed_ms + max(0, now.monotonic_ms - self.at_monotonic_ms)

    def carried(self, now: Moment, boot_id: bytes) -> TimeFloor:
        """The same floor written down for now, so that a reboot loses nothing of it.

        A floor of an earlier boot stays as it is: nobody knows how long the device was off since.
        """
        if not self.signed_ms or boot_id != self.boot_id:
            return self
        return TimeFloor(signed_ms=self.at(now, boot_id), at_monotonic_ms=now.monotonic_ms, boot_id=boot_id)

    def raised(self, signed_ms: int, now: Moment, boot_id: bytes) -> TimeFloor:
        """After signed time was verified: the floor only rises, so that replayed old time changes nothing."""
        if signed_ms <= self.at(now, boot_id):
            return self
        return TimeFloor(signed_ms=signed_ms, at_monotonic_ms=now.monotonic_ms, boot_id=boot_id)

    def encode(self) -> bytes:
        return json.dumps([self.signed_ms, self.at_monotonic_ms, self.boot_id.hex()]).encode()

    @classmethod
    def decode(cls, data: bytes) -> TimeFloor:
        """Unreadable bytes give an empty floor: no time is better than a wrong one."""
        try:
            signed, monotonic, boot = json.loads(data)
            return cls(signed_ms=int(signed), at_monotonic_ms=int(monotonic), boot_id=bytes.fromhex(boot))
        except (ValueError, TypeError):
            return cls()


def floor_ms(floor: TimeFloor, now: Moment, boot_id: bytes) -> int:
    """At least so late it is, in Unix milliseconds; 0 when nothing is known. A floor of an earlier boot was written
    before this boot began, and this boot has run since."""
    at = floor.at(now, boot_id)
    return at + max(0, now.monotonic_ms) if at and floor.boot_id != boot_id else at


def believed_ms(floor: TimeFloor, now: Moment, boot_id: bytes) -> int:
    """The best guess at Unix time: the floor of this boot if there is one, else the later of floor and wall clock."""
    at = floor_ms(floor, now, boot_id)
    if at and floor.boot_id == boot_id:
        return at
    return max(at, now.wall_ms)


def skew_ms(floor: TimeFloor, now: Moment, boot_id: bytes) -> int | None:
    """How far the wall clock is ahead of signed time; None before this boot saw signed time."""
    if not floor.signed_ms or floor.boot_id != boot_id:
        return None
    return now.wall_ms - floor.at(now, boot_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockWatch:
    """Notices a wall clock that was set: it compares how far both clocks went since the last look."""

    last: Moment | None = None

    def look(self, now: Moment) -> tuple[ClockWatch, ClockChanged | None]:
        if self.last is None:
            return replace(self, last=now), None
        step = (now.wall_ms - self.last.wall_ms) - (now.monotonic_ms - self.last.monotonic_ms)
        watch = replace(self, last=now)
        if abs(step) < STEP_MS:
            return watch, None
        return watch, ClockChanged(step_milliseconds=step, direction="forward" if step > 0 else "backward")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoweredOn:
    """How long something granted has run, counted only while the machine was on and never by the wall clock."""

    granted_ms: int
    """Powered-on milliseconds it may last; 0 means no such bound."""
    expires_unix_ms: int
    used_ms: int = 0
    last_monotonic_ms: int | None = None
    boot_id: bytes = b""

    def tick(self, now: Moment, boot_id: bytes) -> PoweredOn:
        ran = 0
        if self.last_monotonic_ms is not None and self.boot_id == boot_id:
            ran = max(0, now.monotonic_ms - self.last_monotonic_ms)
        return replace(self, used_ms=self.used_ms + ran, last_monotonic_ms=now.monotonic_ms, boot_id=boot_id)

    def ended(self, believed_unix_ms: int) -> bool:
        return believed_unix_ms >= self.expires_unix_ms or (0 < self.granted_ms <= self.used_ms)
