"""How the collector itself is: counts and times only, nothing of any case. Times are Unix milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, func, select

from schoolkeeper_collector.incidents.unread import unread
from schoolkeeper_collector.store import tables


@dataclass(frozen=True, slots=True, kw_only=True)
class DisabledRule:
    rule_id: str
    since_ms: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """``None`` means that there is nothing to tell from yet; it is shown as unknown."""

    last_event_ms: int | None
    ledger_size: int
    checkpoint_size: int | None
    checkpoint_ms: int | None
    generation: int
    waiting_for_ledger: int
    detection_behind: int | None
    open_gaps: int
    conflicts: int
    set_aside: int
    notices_failing: int
    disabled_rules: tuple[DisabledRule, ...]
    unread: int
    """Open safeguarding items that nobody may read."""


def load_health(connection: Connection, school_id: str) -> Health:
    """Read all of it; every query is a count on an index or the end of one."""
    t = tables
    checkpoint = connection.execute(
        select(t.checkpoints)
        .where(t.checkpoints.c.school_id == school_id)
        .order_by(t.checkpoints.c.generation.desc(), t.checkpoints.c.size.desc())
        .limit(1)
    ).one_or_none()
    disabled = connection.execute(
        select(t.rule_states).where(
            t.rule_states.c.school_id == school_id, t.rule_states.c.disabled_ms.is_not(None)
        )
    )

    def count(table: Table, *conditions: ColumnElement[bool]) -> int:
        query = select(func.count()).select_from(table).where(table.c.school_id == school_id, *conditions)
        return int(connection.execute(query).scalar_one())

    last_event = connection.execute(
        select(t.blobs.c.received_ms)
        .where(t.blobs.c.school_id == school_id)
        .order_by(t.blobs.c.blob_no.desc())
        .limit(1)
    ).scalar_one_or_none()
    size = connection.execute(
        select(func.max(t.ledger_entries.c.leaf_index)).where(t.ledger_entries.c.school_id == school_id)
    ).scalar_one()
    return Health(
        last_event_ms=last_event,
        ledger_size=0 if size is None else size + 1,
        checkpoint_size=checkpoint.size if checkpoint else None,
        checkpoint_ms=checkpoint.at_ms if checkpoint else None,
        generation=checkpoint.generation if checkpoint else 0,
        waiting_for_ledger=count(t.ledger_queue, t.ledger_queue.c.leaf_index.is_(None)),
        detection_behind=_detection_behind(connection, school_id),
        open_gaps=count(t.gaps, t.gaps.c.closed_ms.is_(None)),
        conflicts=count(t.conflicts),
        set_aside=count(t.set_aside),
        notices_failing=count(t.notices, t.notices.c.sent_ms.is_(None), t.notices.c.attempts > 0),
        disabled_rules=tuple(
            DisabledRule(rule_id=row.rule_id, since_ms=row.disabled_ms, because=row.disabled_because)
            for row in disabled
        ),
        unread=sum(unread(connection, school_id).values()),
    )


def _detection_behind(connection: Connection, school_id: str) -> int | None:
    """Events that detection has not looked at yet; None before it ran for the first time."""
    cursors, events = tables.detection_cursors, tables.events
    position = connection.execute(
        select(cursors.c.position).where(cursors.c.school_id == school_id, cursors.c.source == "events")
    ).scalar_one_or_none()
    if position is None:
        return None
    newest = connection.execute(select(func.max(events.c.event_no))).scalar_one()
    return max(0, int(newest or 0) - int(position))
