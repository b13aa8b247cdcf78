"""What a device says that it dropped, and what becomes of its word when it sends it after all."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from schoolkeeper_collector.ingest.device_words import clean
from schoolkeeper_collector.ingest.where import Where
from schoolkeeper_collector.store.tables import evictions
from schoolkeeper_proto import wire


def evict(where: Where, record: wire.EvictionRecord, leaf_index: int) -> None:
    """Takes the device's word for what it dropped, but only where nothing is known; repeated words count once."""
    state = where.state
    first, end = record.first_sequence, record.first_sequence + record.events
    parts = state.accounted().missing(first, end)
    if not parts:
        return
    if parts == [(first, end)]:
        where.check_chain(first, end, record.chain_before, record.chain_after)
    for part_first, part_end in parts:
        whole = (part_first, part_end) == (first, end)
        where.changes.evictions.append(
            where.row(part_first)
            | {
                "events": part_end - part_first,
                "frames": record.frames if whole else 0,
                "reason": clean(record.reason),
                "evicted_ms": min(record.evicted_at_unix_ms, (1 << 62) - 1),
                "chain_before": record.chain_before if part_first == first else b"",
                "chain_after": record.chain_after if part_end == end else b"",
                "leaf_index": leaf_index,
            }
        )
        state.evicted.add(part_first, part_end)
    state.remember_tail(end, record.chain_after)
    events = sum(part_end - part_first for part_first, part_end in parts)
    where.changes.count(where.key.device_no, evicted=events)
    where.changes.touched[where.key] = state
    where.changes.closed_because.setdefault(where.key, "evicted")
    where.fact("device.evicted", first, end, reason=clean(record.reason, 200), counted=events)


def no_longer_evicted(where: Where, first: int, end: int) -> None:
    """The device said it dropped this and sends it after all: it is stored, and no longer counted as dropped."""
    if not where.state.evicted.overlaps(first, end):
        return
    where.changes.evictions = _insert_now(where.connection, where.changes.evictions)
    before = where.state.evicted.total
    table = evictions.c
    lane = where.lane(table)
    overlapping = (*lane, table.first_sequence < end, table.first_sequence + table.events > first)
    for row in where.connection.execute(select(evictions).where(*overlapping)).all():
        row_end = row.first_sequence + row.events
        where.connection.execute(evictions.delete().where(*lane, table.first_sequence == row.first_sequence))
        values = dict(row._asdict())
        for part_first, part_end in (
            (row.first_sequence, min(first, row_end)),
            (max(end, row.first_sequence), row_end),
        ):
            if part_first < part_end:
                where.connection.execute(
                    insert(evictions).values(
                        values
                        | {"first_sequence": part_first, "events": part_end - part_first, "frames": 0}
                        | {"chain_before": row.chain_before if part_first == row.first_sequence else b""}
                        | {"chain_after": row.chain_after if part_end == row_end else b""}
                    )
                )
    where.state.evicted.remove(first, end)
    where.changes.count(where.key.device_no, evicted=where.state.evicted.total - before)


def _insert_now(connection: Connection, rows: list[dict[str, object]]) -> list[dict[str, object]]:
    if rows:
        connection.execute(insert(evictions), rows)
    return []
