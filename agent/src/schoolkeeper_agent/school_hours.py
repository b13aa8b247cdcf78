"""Whether somebody at school can be expected to look now, or when: by the hours that the policy says school is open."""

from __future__ import annotations

from schoolkeeper_agent.session.telling_lines import Looks
from schoolkeeper_proto.conditions import (
    Circumstances,
    Condition,
    ConditionMistake,
    ZoneClock,
    compile_condition,
    holds,
)
from schoolkeeper_proto.policy import Applicability

_DAY_MS, _MINUTE_MS = 86_400_000, 60_000
LOOKED_AHEAD_DAYS = 70
"""Longer than any holiday; beyond it nobody knows."""


def looks(hours: Applicability | None, now_ms: int) -> tuple[Looks, int]:
    """Now, later (with the Unix time in milliseconds at which school opens next), or unknown."""
    try:
        condition = compile_condition(hours)
        if condition is None or not condition[0]:
            return Looks.UNKNOWN, 0
        if _open(condition, now_ms):
            return Looks.NOW, 0
        opens = _next(condition, now_ms)
    except ConditionMistake:
        return Looks.UNKNOWN, 0
    return (Looks.LATER, opens) if opens else (Looks.UNKNOWN, 0)


def _open(condition: Condition, at_ms: int) -> bool:
    return holds(condition, Circumstances(now_ms=at_ms), ZoneClock()) is True


def _next(condition: Condition, now_ms: int) -> int:
    """The first moment from now at which a window begins; 0 within ``LOOKED_AHEAD_DAYS`` none does."""
    times, zone = condition[0], condition[3]
    clock = ZoneClock()
    today = (now_ms + clock.offset_ms(zone, now_ms)) // _DAY_MS
    starts = sorted({start for _, start, _ in times})
    for day in range(today, today + LOOKED_AHEAD_DAYS):
        for start in starts:
            local = day * _DAY_MS + start * _MINUTE_MS
            at_ms = local - clock.offset_ms(zone, local - clock.offset_ms(zone, local))
            if at_ms > now_ms and _open(condition, at_ms):
                return at_ms
    return 0
