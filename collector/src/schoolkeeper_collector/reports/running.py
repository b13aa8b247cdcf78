"""What comes due by itself: the technical audit, and the reminder that the policy's review is overdue.

Each step looks at what the store says was done last, so that a restart neither repeats nor forgets one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from schoolkeeper_collector.detection.calendar import Calendar
from schoolkeeper_collector.detection.silence import write_fact
from schoolkeeper_collector.reports import snapshots
from schoolkeeper_collector.reports.schedule import day_of, due
from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force
from schoolkeeper_collector.school.policy_review import Due, PolicyReview
from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.tables import collector_facts, schools
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError

OVERDUE = "policy.review-overdue"
_LOOK_SECONDS = 300.0
_log = structlog.get_logger("reports")


class Reports:
    """``months``: the setting ``snapshot_months``; ``stale_days``: ``inventory_stale_days``."""

    def __init__(
        self, store: Store, school_id: str, state_dir: Path, *, months: int, stale_days: int
    ) -> None:
        self._store = store
        self._school_id = school_id
        self._state_dir = state_dir
        self._months = months
        self._stale_days = stale_days
        self._review = PolicyReview()
        self._calendar: tuple[object, Calendar] | None = None

    async def run(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        """Runs for ever; a step that fails is tried again. The first one waits until the start is over."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await asyncio.to_thread(self.step, now_ms())
            except (SQLAlchemyError, OSError, ValueError, PackInForceError, PolicyError) as error:
                _log.error("a report could not be made", error=type(error).__name__)

    def step(self, now_ms: int) -> None:
        """Blocking. Raises what store and pack raise; nothing is half done then."""
        with self._store.read() as connection:
            where = schools.c.school_id == self._school_id
            zone = ZoneInfo(connection.execute(select(schools.c.time_zone).where(where)).scalar_one())
            last_ms = snapshots.last_scheduled_ms(connection, self._school_id)
        self._remind(zone, now_ms)
        if due(self._calendar_of(zone), zone, last_ms, self._months, now_ms):
            with self._store.write() as connection:
                made = snapshots.make_snapshot(
                    connection,
                    self._school_id,
                    now_ms,
                    actor=snapshots.SCHEDULE,
                    stale_days=self._stale_days,
                )
            _log.info("technical audit made", devices=made.devices)

    def _remind(self, zone: ZoneInfo, now_ms: int) -> None:
        """One fact for each day of review that has passed; a rule makes an alert of it."""
        review = self._review.at(self._state_dir, day_of(now_ms, zone))
        if review.due is not Due.OVERDUE or review.day is None:
            return
        fields: dict[str, object] = {"review": review.day.isoformat()}
        same = (
            collector_facts.c.school_id == self._school_id,
            collector_facts.c.kind == OVERDUE,
            collector_facts.c.fields == json.dumps(fields, sort_keys=True),
        )
        with self._store.write() as connection:
            if connection.execute(select(collector_facts.c.fact_no).where(*same).limit(1)).first() is None:
                write_fact(connection, self._school_id, None, OVERDUE, fields, now_ms)

    def _calendar_of(self, zone: ZoneInfo) -> Calendar:
        pack = pack_in_force(self._state_dir)
        if self._calendar is None or self._calendar[0] != (pack, zone.key):
            self._calendar = (pack, zone.key), Calendar(load_pack(pack).school, zone.key)
        return self._calendar[1]
