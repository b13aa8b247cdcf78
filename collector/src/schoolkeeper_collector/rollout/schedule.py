"""When a ring may open: outside of the school's own hours, so that a bad policy meets nobody in a lesson."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from schoolkeeper_collector.detection.calendar import Calendar

MARGIN_MS = 15 * 60_000
"""So long before lessons begin nothing opens any more: devices need a moment to take it, and a person to look."""
_STEP_MS = 5 * 60_000
_LOOK_AHEAD_MS = 3 * 86_400_000


def may_open(calendar: Calendar, now_ms: int) -> bool:
    """Whether no school hours are now or begin within the margin."""
    return calendar.school_ms(now_ms, now_ms + MARGIN_MS) == 0


def opens_next(calendar: Calendar, zone: ZoneInfo, now_ms: int) -> str:
    """When rings may open next, as a person says it; empty when they may now, or not for days."""
    at = now_ms
    while at < now_ms + _LOOK_AHEAD_MS:
        if may_open(calendar, at):
            return "" if at == now_ms else _said(at, zone)
        at += _STEP_MS
    return ""


def _said(at_ms: int, zone: ZoneInfo) -> str:
    return f"next {datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone):%a %H:%M}"
