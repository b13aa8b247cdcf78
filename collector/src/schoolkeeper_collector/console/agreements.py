"""Who agreed to which version of the rules, put it off, or was never asked, by the register of people (T-19, T-27).

Times are Unix milliseconds. What devices have not reported yet is not known here. *Never asked* is somebody of whom no
device said that it showed them the rules; *unknown* is said where the policy in force cannot be read.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from schoolkeeper_collector.console.in_force import FAULTS, in_force
from schoolkeeper_collector.school.repository import Repository
from schoolkeeper_collector.store.tables import agreements_seen, people
from schoolkeeper_proto.notices.agreement import Band, version_of

_DAY_MS = 86_400_000
_PUPILS = frozenset({Band.EYFS, Band.KS1, Band.KS2, Band.KS3_UP})
_BANDS: Mapping[str, frozenset[Band]] = {
    "pupil": _PUPILS,
    "shared": _PUPILS,
    "staff": frozenset({Band.STAFF}),
    "guest": frozenset({Band.GUEST}),
}
"""As what somebody of this kind in the register can be asked."""


class State(StrEnum):
    """What is known of one person, the most pressing first."""

    OFTEN = "often"
    """Put off more often than is in order."""
    PUT_OFF = "put-off"
    SHOWN = "shown"
    """Shown, and not answered."""
    EARLIER = "earlier"
    """Agreed to an earlier version, or so long ago that it is asked for again."""
    NEVER = "never"
    UNKNOWN = "unknown"
    AGREED = "agreed"
    NOT_ASKED = "not-asked"
    """The policy in force asks nobody of this kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """Version -> after how many days it is asked for again (0: never), over all groups; and who is asked at all.

    ``problem``: why that cannot be told.
    """

    versions: Mapping[str, int] = field(default_factory=dict)
    bands: frozenset[Band] = frozenset()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """``kind`` as in the register. ``put_off`` times, and ``at_ms``, are of the line that counts."""

    name: str
    kind: str
    state: State
    version: str = ""
    put_off: int = 0
    at_ms: int = 0
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreements:
    """``people`` by state and name. ``unregistered``: so many accounts answered that nobody in the register has."""

    people: tuple[Person, ...]
    unregistered: int
    problem: str

    def count(self, state: State, kind: str) -> int:
        return sum(one.state is state and one.kind == kind for one in self.people)

    def of(self, state: State) -> tuple[Person, ...]:
        return tuple(one for one in self.people if one.state is state)


class VersionsInForce:
    """Made again when another bundle is published. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: object = None
        self._found = InForce()

    def current(self, state_dir: Path | None, school_id: str) -> InForce:
        try:
            if state_dir is None:
                in_force(state_dir, school_id, "")  # says why
                return InForce()
            bundles = Repository(state_dir).current().bundles
            now = tuple(sorted((group, digest) for group, (digest, _) in bundles.items()))
            with self._lock:
                if now != self._of:
                    self._found, self._of = _versions(state_dir, school_id, tuple(sorted(bundles))), now
                return self._found
        except FAULTS as error:
            return InForce(problem=str(error))


def _versions(state_dir: Path, school_id: str, groups: tuple[str, ...]) -> InForce:
    """Raises one of ``FAULTS``."""
    versions: dict[str, int] = {}
    bands: set[Band] = set()
    for group in groups:
        held = in_force(state_dir, school_id, group)
        section = held.bundle.agreement if held is not None else None
        if held is None or section is None:
            continue
        for band in (Band(name) for name in section.bands if name in set(Band)):
            bands.add(band)
            versions[version_of(held.bundle, band)] = section.again_after_days
    return InForce(versions=versions, bands=frozenset(bands))


def load_agreements(connection: Connection, school_id: str, now: InForce, now_ms: int) -> Agreements:
    """Everybody of the register who has not left, most pressing first."""
    lines: dict[bytes, list[Any]] = {}
    for row in connection.execute(select(agreements_seen).where(agreements_seen.c.school_id == school_id)):
        lines.setdefault(bytes(row.pseudonym), []).append(row)
    register = connection.execute(
        select(people).where(people.c.school_id == school_id, people.c.left_ms.is_(None))
    ).all()
    order = list(State)
    found = [_person(row, lines.pop(bytes(row.pseudonym), []), now, now_ms) for row in register]
    return Agreements(
        people=tuple(sorted(found, key=lambda one: (order.index(one.state), one.name.casefold()))),
        unregistered=len(lines),
        problem=now.problem,
    )


def _person(row: Any, lines: list[Any], now: InForce, now_ms: int) -> Person:
    """By the lines of versions in force, of which one may still be open; then by earlier ones."""
    here = [line for line in lines if line.version in now.versions]
    judged = sorted(
        ((_state(line, now, now_ms), line) for line in here), key=lambda one: list(State).index(one[0])
    )
    if now.problem:
        return Person(name=row.display_name, kind=row.kind, state=State.UNKNOWN)
    if judged:
        return _told(row, *judged[0])
    if not _BANDS.get(row.kind, frozenset()) & now.bands:
        return Person(name=row.display_name, kind=row.kind, state=State.NOT_ASKED)
    agreed = max((line for line in lines if line.agreed_ms), key=lambda line: line.agreed_ms, default=None)
    if agreed is not None:
        return _told(row, State.EARLIER, agreed)
    return Person(name=row.display_name, kind=row.kind, state=State.NEVER)


def _state(line: Any, now: InForce, now_ms: int) -> State:
    """A line in which nothing came after the agreement is agreed to, unless its days are over."""
    if line.agreed_ms and line.agreed_ms >= (line.put_off_ms or 0):
        days = now.versions[line.version]
        return State.EARLIER if days and line.agreed_ms < now_ms - days * _DAY_MS else State.AGREED
    if line.put_off:
        return State.OFTEN if line.often else State.PUT_OFF
    return State.SHOWN


def _told(row: Any, state: State, line: Any) -> Person:
    return Person(
        name=row.display_name,
        kind=row.kind,
        state=state,
        version=line.version,
        put_off=line.put_off,
        at_ms=line.agreed_ms
        if state in (State.AGREED, State.EARLIER)
        else line.put_off_ms or line.shown_ms or 0,
        by=line.agreed_by if state in (State.AGREED, State.EARLIER) else "",
    )
