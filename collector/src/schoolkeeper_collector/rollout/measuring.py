"""What the gate looks at, read from the store: who runs what since when, and what they reported since.

Counts of events are compared with what the same devices reported in the week before they took the new policy; refusals
with the backtest's forecast, where the plan carries one. Of people's own reports only the number is read, and only
in a ring so large that it points at nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from schoolkeeper_collector.rollout.gate import (
    DAY_MS,
    DeviceFacts,
    Measure,
    Ring,
    Sign,
    Standing,
    limit_of,
    standing_of,
)
from schoolkeeper_collector.store.tables import devices, events, posture
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.codec import kind_number
from schoolkeeper_proto.model import PostureResult
from schoolkeeper_proto.rollout import ring_of

WEEK_MS = 7 * DAY_MS
LARGE_RING = 10
"""People's reports are counted only in rings of at least so many devices."""
_AT_ONCE = 200

KINDS: dict[Sign, tuple[type[model.Body], ...]] = {
    Sign.REFUSALS: (
        model.ApplicationRefused,
        model.MediumRefused,
        model.MediumWriteRefused,
        model.SiteRefused,
    ),
    Sign.RULE_ERRORS: (model.SensorFailed, model.LockFailed, model.BudgetExceeded),
    Sign.KILLED: (model.AgentKilled,),
    Sign.STARTS: (model.AgentStarted,),
    Sign.HELP: (model.ExceptionRequested, model.PersonReport),
}
_SLACK = {Sign.REFUSALS: 3, Sign.RULE_ERRORS: 2, Sign.KILLED: 1, Sign.STARTS: 2, Sign.HELP: 2}
_AT_LEAST_PER_DAY = {Sign.STARTS: 4.0}
"""A laptop is switched on some times a day, also one that was enrolled an hour ago."""
_SIGN_OF = {kind_number(cls.KIND): sign for sign, classes in KINDS.items() for cls in classes}
_REPORT = kind_number(model.PersonReport.KIND)
_POLICY_REFUSED = kind_number(model.PolicyRefused.KIND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One device of the group with its ring and where it stands."""

    device_no: int
    device_id: bytes
    hostname: str
    ring: int
    standing: Standing
    bundle_hash: bytes
    bundle_version: int
    bundle_since_ms: int | None
    last_contact_ms: int | None
    enrolled_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Applied:
    """A device that runs the new policy: ``took_ms`` when it took it, ``since_ms`` from when on its events count."""

    since_ms: int
    took_ms: int
    enrolled_ms: int


@dataclass(slots=True)
class _Counts:
    observed: dict[Sign, int] = field(default_factory=dict)
    devices: dict[Sign, set[int]] = field(default_factory=dict)
    before: dict[Sign, int] = field(default_factory=dict)
    days: float = 0.0
    """Device-days since the devices took the policy; at least one each, since a day's events come in lessons."""
    days_before: float = 0.0


def members(
    connection: Connection,
    school_id: str,
    plan: policy.RolloutPlan,
    *,
    since_ms: int,
    soak_ms: int,
    now_ms: int,
) -> tuple[Member, ...]:
    """Every active device of the plan's group. ``since_ms``: from when on refusals of the policy count."""
    rows = connection.execute(
        select(devices).where(
            devices.c.school_id == school_id,
            devices.c.device_group == plan.group,
            devices.c.status == "active",
        )
    ).all()
    refusing = _refusing(connection, school_id, [row.device_no for row in rows], since_ms)
    found = []
    for row in rows:
        facts = DeviceFacts(
            bundle_hash=bytes(row.bundle_hash),
            bundle_since_ms=row.bundle_since_ms,
            last_contact_ms=row.last_contact_ms,
            refused=row.device_no in refusing,
        )
        found.append(
            Member(
                device_no=row.device_no,
                device_id=bytes(row.device_id),
                hostname=row.hostname,
                ring=ring_of(plan, bytes(row.device_id)),
                standing=standing_of(facts, plan.to_bundle_hash, soak_ms, now_ms),
                bundle_hash=bytes(row.bundle_hash),
                bundle_version=row.bundle_version,
                bundle_since_ms=row.bundle_since_ms,
                last_contact_ms=row.last_contact_ms,
                enrolled_ms=row.enrolled_ms,
            )
        )
    return tuple(found)


def rings(
    connection: Connection,
    school_id: str,
    plan: policy.RolloutPlan,
    found: Iterable[Member],
    *,
    open_rings: int,
    since_ms: int,
    now_ms: int,
) -> tuple[Ring, ...]:
    """All rings of the plan; the open ones with what was measured of them since ``since_ms``."""
    by_ring: dict[int, list[Member]] = {}
    for member in found:
        by_ring.setdefault(member.ring, []).append(member)
    made = []
    for number, ring in enumerate(plan.rings):
        own = by_ring.get(number, [])
        is_open = number < open_rings
        made.append(
            Ring(
                number=number,
                name=ring.name,
                standings=tuple(member.standing for member in own),
                measures=_measures(connection, school_id, plan, own, since_ms, now_ms)
                if is_open and own
                else (),
            )
        )
    return tuple(made)


def _measures(
    connection: Connection,
    school_id: str,
    plan: policy.RolloutPlan,
    own: list[Member],
    since_ms: int,
    now_ms: int,
) -> tuple[Measure, ...]:
    """Of the devices that run the new policy, each from when it took it, or from ``since_ms`` if that is later."""
    applied = {
        m.device_no: _Applied(
            since_ms=max(m.bundle_since_ms, since_ms),
            took_ms=m.bundle_since_ms,
            enrolled_ms=m.enrolled_ms,
        )
        for m in own
        if m.bundle_hash == plan.to_bundle_hash and m.bundle_since_ms
    }
    counts = _counted(connection, school_id, applied, now_ms, reports=len(own) >= LARGE_RING)
    terms = plan.terms or policy.RolloutTerms()
    forecast = terms.refusals_per_1000_device_days
    made = []
    for sign in KINDS:
        rate = counts.before.get(sign, 0) / counts.days_before if counts.days_before else 0.0
        rate = max(rate, _AT_LEAST_PER_DAY.get(sign, 0.0))
        if sign is Sign.REFUSALS and forecast is not None:
            rate = forecast / 1000
        expected = rate * counts.days
        made.append(
            Measure(
                sign=sign,
                observed=counts.observed.get(sign, 0),
                devices=len(counts.devices.get(sign, ())),
                expected=expected,
                limit=limit_of(expected, _SLACK[sign]),
            )
        )
    unknown = _became_unknown(connection, school_id, applied)
    refused = sum(member.standing is Standing.REFUSED for member in own)
    for sign, observed, limit in (
        (Sign.UNKNOWN_RESULTS, unknown, max(1, len(applied) // 10)),
        (Sign.POLICY_REFUSED, refused, len(own) // 20),
    ):
        made.append(Measure(sign=sign, observed=observed, devices=observed, expected=0.0, limit=limit))
    return tuple(made)


def _counted(
    connection: Connection, school_id: str, applied: dict[int, _Applied], now_ms: int, *, reports: bool
) -> _Counts:
    counts = _Counts()
    for one in applied.values():
        counts.days += max(1.0, (now_ms - one.since_ms) / DAY_MS)
        # A day at least: what a device did in its first minutes is no measure of its days.
        counts.days_before += max(DAY_MS, min(WEEK_MS, one.took_ms - one.enrolled_ms)) / DAY_MS
    wanted = [number for number in _SIGN_OF if reports or number != _REPORT]
    for numbers in _portions(sorted(applied)):
        since_ms = min(applied[no].took_ms for no in numbers) - WEEK_MS
        rows = connection.execute(
            select(events.c.device_no, events.c.kind, events.c.event_ms).where(
                events.c.school_id == school_id,
                events.c.device_no.in_(numbers),
                events.c.event_ms >= since_ms,
                events.c.kind.in_(wanted),
            )
        )
        for row in rows:
            one, sign = applied[row.device_no], _SIGN_OF[row.kind]
            if row.event_ms >= one.since_ms:
                counts.observed[sign] = counts.observed.get(sign, 0) + 1
                counts.devices.setdefault(sign, set()).add(row.device_no)
            elif one.took_ms - WEEK_MS <= row.event_ms < one.took_ms:
                counts.before[sign] = counts.before.get(sign, 0) + 1
    return counts


def _became_unknown(connection: Connection, school_id: str, applied: dict[int, _Applied]) -> int:
    """Devices on which a check became unknown after they took the policy."""
    found = set()
    for numbers in _portions(sorted(applied)):
        rows = connection.execute(
            select(posture.c.device_no, posture.c.since_ms).where(
                posture.c.school_id == school_id,
                posture.c.device_no.in_(numbers),
                posture.c.result == PostureResult.UNKNOWN.value,
            )
        )
        found |= {r.device_no for r in rows if r.since_ms >= applied[r.device_no].since_ms}
    return len(found)


def _refusing(connection: Connection, school_id: str, numbers: list[int], since_ms: int) -> set[int]:
    found: set[int] = set()
    for portion in _portions(numbers):
        rows = connection.execute(
            select(events.c.device_no).where(
                events.c.school_id == school_id,
                events.c.device_no.in_(portion),
                events.c.event_ms >= since_ms,
                events.c.kind == _POLICY_REFUSED,
            )
        )
        found |= {row.device_no for row in rows}
    return found


def _portions(numbers: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(numbers), _AT_ONCE):
        yield numbers[start : start + _AT_ONCE]
