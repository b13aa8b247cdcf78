"""Rows of one group commit, gathered and then written table by table in few statements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, text, update

from schoolkeeper_collector.ingest.lanes import LaneKey, LaneState
from schoolkeeper_collector.ingest.packing import Pack
from schoolkeeper_collector.store import blobs
from schoolkeeper_collector.store.keystore import Keystore
from schoolkeeper_collector.store.tables import (
    collector_facts,
    conflicts,
    devices,
    evictions,
    gaps,
    intervals,
    set_aside,
)

Row = dict[str, Any]
FrameKey = tuple[LaneKey, int]

_EVENTS = "events", ("school_id", "device_no", "blob_no", "position", "kind", "event_ms", "severity")
_FRAMES = (
    "frames",
    (
        "school_id",
        "device_no",
        "epoch",
        "lane",
        "first_sequence",
        "count",
        "root",
        "previous",
        "chain",
        "leaf_index",
        "leaves",
    ),
)
_POSTURE = text(
    "INSERT INTO posture (school_id, device_no, check_name, result, since_ms, evaluated_ms, evidence, unknown_because)"
    " VALUES (:school_id, :device_no, :check_name, :result, :since_ms, :evaluated_ms, :evidence, :unknown_because)"
    " ON CONFLICT (school_id, device_no, check_name) DO UPDATE SET result = excluded.result,"
    " since_ms = excluded.since_ms, evaluated_ms = excluded.evaluated_ms, evidence = excluded.evidence,"
    " unknown_because = excluded.unknown_because WHERE excluded.evaluated_ms >= posture.evaluated_ms"
)
_GRANTS = text(
    "INSERT INTO grant_states (school_id, grant_id, device_no, state, reason, at_ms)"
    " SELECT :school_id, :grant_id, :device_no, :state, :reason, :at_ms"
    " WHERE EXISTS (SELECT 1 FROM grants WHERE school_id = :school_id AND grant_id = :grant_id)"
    " ON CONFLICT (school_id, grant_id, device_no) DO UPDATE SET state = excluded.state,"
    " reason = excluded.reason, at_ms = excluded.at_ms WHERE excluded.at_ms >= grant_states.at_ms"
)
"""Of grants that were published here only: a device cannot fill the table with ids of its own."""
_COUNTERS = (
    update(devices)
    .where(devices.c.device_no == bindparam("no"))
    .values(
        evicted_events=devices.c.evicted_events + bindparam("evicted"),
        set_aside_events=devices.c.set_aside_events + bindparam("aside"),
    )
)


@dataclass(slots=True)
class Changes:
    """Staged for one transaction of one school. ``touched`` lanes are compared with their tables at the flush."""

    school_id: str
    frames: list[tuple[object, ...]] = field(default_factory=list)
    frame_places: dict[FrameKey, tuple[int, bytes]] = field(default_factory=dict)
    set_aside: list[Row] = field(default_factory=list)
    conflicts: dict[tuple[FrameKey, bytes], Row] = field(default_factory=dict)
    evictions: list[Row] = field(default_factory=list)
    facts: list[Row] = field(default_factory=list)
    posture: list[Row] = field(default_factory=list)
    grant_states: list[Row] = field(default_factory=list)
    counters: dict[int, list[int]] = field(default_factory=dict)
    packs: list[tuple[int, int, Pack]] = field(default_factory=list)
    touched: dict[LaneKey, LaneState] = field(default_factory=dict)
    closed_because: dict[LaneKey, str] = field(default_factory=dict)
    events: int = 0

    def fact(self, kind: str, device_no: int | None, now_ms: int, **fields: object) -> None:
        self.facts.append(
            {
                "school_id": self.school_id,
                "device_no": device_no,
                "kind": kind,
                "at_ms": now_ms,
                "fields": json.dumps(fields, sort_keys=True),
            }
        )

    def count(self, device_no: int, *, evicted: int = 0, aside: int = 0) -> None:
        counter = self.counters.setdefault(device_no, [0, 0])
        counter[0] += evicted
        counter[1] += aside

    def flush(self, connection: Connection, keystore: Keystore, now_ms: int) -> None:
        for key, state in self.touched.items():
            self._flush_lane(connection, key, state, now_ms)
        bulk_insert(connection, *_FRAMES, self.frames)
        for table, rows in (
            (set_aside, self.set_aside),
            (conflicts, list(self.conflicts.values())),
            (evictions, self.evictions),
            (collector_facts, self.facts),
        ):
            _insert_rows(connection, table, rows)
        if self.posture:
            connection.execute(_POSTURE, self.posture)
        if self.grant_states:
            connection.execute(_GRANTS, self.grant_states)
        if self.counters:
            values = [{"no": no, "evicted": e, "aside": a} for no, (e, a) in self.counters.items()]
            connection.execute(_COUNTERS, values)
        self._flush_packs(connection, keystore, now_ms)

    def _flush_packs(self, connection: Connection, keystore: Keystore, now_ms: int) -> None:
        narrow: list[tuple[object, ...]] = []
        school = self.school_id
        keys: dict[str, tuple[bytes, bytes]] = {}
        for device_no, leaf_index, pack in self.packs:
            name = pack.retention.value
            if name not in keys:
                keys[name] = keystore.current_key(school, name, now_ms)
            key_id, key = keys[name]
            context = blobs.BlobContext(school, device_no, leaf_index, name)
            values = (
                school,
                device_no,
                leaf_index,
                name,
                key_id,
                now_ms,
                blobs.seal(pack.packed, key, context),
            )
            blob_no = _insert_blob(connection, values)
            narrow += [
                (school, device_no, blob_no, position, kind, event_ms, severity)
                for position, kind, event_ms, severity in pack.rows
            ]
        self.events = len(narrow)
        bulk_insert(connection, *_EVENTS, narrow)

    def _flush_lane(self, connection: Connection, key: LaneKey, state: LaneState, now_ms: int) -> None:
        where = {
            "school_id": self.school_id,
            "device_no": key.device_no,
            "epoch": key.epoch,
            "lane": key.lane.value,
        }
        spans = dict(state.held)
        for first in [first for first in state.written if first not in spans]:
            connection.execute(
                intervals.delete().where(*_equal(intervals, where), intervals.c.first_sequence == first)
            )
        for first, end in spans.items():
            held = state.written.get(first)
            if held is None:
                connection.execute(insert(intervals).values(**where, first_sequence=first, end_sequence=end))
            elif held != end:
                connection.execute(
                    update(intervals)
                    .where(*_equal(intervals, where), intervals.c.first_sequence == first)
                    .values(end_sequence=end)
                )
        state.written = spans
        if not state.plain:
            self._flush_gaps(connection, key, state, where, now_ms)

    def _flush_gaps(
        self, connection: Connection, key: LaneKey, state: LaneState, where: Row, now_ms: int
    ) -> None:
        """Closes gaps that are filled, shrinks those that are in part, opens new ones."""
        accounted = state.accounted()
        missing = set(accounted.missing(0, accounted.end))
        opened: dict[tuple[int, int], int] = {}
        for span, gap_no in [item for item in state.gaps.items() if item[0] not in missing]:
            del state.gaps[span]
            parts = sorted(part for part in missing if span[0] <= part[0] and part[1] <= span[1])
            row = connection.execute(gaps.select().where(gaps.c.gap_no == gap_no)).one()
            if parts:
                first, end = parts[0]
                values: Row = {"first_sequence": first, "end_sequence": end}
                state.gaps[parts[0]] = gap_no
                opened.update(dict.fromkeys(parts[1:], row.opened_ms))
            else:
                values = {"closed_ms": now_ms, "closed_by": self.closed_because.get(key, "filled")}
                self._gap_fact("gap.closed", key, span, now_ms, by=values["closed_by"])
            connection.execute(update(gaps).where(gaps.c.gap_no == gap_no).values(**values))
        for span in sorted(missing - set(state.gaps)):
            if span not in opened:
                self._gap_fact("gap.opened", key, span, now_ms)
            result = connection.execute(
                insert(gaps).values(
                    **where,
                    first_sequence=span[0],
                    end_sequence=span[1],
                    opened_ms=opened.get(span, now_ms),
                )
            )
            assert result.inserted_primary_key is not None
            state.gaps[span] = result.inserted_primary_key[0]

    def _gap_fact(self, kind: str, key: LaneKey, span: tuple[int, int], now_ms: int, **more: object) -> None:
        self.fact(
            kind,
            key.device_no,
            now_ms,
            lane=key.lane.value,
            epoch=key.epoch.hex(),
            first_sequence=span[0],
            end_sequence=span[1],
            events=span[1] - span[0],
            **more,
        )


def bulk_insert(
    connection: Connection, table: str, columns: Sequence[str], rows: list[tuple[object, ...]]
) -> None:
    """Many plain rows at once: COPY on PostgreSQL, the driver's executemany on SQLite."""
    if not rows:
        return
    names = ", ".join(f'"{column}"' for column in columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)  # noqa: S608 - own words
        return
    cursor: Any = connection.connection.cursor()
    try:
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    finally:
        cursor.close()


_BLOB_SQLITE = (
    "INSERT INTO blobs (school_id, device_no, leaf_index, retention, key_id, received_ms, data)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING blob_no"
)
_BLOB_POSTGRESQL = _BLOB_SQLITE.replace("?", "%s")


def _insert_blob(connection: Connection, values: tuple[object, ...]) -> int:
    statement = _BLOB_SQLITE if connection.dialect.name == "sqlite" else _BLOB_POSTGRESQL
    return int(connection.exec_driver_sql(statement, values).scalar_one())


def _insert_rows(connection: Connection, table: Table, rows: list[Row]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _equal(table: Table, values: Row) -> list[Any]:
    return [table.c[name] == value for name, value in values.items()]
