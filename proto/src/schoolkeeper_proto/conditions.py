"""When, where and for whom a rule holds: pure, three-valued, and light enough for the exec responder.

A condition is a plain tuple (so that it can be written down and read back as JSON):
``(times, places, groups, zone, days, exceptions)`` with ``times`` as ``(weekdays, from_minute, to_minute)``,
``days`` as ``(first, last)`` (since 1970, in the zone's time; a last of 0 is without end) and ``exceptions`` as
``(groups, not_before_ms, expires_ms)`` (0: without end).

An exception takes away from its one rule and from nothing else, and only when it is certain that it holds: a person
who cannot be told has none. Groups named ``people:`` are of the school's register; whoever is not in it
(no ``people:known``) cannot be told by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schoolkeeper_proto.policy import Applicability

Times = tuple[tuple[int, int, int], ...]
Days = tuple[tuple[int, int], ...]
Exceptions = tuple[tuple[tuple[str, ...], int, int], ...]
Condition = tuple[Times, tuple[str, ...], tuple[str, ...], str, Days, Exceptions]

_QUARTER_MS = 900_000
_MINUTES_OF_DAY = 1440
_PEOPLE = "people:"
_PERSON = "person:"
KNOWN = "people:known"
"""Among the groups of whoever the register tells about; also of system accounts, which are nobody."""
_EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday; Monday is 0.


class ConditionMistake(ValueError):
    """A condition that cannot be used; the message says why and the remedy."""


class Circumstances:
    """What is so at the moment of a decision. ``groups`` None and ``place`` "unknown" mean: cannot be told."""

    __slots__ = ("groups", "now_ms", "place")

    def __init__(self, *, now_ms: int, place: str = "unknown", groups: frozenset[str] | None = None) -> None:
        self.now_ms = now_ms
        self.place = place
        self.groups = groups


def compile_condition(when: Applicability | None) -> Condition | None:
    """The plain form, or None for always and everywhere; raises ``ConditionMistake``."""
    if when is None or not (when.times or when.places or when.user_groups or when.exceptions or when.days):
        return None
    times = tuple((window.weekdays, window.from_minute, window.to_minute) for window in when.times)
    for weekdays, start, end in times:
        if (
            not 0 < weekdays < 128
            or not 0 <= start < _MINUTES_OF_DAY
            or not 0 < end <= _MINUTES_OF_DAY
            or start == end
        ):
            raise ConditionMistake(
                f"the time window {weekdays:#b} {start}..{end} never applies: give weekdays (bits 0 to 6) and two "
                "different minutes of the day, 0 to 1440"
            )
    days = tuple((days.first_day, days.last_day) for days in when.days)
    for first, last in days:
        if last and last < first:
            raise ConditionMistake(f"the days {first}..{last} end before they begin: swap them")
    if times or days:
        ZoneClock().offset_ms(when.time_zone, 0)
    exceptions = tuple(
        (tuple(one.user_groups), one.not_before_unix_ms, one.expires_unix_ms) for one in when.exceptions
    )
    places = tuple(str(place) for place in when.places)
    return times, places, tuple(when.user_groups), when.time_zone, days, exceptions


def condition_from_json(data: Any) -> Condition | None:
    """What a condition was written as, a tuple again; raises ``TypeError`` or ``ValueError`` when it is none."""
    if data is None:
        return None
    times, places, groups, zone, days, exceptions = data
    return (
        tuple((a, b, c) for a, b, c in times),
        tuple(places),
        tuple(groups),
        zone,
        tuple((a, b) for a, b in days),
        tuple((tuple(who), a, b) for who, a, b in exceptions),
    )


class ZoneClock:
    """Offsets of time zones, remembered for a quarter of an hour each: no zone changes its clock within one."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int]] = {}

    def offset_ms(self, zone: str, now_ms: int) -> int:
        """Local time minus UTC in milliseconds; empty is UTC. Raises ``ConditionMistake`` for an unknown zone."""
        if not zone or zone == "UTC":
            return 0
        quarter = now_ms // _QUARTER_MS
        known = self._known.get(zone)
        if known is not None and known[0] == quarter:
            return known[1]
        offset = _ask_zone(zone, now_ms)
        self._known[zone] = (quarter, offset)
        return offset


def _ask_zone(zone: str, now_ms: int) -> int:
    # Only rules with times pay for these two modules (1.3 MiB).
    from datetime import datetime
    from zoneinfo import ZoneInfo

    try:
        offset = datetime.fromtimestamp(now_ms // 1000, ZoneInfo(zone)).utcoffset()
    except (OSError, ValueError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ConditionMistake(
            f"the time zone {zone!r} is not known here: use a name such as 'Europe/London', or install tzdata"
        ) from error
    return 0 if offset is None else round(offset.total_seconds() * 1000)


def holds(condition: Condition | None, circumstances: Circumstances, clock: ZoneClock) -> bool | None:
    """Whether a rule holds now; None when place or person cannot be told and the answer hangs on it."""
    if condition is None:
        return True
    times, places, groups, zone, days, exceptions = condition
    now_ms = circumstances.now_ms
    if times or days:
        local_ms = now_ms + clock.offset_ms(zone, now_ms)
        if (times and not _in_times(times, local_ms)) or (days and not _in_days(days, local_ms)):
            return False
    answer: bool | None = True
    if places and circumstances.place not in places:
        if circumstances.place not in ("unknown", "unspecified"):
            return False
        answer = None
    if groups:
        among = _among(groups, circumstances.groups)
        if among is False:
            return False
        answer = answer if among else None
    if exceptions and _excepted(exceptions, circumstances):
        return False
    return answer


def _among(groups: tuple[str, ...], held: frozenset[str] | None) -> bool | None:
    if held is None:
        return None
    if not held.isdisjoint(groups):
        return True
    if KNOWN not in held and any(group.startswith(_PEOPLE) for group in groups):
        return None
    if any(group.startswith(_PERSON) for group in groups) and not any(
        one.startswith(_PERSON) for one in held
    ):
        return None
    return False


def _excepted(exceptions: Exceptions, circumstances: Circumstances) -> bool:
    for groups, not_before_ms, expires_ms in exceptions:
        if circumstances.now_ms < not_before_ms or (expires_ms and circumstances.now_ms >= expires_ms):
            continue
        if not groups or _among(groups, circumstances.groups):
            return True
    return False


def _in_days(days: Days, local_ms: int) -> bool:
    day = local_ms // 86_400_000
    return any(first <= day and (not last or day <= last) for first, last in days)


def _in_times(times: Times, local_ms: int) -> bool:
    day, minute = divmod(local_ms // 60_000, _MINUTES_OF_DAY)
    weekday = (day + _EPOCH_WEEKDAY) % 7
    for weekdays, start, end in times:
        if start < end:
            if start <= minute < end and weekdays >> weekday & 1:
                return True
        elif minute >= start and weekdays >> weekday & 1:
            return True
        elif minute < end and weekdays >> (weekday - 1) % 7 & 1:
            # Past midnight the window belongs to the day on which it began.
            return True
    return False
