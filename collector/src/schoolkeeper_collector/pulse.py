"""Whether the collector still gets on: commits that fail one after another, detection that raises or stands still.

Looked at once a second, so that a fault says since when. One failed commit among others that succeed is no fault here:
it is counted in the metrics.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from schoolkeeper_collector.detection import cursors
from schoolkeeper_collector.detection.engine import EVENTS
from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.tables import events

_LOOK_SECONDS = 1.0
STILL_MS = 60_000
"""Behind, and the cursor has not moved for so long: a fault."""
FAR_BEHIND = 50_000
"""Behind by so many events is a fault even while it moves."""
_log = structlog.get_logger("pulse")


class Counts(Protocol):
    failures: int


class Commits(Protocol):
    """The writer. ``counts.failures`` has the follower's failures in it."""

    last_commit_ms: int

    @property
    def counts(self) -> Counts: ...


class Follows(Protocol):
    """The detection, see ``following.py``."""

    failing_since_ms: int | None
    failures: int
    worked: int


class Pulse:
    """``lag``: events stored that detection has not passed yet; None while that cannot be read."""

    def __init__(self, store: Store, school_id: str, writer: Commits, follows: Follows | None) -> None:
        self._store = store
        self._school_id = school_id
        self._writer = writer
        self._follows = follows
        self._commits_failing_since_ms: int | None = None
        self._seen = self._state()
        self._position = 0
        self._moved_ms: int | None = None
        self.lag: int | None = None
        self._unreadable_since_ms: int | None = None

    def look(self, now_ms: int) -> None:
        """Blocking; reads the store."""
        self._look_at_commits(now_ms)
        if self._follows is not None:
            try:
                self._look_at_lag(now_ms)
                self._unreadable_since_ms = None
            except (SQLAlchemyError, OSError) as error:
                self.lag = None
                if self._unreadable_since_ms is None:
                    self._unreadable_since_ms = now_ms
                    _log.error("the database cannot be read", error=type(error).__name__)

    def faults(self, now_ms: int) -> list[str]:
        """What is wrong, each with its remedy."""
        found = []
        if (since := self._commits_failing_since_ms) is not None:
            found.append(
                f"commits have failed since {_when(since)}: nothing that devices send is stored; they keep it. "
                "Look at the room on the disk, and at the log"
            )
        if (since := self._unreadable_since_ms) is not None:
            found.append(f"the database cannot be read since {_when(since)}: the reason is in the log")
        follows = self._follows
        if follows is not None and (since := follows.failing_since_ms) is not None:
            found.append(
                f"detection has been failing since {_when(since)}: no alert comes; the reason is in the log"
            )
        still = self._moved_ms is not None and now_ms - self._moved_ms > STILL_MS
        if self.lag and (still or self.lag > FAR_BEHIND):
            found.append(
                f"detection is {self.lag} events behind{' and stands still' if still else ''}: alerts come late"
            )
        return found

    async def keep_looking(self, now_ms: Callable[[], int]) -> None:
        while True:
            await asyncio.to_thread(self.look, now_ms())
            await asyncio.sleep(_LOOK_SECONDS)

    def _state(self) -> tuple[int, int, int]:
        """(last commit, failures of commits, detection's steps that wrote)."""
        follows = self._follows
        raised, worked = (follows.failures, follows.worked) if follows is not None else (0, 0)
        return self._writer.last_commit_ms, self._writer.counts.failures - raised, worked

    def _look_at_commits(self, now_ms: int) -> None:
        (committed, failures, worked), before = self._state(), self._seen
        # A step's failure is counted by detection a moment before the writer counts it, too.
        failures = max(failures, before[1])
        self._seen = committed, failures, worked
        if committed != before[0]:
            self._commits_failing_since_ms = None
        elif failures > before[1]:
            if self._commits_failing_since_ms is None:
                self._commits_failing_since_ms = now_ms
        elif worked > before[2]:  # detection's own transaction went through
            self._commits_failing_since_ms = None

    def _look_at_lag(self, now_ms: int) -> None:
        with self._store.read() as connection:
            own = select(events.c.event_no).where(events.c.school_id == self._school_id)
            newest = connection.execute(own.order_by(events.c.event_no.desc()).limit(1)).scalar()
            position, _ = cursors.read_cursor(connection, self._school_id, EVENTS)
        lag = max(0, (newest or 0) - position)
        if not lag or position != self._position or not self.lag:
            self._moved_ms = now_ms
        self._position = position
        self.lag = lag


def _when(unix_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_ms // 1000))
