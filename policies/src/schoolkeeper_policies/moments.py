"""'Mon 10:15' and other ways to name a moment, in the school's time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAY = re.compile(r"(?i)(mon|tue|wed|thu|fri|sat|sun)[a-z]*\s+([01]?[0-9]|2[0-3])[:.]([0-5][0-9])")


class MomentMistake(ValueError):
    """A moment that cannot be read; the message says what can be written."""


def read_moment(text: str, *, zone: str, now_ms: int) -> int:
    """Unix milliseconds. '' is now; 'Mon 10:15' the next Monday (today, if it is one); or '2026-11-23 10:15'."""
    if not text.strip():
        return now_ms
    local = ZoneInfo(zone)
    if found := _WEEKDAY.fullmatch(text.strip()):
        today = datetime.fromtimestamp(now_ms / 1000, local)
        days = (_DAYS.index(found[1].lower()) - today.weekday()) % 7
        day = today.date() + timedelta(days=days)
        moment = datetime(day.year, day.month, day.day, int(found[2]), int(found[3]), tzinfo=local)
        return int(moment.timestamp() * 1000)
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise MomentMistake(f"{text!r} is no moment: write 'Mon 10:15' or '2026-11-23 10:15'") from error
    if given.tzinfo is None:
        given = given.replace(tzinfo=local)
    return int(given.astimezone(UTC).timestamp() * 1000)


def show_moment(at_ms: int, zone: str) -> str:
    """'Mon 23 Nov 2026 10:15' in the school's time."""
    return f"{datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)):%a %d %b %Y %H:%M}"
