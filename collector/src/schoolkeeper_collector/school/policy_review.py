"""By when the school looks at its whole policy again (T-01): the pack's day, or an early review's, against today."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path

from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError

SOON_DAYS = 30
FAULTS = (PackInForceError, PolicyError, OSError)
"""Why the pack cannot be read; each says what to do."""


class Due(StrEnum):
    """How it stands with the review. What is not known is not fine."""

    LATER = "later"
    SOON = "soon"
    OVERDUE = "overdue"
    NO_DATE = "no-date"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """``days``: until the day, negative after it; 0 without one."""

    due: Due
    day: date | None = None
    days: int = 0


def review_at(day: date | None, today: date) -> Review:
    """The day itself is still in time, as for ``policy check``."""
    if day is None:
        return Review(due=Due.NO_DATE)
    days = (day - today).days
    if days < 0:
        return Review(due=Due.OVERDUE, day=day, days=days)
    return Review(due=Due.SOON if days <= SOON_DAYS else Due.LATER, day=day, days=days)


class PolicyReview:
    """Reads the pack again only when another one takes its place. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: tuple[str | Path, date | None] | None = None

    def at(self, state_dir: Path | None, today: date) -> Review:
        """``UNKNOWN`` where there is no pack to read, or it cannot be read."""
        if state_dir is None:
            return Review(due=Due.UNKNOWN)
        try:
            return review_at(self._day(pack_in_force(state_dir)), today)
        except FAULTS:
            return Review(due=Due.UNKNOWN)

    def _day(self, pack: str | Path) -> date | None:
        with self._lock:
            if self._read is None or self._read[0] != pack:
                self._read = pack, load_pack(pack).about.review_by()
            return self._read[1]
