"""Rollouts at work: follows what officers published, measures, decides, writes it down, tells devices.

``step`` is repeated for ever and may be cut off anywhere: the store is written first, and what devices are told is
derived from it, so that the next step finishes what this one began.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never
from zoneinfo import ZoneInfo

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from schoolkeeper_collector.detection.calendar import Calendar
from schoolkeeper_collector.detection.silence import write_fact
from schoolkeeper_collector.rollout import gate, measuring, schedule, state
from schoolkeeper_collector.rollout.gate import State
from schoolkeeper_collector.school.ledger_entries import note_published
from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force
from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.tables import schools
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto import policy

HALTED = "rollout.halted"
_LOOK_SECONDS = 2.0
_MEASURE_MS = 20_000
_log = structlog.get_logger("rollout")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One rollout as measured now, for people."""

    plan: policy.RolloutPlan
    standing: state.Standing
    rings: tuple[gate.Ring, ...]
    members: tuple[measuring.Member, ...]
    next: gate.Action


class Rollouts:
    """One per process that works on rollouts; the store and a lock file keep several from each other's way."""

    def __init__(
        self,
        store: Store,
        repository: Repository,
        school_id: str,
        online: Ed25519PrivateKey | None,
        state_dir: Path,
    ) -> None:
        """Without the ``online`` key it looks and decides for people; the collector's process tells devices."""
        self._store = store
        self._repository = repository
        self.school_id = school_id
        self._online = online
        self._state_dir = state_dir
        self._measured_ms: dict[bytes, int] = {}
        self._calendar: tuple[object, Calendar] | None = None

    async def run(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        """Runs for ever; a step that fails is tried again."""
        while True:
            try:
                await asyncio.to_thread(self.step, now_ms())
            except (
                SQLAlchemyError, OSError, ValueError, NotPublished, RepositoryError, state.RolloutError,
                PackInForceError, PolicyError,
            ) as error:  # fmt: skip
                _log.error("a rollout's step failed", error=type(error).__name__)
            await asyncio.sleep(_LOOK_SECONDS)

    def step(self, now_ms: int) -> None:
        """Blocking. Raises what store, repository and pack raise; nothing is half done then."""
        if self._online is None:
            return
        plans = tuple(self._repository.current().plans.values())
        with self._store.read() as connection:
            known = state.held(connection, self.school_id)
        published = {plan.rollout_id for plan in plans}
        begun = {one.rollout_id for one in known.values() if one.state in state.OPEN_STATES}
        if begun - published or published - set(known):
            with self._store.write() as connection:
                state.follow_plans(connection, self.school_id, plans, now_ms)
                known = state.held(connection, self.school_id)
        for plan in plans:
            due = now_ms - self._measured_ms.get(plan.rollout_id, 0) >= _MEASURE_MS
            if due and known[plan.rollout_id].state is State.RUNNING:
                self._measured_ms[plan.rollout_id] = now_ms
                self._advance(plan, now_ms)
        self.tell_devices(now_ms)

    def views(self, connection: Connection, now_ms: int) -> tuple[View, ...]:
        """Every published plan as it stands."""
        known = state.held(connection, self.school_id)
        plans = self._repository.current().plans
        return tuple(
            self._view(connection, plan, known[plan.rollout_id], now_ms)
            for _, plan in sorted(plans.items())
            if plan.rollout_id in known
        )

    def tell_devices(self, now_ms: int) -> None:
        """Publishes the stage that the store says, with its entry in the ledger; nothing when devices know it."""
        before = self._repository.current()
        if before.stage is None or self._online is None:
            return
        with self._store.read() as connection:
            known = state.held(connection, self.school_id)
        groups = state.stage_groups(before.plans.values(), known)
        if groups == before.stage.groups:
            return
        after = self._repository.publish_stage(groups, self._online, now_ms)
        with self._store.write() as connection:
            note_published(connection, self.school_id, before, after, now_ms)

    def _advance(self, plan: policy.RolloutPlan, now_ms: int) -> None:
        with self._store.read() as connection:
            one = state.held(connection, self.school_id)[plan.rollout_id]
            view = self._view(connection, plan, one, now_ms)
        to, opened, because = State.RUNNING, one.open_rings, view.next.because
        match view.next:
            case gate.Open(open_rings=opened):
                pass
            case gate.Halt():
                to = State.HALTED
            case gate.Finish():
                to = State.DONE
            case gate.Wait():
                return
            case _ as never:
                assert_never(never)
        with self._store.write() as connection:
            state.change(connection, self.school_id, one, state.GATE, to, now_ms, because, open_rings=opened)
            if to is State.HALTED:
                fields: dict[str, object] = {
                    "rollout_group": plan.group,
                    "reason": because,
                    "version": plan.to_version,
                }
                write_fact(connection, self.school_id, None, HALTED, fields, now_ms)
        _log.info("rollout", group=plan.group, state=to.value, open_rings=opened)

    def _view(
        self, connection: Connection, plan: policy.RolloutPlan, one: state.Standing, now_ms: int
    ) -> View:
        terms = plan.terms or policy.RolloutTerms()
        found = measuring.members(
            connection,
            self.school_id,
            plan,
            since_ms=one.measured_from_ms,
            soak_ms=terms.soak_seconds * 1000,
            now_ms=now_ms,
        )
        rings = measuring.rings(
            connection,
            self.school_id,
            plan,
            found,
            open_rings=one.open_rings,
            since_ms=one.measured_from_ms,
            now_ms=now_ms,
        )
        now = gate.Rollout(state=one.state, open_rings=one.open_rings, opened_ms=one.opened_ms, rings=rings)
        allowed, later = self._allowed(connection, terms, now_ms)
        action = gate.decide(now, now_ms, may_open=allowed, opens_next=later)
        return View(plan=plan, standing=one, rings=rings, members=found, next=action)

    def _allowed(self, connection: Connection, terms: policy.RolloutTerms, now_ms: int) -> tuple[bool, str]:
        if terms.in_lessons_because:
            return True, ""
        pack = pack_in_force(self._state_dir)
        where = schools.c.school_id == self.school_id
        zone = str(connection.execute(select(schools.c.time_zone).where(where)).scalar_one())
        if self._calendar is None or self._calendar[0] != (pack, zone):
            self._calendar = (pack, zone), Calendar(load_pack(pack).school, zone)
        calendar = self._calendar[1]
        allowed = schedule.may_open(calendar, now_ms)
        return allowed, "" if allowed else schedule.opens_next(calendar, ZoneInfo(zone), now_ms)


def by_hand(
    store: Store,
    rollouts: Rollouts,
    group: str,
    action: str,
    *,
    actor: str,
    reason: str,
    now_ms: int,
) -> state.Standing:
    """``pause``, ``resume``, ``halt`` or ``open`` (the next ring, whatever the gate says). Raises ``RolloutError``."""
    rollouts.step(now_ms)
    with store.read() as connection:
        view = next((v for v in rollouts.views(connection, now_ms) if v.plan.group == group), None)
    if view is None:
        raise state.RolloutError(
            f"no rollout of the group {group!r}: "
            f"stage one with `schoolkeeper-collector stage --group {group} --rings ...`"
        )
    one = view.standing
    to, opened = _wanted(action, one, len(view.plan.rings))
    with store.write() as connection:
        state.change(connection, rollouts.school_id, one, actor, to, now_ms, reason, open_rings=opened)
    rollouts.tell_devices(now_ms)
    return replace(one, state=to, open_rings=opened, reason=reason, changed_ms=now_ms)


def _wanted(action: str, one: state.Standing, rings: int) -> tuple[State, int]:
    if one.state not in state.OPEN_STATES:
        raise state.RolloutError(f"the rollout of {one.group} is {one.state}: there is nothing to {action}")
    match action:
        case "pause" if one.state is State.RUNNING:
            return State.PAUSED, one.open_rings
        case "halt" if one.state is not State.HALTED:
            return State.HALTED, one.open_rings
        case "resume" if one.state is not State.RUNNING:
            return State.RUNNING, one.open_rings
        case "open" if one.state is not State.RUNNING:
            # Whoever opens a ring must have read why it stands still, and say why it goes on.
            raise state.RolloutError(
                f"the rollout of {one.group} is {one.state} ({one.reason or 'no reason was given'}): to go on all the "
                f"same, `schoolkeeper-collector rollout resume {one.group} --reason ...`, then open the ring"
            )
        case "open" if one.open_rings < rings:
            return State.RUNNING, one.open_rings + 1
        case "open":
            raise state.RolloutError(f"every ring of the rollout of {one.group} is open")
        case _:
            raise state.RolloutError(f"the rollout of {one.group} is {one.state} already")
