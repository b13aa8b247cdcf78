"""What follows ingest in the writer's thread: the detection, with the rules and the calendar of the pack in force."""

from __future__ import annotations

import time
from pathlib import Path

import structlog
from sqlalchemy import Connection, select

from schoolkeeper_collector.detection.calendar import Calendar
from schoolkeeper_collector.detection.engine import Detection
from schoolkeeper_collector.school.keys import ServiceKeys
from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force, rules_of
from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.tables import schools
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError

_LOOK_SECONDS = 5.0
_log = structlog.get_logger("following")


class Following:
    """A follower that goes over to a newly published pack by itself; between two steps detection holds nothing.

    The first pack must be readable (``PolicyError``, ``PackInForceError``). A later one that is not changes nothing,
    and ``pack_fault`` says so. ``failing_since_ms`` is None as long as steps succeed. Read from other threads, too.
    """

    def __init__(self, store: Store, state_dir: Path, school_id: str, time_zone: str) -> None:
        self._store = store
        self._state_dir = state_dir
        self._school_id = school_id
        self._time_zone = time_zone
        self._pack = pack_in_force(state_dir)
        self._detection = self._of(self._pack)
        self._looked_at = time.monotonic()
        self.pack_fault = ""
        self.failing_since_ms: int | None = None
        self.failures = 0
        self.worked = 0
        """Steps that passed something and so wrote: what the writer then commits."""

    def step(self, connection: Connection, now_ms: int) -> int:
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self.look()
        try:
            passed = self._detection.step(connection, now_ms)
        except Exception:
            self.failures += 1
            if self.failing_since_ms is None:
                self.failing_since_ms = now_ms
            raise
        self.failing_since_ms = None
        self.worked += passed > 0
        return passed

    def look(self) -> None:
        """Takes up the pack that was published since."""
        self._looked_at = time.monotonic()
        try:
            pack = pack_in_force(self._state_dir)
            if pack != self._pack:
                self._detection = self._of(pack)
                self._pack = pack
                _log.info("detection follows a newly published pack")
            self.pack_fault = ""
        except (PackInForceError, PolicyError, OSError) as error:
            if not self.pack_fault:
                _log.error("the pack in force cannot be read", error=type(error).__name__)
            self.pack_fault = f"detection goes on with the pack before the published one: {error}"

    def _of(self, pack: str | Path) -> Detection:
        calendar = Calendar(load_pack(pack).school, self._time_zone)
        return Detection(self._store, rules_of(pack), school_id=self._school_id, calendar=calendar)


def follower_of(store: Store, keys: ServiceKeys, state_dir: Path) -> Following:
    with store.read() as connection:
        where = schools.c.school_id == keys.school_id
        time_zone = connection.execute(select(schools.c.time_zone).where(where)).scalar_one()
    return Following(store, state_dir, keys.school_id, time_zone)
