"""Cursors and the state beside them: where detection stands in each of its sources."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from schoolkeeper_collector.store.tables import detection_cursors, rule_states


def read_cursor(connection: Connection, school_id: str, source: str) -> tuple[int, bytes]:
    """(position, state); (0, b"") for a source that was never read."""
    row = connection.execute(
        select(detection_cursors.c.position, detection_cursors.c.state).where(
            detection_cursors.c.school_id == school_id, detection_cursors.c.source == source
        )
    ).first()
    return (0, b"") if row is None else (row.position, bytes(row.state))


def write_cursor(
    connection: Connection, school_id: str, source: str, position: int, state: bytes = b""
) -> None:
    changed = connection.execute(
        update(detection_cursors)
        .where(detection_cursors.c.school_id == school_id, detection_cursors.c.source == source)
        .values(position=position, state=state)
    )
    if not changed.rowcount:
        row = {"school_id": school_id, "source": source, "position": position, "state": state}
        connection.execute(insert(detection_cursors).values(row))


def disabled_rules(connection: Connection, school_id: str) -> dict[tuple[str, str], str]:
    """(rule, version) -> why it is disabled. A new version of a rule gets a new chance."""
    query = select(rule_states).where(
        rule_states.c.school_id == school_id, rule_states.c.disabled_ms.is_not(None)
    )
    return {(row.rule_id, row.version): row.disabled_because for row in connection.execute(query)}


def disable_rule(
    connection: Connection, school_id: str, rule_id: str, version: str, because: str, now_ms: int
) -> None:
    values = {"version": version, "disabled_ms": now_ms, "disabled_because": because[:500]}
    changed = connection.execute(
        update(rule_states)
        .where(rule_states.c.school_id == school_id, rule_states.c.rule_id == rule_id)
        .values(values)
    )
    if not changed.rowcount:
        connection.execute(insert(rule_states).values(school_id=school_id, rule_id=rule_id, **values))


def enable_rule(connection: Connection, school_id: str, rule_id: str) -> bool:
    """Gives a disabled rule another chance; False if it was not disabled."""
    changed = connection.execute(
        update(rule_states)
        .where(rule_states.c.school_id == school_id, rule_states.c.rule_id == rule_id)
        .where(rule_states.c.disabled_ms.is_not(None))
        .values(disabled_ms=None, disabled_because="")
    )
    return bool(changed.rowcount)
