"""Times of day that happen twice, or not at all, when the clocks change: in London 01:00 to 02:00 on two Sundays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from schoolkeeper_policies import model
from schoolkeeper_policies.problems import Problem
from schoolkeeper_policies.source import Path, Source
from schoolkeeper_proto.wording import clock as clock_text

_DAY_MINUTES = 1_440
_FIRST_YEAR, _YEARS = 2024, 6
"""Years whose changes are looked at: fixed, so that a check says the same on every day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """On ``weekday`` the local minutes from ``first`` to before ``last`` are ambiguous on the day of a change."""

    weekday: int
    first: int
    last: int


@cache
def time_zones() -> frozenset[str]:
    """Every zone that this machine knows. Looked up once: its 1,800 files cost more than the rest of a pack's check."""
    return frozenset(available_timezones())


@cache
def changes_of(zone: str) -> frozenset[Change]:
    """The changes of a time zone; empty for one that has none."""
    place = ZoneInfo(zone)
    found = set()
    hour = timedelta(hours=1)
    at = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC)
    end = datetime(_FIRST_YEAR + _YEARS, 1, 1, tzinfo=UTC)
    day = timedelta(days=1)
    while at < end:
        if _offset(at, place) != _offset(at + day, place):
            moment = at
            while _offset(moment, place) == _offset(moment + hour, place):
                moment += hour
            # The change is at the hour that follows; its local times before and after bound what is ambiguous.
            changed = (moment + hour).replace(minute=0)
            before, after = changed + _offset(moment, place), changed + _offset(changed + hour, place)
            low, high = min(before, after), max(before, after)
            first = low.hour * 60 + low.minute
            found.add(
                Change(
                    weekday=low.weekday(), first=first, last=first + round((high - low).total_seconds() / 60)
                )
            )
        at += day
    return frozenset(found)


def _offset(moment: datetime, place: ZoneInfo) -> timedelta:
    return moment.astimezone(place).utcoffset() or timedelta(0)


def check_hours(source: Source, path: Path, hours: model.Hours, zone: str) -> Iterator[Problem]:
    """Whether a window begins or ends within such a time."""
    for key, clock in (("from", hours.from_), ("to", hours.to)):
        minute = model.minute_of(clock)
        for change in sorted(changes_of(zone), key=lambda one: (one.weekday, one.first)):
            day = model.WEEKDAYS[change.weekday]
            if day in hours.days and change.first <= minute < change.last and minute < _DAY_MINUTES:
                low, high = (clock_text(value) for value in (change.first, change.last))
                yield source.problem(
                    (*path, key),
                    f"{clock} on a {day} happens twice, or not at all, when the clocks change in {zone}",
                    f"write a time before {low}, or {high} or later",
                )
                break
