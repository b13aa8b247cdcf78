"""Applications that ran on devices, held against the assessments of the pack in force (W-55).

Times are Unix milliseconds, days are the school's own. An application that the pack does not name is unassessed, one
whose review is past is overdue; nothing of either is shown as assessed. No person and no device is in any of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from schoolkeeper_collector.detection.applications_seen import MOST
from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force
from schoolkeeper_collector.store.tables import applications_seen
from schoolkeeper_policies.model import Assessment
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError

FAULTS: Final = (PackInForceError, PolicyError, OSError)
"""Why the pack cannot be read; each says what to do."""


class State(StrEnum):
    """How an application stands; the order is the page's."""

    UNASSESSED = "unassessed"
    OVERDUE = "overdue"
    ASSESSED = "assessed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One application that ran, and what the school said of it."""

    identity: str
    first_ms: int
    last_ms: int
    state: State
    assessment: Assessment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applications:
    """``seen``: unassessed first, then overdue, the newest of each first. ``unseen``: (assessment, its state)."""

    seen: tuple[Seen, ...]
    unseen: tuple[tuple[Assessment, State], ...]
    """Of the register: sites, and applications that ran on no device that reports."""

    def number(self, state: State) -> int:
        return sum(one.state is state for one in self.seen)

    @property
    def full(self) -> bool:
        """More may have run than are kept."""
        return len(self.seen) >= MOST


class Register:
    """The assessments of the pack in force, read again when another takes its place. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pack: str | Path | None = None
        self._held: tuple[Assessment, ...] = ()

    def current(self, state_dir: Path | None) -> tuple[Assessment, ...]:
        """Raises one of ``FAULTS``."""
        if state_dir is None:
            raise PackInForceError("this console was started without the collector's files")
        pack = pack_in_force(state_dir)
        with self._lock:
            if pack != self._pack:
                self._held = load_pack(pack).assessments
                self._pack = pack
            return self._held


def load_applications(
    connection: Connection, school_id: str, register: Iterable[Assessment], today: date
) -> Applications:
    by_name = {one.key: one for one in register}
    query = select(applications_seen).where(applications_seen.c.school_id == school_id)
    seen = []
    for row in connection.execute(query):
        found = by_name.get(f"application {row.identity.casefold()}")
        seen.append(
            Seen(
                identity=row.identity,
                first_ms=row.first_ms,
                last_ms=row.last_ms,
                state=state_of(found, today),
                assessment=found,
            )
        )
    order = list(State)
    ran = {one.assessment.key for one in seen if one.assessment is not None}
    return Applications(
        seen=tuple(sorted(seen, key=lambda one: (order.index(one.state), -one.first_ms, one.identity))),
        unseen=tuple((one, state_of(one, today)) for key, one in sorted(by_name.items()) if key not in ran),
    )


def state_of(assessment: Assessment | None, today: date) -> State:
    """The day of the review is still in time."""
    if assessment is None:
        return State.UNASSESSED
    return State.OVERDUE if assessment.review < today else State.ASSESSED
