"""School time: the minutes between two moments in which the school's own hours, terms and closed days say 'open'."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schoolkeeper_policies.model import WEEKDAYS, School

_MAX_DAYS = 400


class Calendar:
    """A school's calendar, in its own time zone (clock changes included)."""

    def __init__(self, school: School, time_zone: str = "") -> None:
        self._school = school
        self._zone = ZoneInfo(time_zone or school.time_zone)

    @property
    def silent_after_ms(self) -> int:
        """School time, in milliseconds, after which a device that says nothing is called silent."""
        return self._school.silent_after_minutes * 60_000

    def is_school_day(self, day: date) -> bool:
        if day in self._school.closed:
            return False
        return not self._school.terms or any(t.first <= day <= t.last for t in self._school.terms)

    def school_ms(self, from_ms: int, to_ms: int) -> int:
        """Milliseconds of school time in [from, to); looks back over 400 days at most."""
        if to_ms <= from_ms:
            return 0
        from_ms = max(from_ms, to_ms - _MAX_DAYS * 86_400_000)
        day = self._local(from_ms).date()
        last = self._local(to_ms).date()
        total = 0
        while day <= last:
            for begin, end in self._windows(day):
                total += max(0, min(end, to_ms) - max(begin, from_ms))
            day += timedelta(days=1)
        return total

    def _local(self, at_ms: int) -> datetime:
        return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self._zone)

    def _windows(self, day: date) -> Iterator[tuple[int, int]]:
        if self.is_school_day(day):
            for hours in self._school.hours:
                if WEEKDAYS[day.weekday()] in hours.days:
                    yield self._moment(day, hours.from_), self._moment(day, hours.to)

    def _moment(self, day: date, clock: str) -> int:
        local = datetime.combine(day, time.fromisoformat(clock), self._zone)
        return int(local.timestamp() * 1000)
