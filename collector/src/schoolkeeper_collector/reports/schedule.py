"""When the next technical audit is due: the first day of school of its month, once school is over.

After school, because a check that ran on the day before says nothing about today: by then devices have been in use.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schoolkeeper_collector.detection.calendar import Calendar


def due(calendar: Calendar, zone: ZoneInfo, last_ms: int | None, months: int, now_ms: int) -> bool:
    """``last_ms``: the last scheduled one; ``months``: the setting, 0 for never. A missed day is made up for."""
    if months == 0:
        return False
    today = day_of(now_ms, zone)
    if last_ms is not None and _month(today) - _month(day_of(last_ms, zone)) < months:
        return False
    begin, end = _bounds(today, zone)
    return calendar.school_ms(begin, end) > 0 and calendar.school_ms(now_ms, end) == 0


def day_of(at_ms: int, zone: ZoneInfo) -> date:
    """The school's own day of a moment (Unix ms)."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).date()


def _month(day: date) -> int:
    return day.year * 12 + day.month


def _bounds(day: date, zone: ZoneInfo) -> tuple[int, int]:
    begin, end = (datetime.combine(one, time(), zone) for one in (day, day + timedelta(days=1)))
    return int(begin.timestamp() * 1000), int(end.timestamp() * 1000)
