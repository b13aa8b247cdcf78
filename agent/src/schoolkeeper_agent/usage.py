"""How often and how long applications were used, per person and hour: cumulative, so that a repeat replaces (pure)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from schoolkeeper_proto import model

HOUR_MS = 3_600_000
ASLEEP_MS = 5 * 60_000
"""Looks are a minute apart. After a longer silence the machine slept, and nobody used anything on it."""
MAX_ENTRIES = 2000
"""Programs per hour that are counted one by one; beyond it they are counted together as 'other'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One program in one hour. ``changed`` since it was last handed over."""

    application: model.Application
    user: model.UserRef
    starts: int = 0
    running_ms: int = 0
    first_start_unix_ms: int = 0
    changed: bool = True


Key = tuple[bytes, str]
"""Pseudonym and path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    key: Key
    since_unix_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The hour that runs. The dictionaries are never changed in place.

    ``counting``: whether it may be counted at this moment (place and hours). What runs is known all the time, so that
    a program that was started at home counts from the moment at which school begins, and from then only.
    """

    counting: bool = True
    hour_start_unix_ms: int = 0
    entries: dict[Key, Entry]
    running: dict[int, Running]


def empty() -> Usage:
    return Usage(entries={}, running={})


def heed(usage: Usage, *, counting: bool, now: int) -> Usage:
    """Says whether it may be counted from now on. Time that is not surely inside is not counted, up to a tick."""
    if counting is usage.counting:
        return usage
    running = {pid: replace(run, since_unix_ms=now) for pid, run in usage.running.items()}
    usage = replace(usage, counting=counting, running=running)
    if counting and hour_of(now) != usage.hour_start_unix_ms:
        # What the last minute before the end had counted and nobody was told is given up with its hour.
        return _next_hour(usage, usage.entries, running, now)
    return usage


def started(
    usage: Usage, process_id: int, application: model.Application, user: model.UserRef, now: int
) -> Usage:
    key = (user.pseudonym, application.path)
    if key not in usage.entries and len(usage.entries) >= MAX_ENTRIES:
        application = model.Application(path="other")
        key = (user.pseudonym, application.path)
    if not usage.counting:
        # Known as running, so that it counts when it may; its start is nobody's business.
        entry = usage.entries.get(key) or Entry(application=application, user=user, changed=False)
        return replace(
            usage,
            entries={**usage.entries, key: entry},
            running={**usage.running, process_id: Running(key=key, since_unix_ms=now)},
        )
    entry = usage.entries.get(key) or Entry(application=application, user=user, first_start_unix_ms=now)
    counted = replace(entry, starts=entry.starts + 1, changed=True)
    return replace(
        usage,
        hour_start_unix_ms=usage.hour_start_unix_ms or hour_of(now),
        entries={**usage.entries, key: counted},
        running={**usage.running, process_id: Running(key=key, since_unix_ms=now)},
    )


def ended(usage: Usage, process_id: int, now: int) -> Usage:
    """Adds the time since the process started, or since the hour did."""
    run = usage.running.get(process_id)
    if run is None:
        return usage
    running = {pid: other for pid, other in usage.running.items() if pid != process_id}
    entries = _with_time(usage.entries, run, now) if usage.counting else usage.entries
    return replace(usage, entries=entries, running=running)


def hand_over(
    usage: Usage, run_id: bytes, now: int
) -> tuple[Usage, tuple[tuple[model.ApplicationUsage, model.UserRef], ...]]:
    """What changed, up to now; opens the next hour when the clock says so (also after a step back)."""
    entries = usage.entries
    running = {}
    for pid, run in usage.running.items():
        entries = _with_time(entries, run, now)
        running[pid] = replace(run, since_unix_ms=now)
    told = tuple(
        (_aggregate(entry, usage.hour_start_unix_ms, run_id, key), entry.user)
        for key, entry in entries.items()
        if entry.changed
    )
    if hour_of(now) != usage.hour_start_unix_ms:
        return _next_hour(usage, entries, running, now), told
    entries = {key: replace(entry, changed=False) for key, entry in entries.items()}
    return replace(usage, entries=entries, running=running), told


def _next_hour(usage: Usage, entries: dict[Key, Entry], running: dict[int, Running], now: int) -> Usage:
    kept = {run.key for run in running.values()}
    begun = {
        key: replace(entry, starts=0, running_ms=0, first_start_unix_ms=0, changed=False)
        for key, entry in entries.items()
        if key in kept
    }
    return replace(usage, hour_start_unix_ms=hour_of(now), entries=begun, running=running)


def hour_of(now: int) -> int:
    return now - now % HOUR_MS


def _with_time(entries: dict[Key, Entry], run: Running, now: int) -> dict[Key, Entry]:
    entry = entries.get(run.key)
    passed = max(0, now - run.since_unix_ms)
    if entry is None or passed == 0 or passed > ASLEEP_MS:
        return entries
    return {**entries, run.key: replace(entry, running_ms=entry.running_ms + passed, changed=True)}


def _aggregate(entry: Entry, hour: int, run_id: bytes, key: Key) -> model.ApplicationUsage:
    name = hashlib.sha256(run_id + key[0] + hour.to_bytes(8, "big") + key[1].encode()).digest()[:16]
    return model.ApplicationUsage(
        aggregate_id=name,
        application=entry.application,
        hour_start_unix_ms=hour,
        starts=entry.starts,
        running_seconds=entry.running_ms // 1000,
        first_start_unix_ms=entry.first_start_unix_ms,
    )
