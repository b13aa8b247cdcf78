"""What one device, and all of them together, may have in flight or hand in per day. Time is passed in."""

from __future__ import annotations

from collections.abc import Mapping

from schoolkeeper_proto.wire import Lane

_DAY_MS = 24 * 3600 * 1000


class InFlight:
    """Bytes of batches between their reading and their acknowledgement, over all streams.

    Backlog may fill three quarters of it: the rest is for what happens now.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int, *, backlog: bool = False) -> bool:
        """False when there is no room; a single batch is always taken when nothing else is in flight."""
        limit = self.limit * 3 // 4 if backlog else self.limit
        if self.used and self.used + size > limit:
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        self.used -= size


class OnceADay:
    """What was said today, so that it is said once; only so many different things a day."""

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._day = -1
        self._said: set[str] = set()

    def first_time(self, what: str, now_ms: int) -> bool:
        if now_ms // _DAY_MS != self._day:
            self._day = now_ms // _DAY_MS
            self._said.clear()
        if what in self._said or len(self._said) >= self._most:
            return False
        self._said.add(what)
        return True

    def forget(self) -> None:
        """What was said may not have been kept: say it again."""
        self._said.clear()


class DailyBudget:
    """Bytes of events per device, lane and UTC day. Counted in memory: a restart begins the day anew."""

    def __init__(self, bytes_per_day: Mapping[Lane, int]) -> None:
        self._limits = dict(bytes_per_day)
        self._day = -1
        self._used: dict[tuple[int, Lane], int] = {}
        self._told: set[tuple[int, Lane]] = set()

    def admit(self, device_no: int, lane: Lane, size: int, now_ms: int) -> str:
        """Empty when admitted (and counted), else why not."""
        self._turn_page(now_ms)
        place = (device_no, lane)
        used = self._used.get(place, 0) + size
        limit = self._limits.get(lane)
        if limit is not None and used > limit:
            return f"the device's budget of {limit} bytes a day in the {lane} lane is used up: the spool keeps the rest"
        self._used[place] = used
        return ""

    def first_time(self, device_no: int, lane: Lane, now_ms: int) -> bool:
        """Whether this is the day's first refusal of the lane: one fact a day is enough."""
        self._turn_page(now_ms)
        place = (device_no, lane)
        if place in self._told:
            return False
        self._told.add(place)
        return True

    @staticmethod
    def wait_ms(now_ms: int) -> int:
        """Until the next day, but at most an hour: the limit may be raised meanwhile."""
        return min(3_600_000, _DAY_MS - now_ms % _DAY_MS)

    def _turn_page(self, now_ms: int) -> None:
        if now_ms // _DAY_MS != self._day:
            self._day = now_ms // _DAY_MS
            self._used.clear()
            self._told.clear()
