"""For how long each kind of event is kept. A blob holds one class, so that a class can expire as a whole.

Thirty days of raw events, a year of aggregates and posture, safeguarding material until its case decides
(seven years here; a case that needs longer holds its own copy).
"""

from __future__ import annotations

from enum import StrEnum

from schoolkeeper_proto.codec import kind_number

DAY_MS = 24 * 3600 * 1000


class Retention(StrEnum):
    RAW = "raw"
    YEAR = "year"
    SAFEGUARDING = "safeguarding"


KEEP_MS: dict[Retention, int] = {
    Retention.RAW: 30 * DAY_MS,
    Retention.YEAR: 366 * DAY_MS,
    Retention.SAFEGUARDING: 7 * 366 * DAY_MS,
}

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
    "agent.started",
    "agent.stopped",
    "agent.killed",
    "agent.tampered",
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
)

_BY_NUMBER: dict[int, Retention] = {
    **{kind_number(kind): Retention.YEAR for kind in _YEAR},
    **{kind_number(kind): Retention.SAFEGUARDING for kind in _SAFEGUARDING},
}


def retention_of(kind: int) -> Retention:
    """The class of a kind's wire number; what is not listed, and what is not known, is raw."""
    return _BY_NUMBER.get(kind, Retention.RAW)
