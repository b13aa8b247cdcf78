"""Into which class each kind of event falls, and for how long it is kept. A blob holds one class.

Thirty days of raw events, a year of aggregates and posture, seven years of safeguarding material: unless the notice of
the policy in force says less of a kind, or the school has shortened a class (``school/keeping.py``). What an incident
rests on and what is under a legal hold stays for as long as that lasts (``holding.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from schoolkeeper_proto.codec import kind_number

DAY_MS = 24 * 3600 * 1000


class Retention(StrEnum):
    RAW = "raw"
    YEAR = "year"
    SAFEGUARDING = "safeguarding"


HELD: Final = "held"
"""Instead of its class on a blob whose every period is over: what is left of it is held."""

DEFAULT_DAYS: dict[Retention, int] = {
    Retention.RAW: 30,
    Retention.YEAR: 366,
    Retention.SAFEGUARDING: 7 * 366,
}
INCIDENT_DAYS: Final = 7 * 366
"""After an incident is closed, what it rests on is held for so long."""
KEEP_MS: dict[Retention, int] = {retention: days * DAY_MS for retention, days in DEFAULT_DAYS.items()}

_YEAR = (
    "application.usage",
    "site.usage",
    "posture",
    "policy.applied",
    "policy.refused",
    "grant.applied",
    "grant.ended",
    "exception.requested",
    "aup.shown",
    "aup.accepted",
    "aup.deferred",
    "agent.started",
    "agent.stopped",
    "agent.killed",
    "agent.tampered",
    "agent.removal",
    "agent.update",
    "clock.changed",
    "agent.gap",
    "spool.evicted",
    "spool.set_aside",
    "command.result",
    "network.isolation_changed",
    "session.lock_failed",
)
_SAFEGUARDING = (
    "person.report",
    "site.refused",
    "application.refused",
    "network.filter_bypass",
    "media.refused",
    "media.write_refused",
    "media.copy",
    "imported.alert",
    # Not for safeguarding: whoever forgot a password needs the key to a stick as long as there is the stick.
    "media.encrypted",
)

_BY_NUMBER: dict[int, Retention] = {
    **{kind_number(kind): Retention.YEAR for kind in _YEAR},
    **{kind_number(kind): Retention.SAFEGUARDING for kind in _SAFEGUARDING},
}


def retention_of(kind: int) -> Retention:
    """The class of a kind's wire number; what is not listed, and what is not known, is raw."""
    return _BY_NUMBER.get(kind, Retention.RAW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """For how long, in days. ``by_kind`` by the kind's wire number; other kinds as their class."""

    by_class: Mapping[Retention, int] = field(default_factory=lambda: dict(DEFAULT_DAYS))
    by_kind: Mapping[int, int] = field(default_factory=dict)
    incident_days: int = INCIDENT_DAYS

    def days_of(self, kind: int) -> int:
        return self.by_kind.get(kind, self.by_class[retention_of(kind)])

    def ms_of(self, kind: int) -> int:
        return self.days_of(kind) * DAY_MS

    def of_class(self, retention: Retention) -> list[int]:
        """The periods that occur in a class, in days, the shortest first."""
        return sorted({self.by_class[retention], *(days for _, days in self._named(retention))})

    def fingerprint(self, retention: Retention, days: int) -> bytes:
        """Of the kinds of a class with one period: tells one promise from another."""
        named = sorted(kind for kind, kept in self._named(retention) if kept == days)
        text = f"{retention.value}|{days}|{self.by_class[retention]}|{named}"
        return hashlib.sha256(text.encode()).digest()

    def words(self, retention: Retention) -> str:
        """For a tombstone: under which rule."""
        periods = self.of_class(retention)
        days = str(periods[0]) if len(periods) == 1 else f"{periods[0]} to {periods[-1]}"
        return f"retention: {retention.value}, {days} days"

    def listed(self) -> dict[int, list[int]]:
        """Days -> kinds, of every kind that is named anywhere; all other kinds are raw."""
        together: dict[int, list[int]] = {}
        for kind in sorted({*self.by_kind, *_BY_NUMBER}):
            together.setdefault(self.days_of(kind), []).append(kind)
        return together

    def _named(self, retention: Retention) -> Iterable[tuple[int, int]]:
        return [(kind, days) for kind, days in self.by_kind.items() if retention_of(kind) is retention]
