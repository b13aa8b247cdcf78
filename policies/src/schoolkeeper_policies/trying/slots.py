"""Spans of time in which no rule of a policy changes its mind: one decision holds for all of a span.

A condition changes at the borders of its hours and days, in its own zone, at its exceptions' ends, and when the zone
changes its clock. All such moments within the time that is looked at are sorted; between two of them nothing changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schoolkeeper_proto.policy import Applicability

_DAY_MS = 86_400_000
_QUARTER = timedelta(minutes=15)


class Slots:
    """The spans of some conditions from ``since_ms`` to ``until_ms``."""

    def __init__(self, conditions: Iterable[Applicability | None], since_ms: int, until_ms: int) -> None:
        found: set[int] = set()
        for when in set(conditions):
            if when is not None:
                found.update(_borders(when, since_ms, until_ms))
        self._borders = sorted(found)

    def __len__(self) -> int:
        return len(self._borders) + 1

    def of(self, at_ms: int) -> int:
        """The span of a moment: the same number, the same decisions."""
        return bisect_right(self._borders, at_ms)


def _borders(when: Applicability, since_ms: int, until_ms: int) -> Iterator[int]:
    for exception in when.exceptions:
        yield exception.not_before_unix_ms
        yield exception.expires_unix_ms
    minutes = {minute for window in when.times for minute in (window.from_minute, window.to_minute)}
    if not minutes and not when.days:
        return
    zone = ZoneInfo(when.time_zone or "UTC")
    first = datetime.fromtimestamp(since_ms / 1000 - 86_400, zone).date()
    last = datetime.fromtimestamp(until_ms / 1000 + 86_400, zone).date()
    # Midnight always: a window's days of the week, and days of a term, change there.
    for day in _days(first, last):
        for minute in minutes | {0}:
            yield from _moments(day, minute % 1440, zone)
        yield from _clock_change(day, zone)


def _days(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += timedelta(days=1)


def _moments(day: date, minute: int, zone: ZoneInfo) -> Iterator[int]:
    """Both readings of a time that a clock shows twice."""
    naive = datetime.combine(day, time(minute // 60, minute % 60))
    for fold in (0, 1):
        yield int(naive.replace(tzinfo=zone, fold=fold).timestamp() * 1000)


def _clock_change(day: date, zone: ZoneInfo) -> Iterator[int]:
    at = datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
    end = at + timedelta(hours=26)
    if at.astimezone(zone).utcoffset() == end.astimezone(zone).utcoffset():
        return
    while at < end:
        following = at + _QUARTER
        if at.astimezone(zone).utcoffset() != following.astimezone(zone).utcoffset():
            yield int(following.timestamp() * 1000)
        at = following
