"""How far each rollout is, in the store, with its append-only log. What devices are told is derived from here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from schoolkeeper_collector.rollout.gate import State
from schoolkeeper_collector.store.tables import rollout_log, rollouts
from schoolkeeper_proto import policy

GATE = "gate"
OPEN_STATES = (State.RUNNING, State.PAUSED, State.HALTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One rollout's row. Times in Unix milliseconds."""

    rollout_id: bytes
    group: str
    state: State
    open_rings: int
    opened_ms: int | None
    created_ms: int
    changed_ms: int
    measured_from_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    at_ms: int
    actor: str
    action: str
    open_rings: int
    reason: str


class RolloutError(Exception):
    """What was asked cannot be done with this rollout; says why and the remedy."""


def held(connection: Connection, school_id: str) -> dict[bytes, Standing]:
    """Every rollout by id, ended ones too."""
    rows = connection.execute(select(rollouts).where(rollouts.c.school_id == school_id)).all()
    return {
        bytes(row.rollout_id): Standing(
            rollout_id=bytes(row.rollout_id),
            group=row.device_group,
            state=State(row.state),
            open_rings=row.open_rings,
            opened_ms=row.opened_ms,
            created_ms=row.created_ms,
            changed_ms=row.changed_ms,
            measured_from_ms=row.measured_from_ms,
            reason=row.reason,
        )
        for row in rows
    }


def follow_plans(
    connection: Connection, school_id: str, plans: Iterable[policy.RolloutPlan], now_ms: int
) -> bool:
    """Begins rollouts whose plans were published, ends those whose plans are gone; True when something changed."""
    known = held(connection, school_id)
    published = {plan.rollout_id: plan for plan in plans}
    changed = False
    for rollout_id, plan in published.items():
        if rollout_id not in known:
            row = {"school_id": school_id, "rollout_id": rollout_id, "device_group": plan.group}
            times = dict.fromkeys(("created_ms", "changed_ms", "measured_from_ms"), now_ms)
            connection.execute(
                insert(rollouts).values(**row, **times, state=State.RUNNING, open_rings=0, reason="")
            )
            changed = True
    for one in known.values():
        if one.rollout_id not in published and one.state in OPEN_STATES:
            change(
                connection, school_id, one, GATE, State.REPLACED, now_ms, "officers published something else"
            )
            changed = True
    return changed


def change(
    connection: Connection,
    school_id: str,
    before: Standing,
    actor: str,
    to: State,
    now_ms: int,
    reason: str,
    *,
    open_rings: int | None = None,
) -> None:
    """One step, with its line in the log. Raises ``RolloutError`` when somebody else was quicker."""
    opened = before.open_rings if open_rings is None else open_rings
    opens = opened != before.open_rings
    resumed = before.state is not State.RUNNING and to is State.RUNNING
    values = {"state": to.value, "open_rings": opened, "changed_ms": now_ms, "reason": reason}
    if opens:
        values["opened_ms"] = now_ms
    if resumed:
        values["measured_from_ms"] = now_ms
    done = connection.execute(
        update(rollouts)
        .where(
            rollouts.c.school_id == school_id,
            rollouts.c.rollout_id == before.rollout_id,
            rollouts.c.state == before.state.value,
            rollouts.c.open_rings == before.open_rings,
        )
        .values(**values)
    )
    if not done.rowcount:
        raise RolloutError("the rollout changed in this very moment: look again with `rollout show`")
    action = "opened" if opens else "resumed" if resumed else to.value
    connection.execute(
        insert(rollout_log).values(
            school_id=school_id,
            rollout_id=before.rollout_id,
            at_ms=now_ms,
            actor=actor,
            action=action,
            open_rings=opened,
            reason=reason,
        )
    )


def log_of(connection: Connection, school_id: str, rollout_id: bytes) -> tuple[LogEntry, ...]:
    """What was done, the newest first."""
    rows = connection.execute(
        select(rollout_log)
        .where(rollout_log.c.school_id == school_id, rollout_log.c.rollout_id == rollout_id)
        .order_by(rollout_log.c.entry_no.desc())
    ).all()
    return tuple(
        LogEntry(
            at_ms=row.at_ms,
            actor=row.actor,
            action=row.action,
            open_rings=row.open_rings,
            reason=row.reason,
        )
        for row in rows
    )


def stage_groups(
    plans: Iterable[policy.RolloutPlan], known: dict[bytes, Standing]
) -> tuple[policy.GroupStage, ...]:
    """What devices are told: of each published plan, how far it is."""
    found = []
    for plan in plans:
        one = known.get(plan.rollout_id)
        if one is not None:
            found.append(
                policy.GroupStage(
                    group=plan.group,
                    rollout_id=plan.rollout_id,
                    open_rings=one.open_rings,
                    paused=one.state in (State.PAUSED, State.HALTED),
                )
            )
    return tuple(sorted(found, key=lambda entry: entry.group))
