"""``fsck`` of lanes: frames against intervals, chains and gaps; nothing stored twice, nothing unaccounted for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, select

from schoolkeeper_collector.ledger.fsck_report import Finding
from schoolkeeper_collector.store.intervals import IntervalSet
from schoolkeeper_collector.store.tables import (
    collector_facts,
    devices,
    evictions,
    frames,
    gaps,
    intervals,
    set_aside,
)
from schoolkeeper_proto.wire import CHAIN_START

_Key = tuple[bytes, str]


@dataclass(slots=True)
class _Lane:
    held: IntervalSet = field(default_factory=IntervalSet)
    framed: IntervalSet = field(default_factory=IntervalSet)
    evicted: IntervalSet = field(default_factory=IntervalSet)
    aside: IntervalSet = field(default_factory=IntervalSet)
    gaps: set[tuple[int, int]] = field(default_factory=set)
    chains: dict[int, bytes] = field(default_factory=lambda: {0: CHAIN_START})
    builds: dict[int, bytes] = field(default_factory=dict)
    twice: list[int] = field(default_factory=list)


def check_lanes(connection: Connection, school_id: str) -> Iterator[Finding]:
    """One device at a time."""
    numbers = select(devices.c.device_no, devices.c.evicted_events, devices.c.set_aside_events)
    for row in connection.execute(numbers.where(devices.c.school_id == school_id)).all():
        lanes = _load(connection, school_id, row.device_no)
        known = _known_breaks(connection, school_id, row.device_no)
        for (epoch, lane), found in lanes.items():
            place = f"{lane} of epoch {epoch.hex()[:8]} of device {row.device_no}"
            yield from _check(place, found)
            for first in _breaks(found):
                if (epoch.hex(), lane, first) not in known:
                    yield Finding("frames", place, f"the chain breaks at {first}, and no fact says so")
        evicted = sum(lane.evicted.total for lane in lanes.values())
        aside = sum(lane.aside.total for lane in lanes.values())
        if (row.evicted_events, row.set_aside_events) != (evicted, aside):
            said = f"counts {row.evicted_events} evicted and {row.set_aside_events} set aside"
            yield Finding(
                "devices", f"device {row.device_no}", f"{said}; the tables hold {evicted} and {aside}"
            )


def _load(connection: Connection, school_id: str, device_no: int) -> dict[_Key, _Lane]:
    lanes: dict[_Key, _Lane] = {}

    def rows(table: Table, *more: Any) -> Iterator[tuple[_Lane, Any]]:
        where = (table.c.school_id == school_id, table.c.device_no == device_no)
        for row in connection.execute(select(table, *more).where(*where)):
            yield lanes.setdefault((bytes(row.epoch), row.lane), _Lane()), row

    for lane, row in rows(intervals):
        lane.held.add(row.first_sequence, row.end_sequence)
    for lane, row in rows(frames, frames.c.count.label("events")):
        end = row.first_sequence + row.events
        if lane.framed.overlaps(row.first_sequence, end):
            lane.twice.append(row.first_sequence)
        lane.framed.add(row.first_sequence, end)
        lane.chains[end], lane.builds[row.first_sequence] = bytes(row.chain), bytes(row.previous)
    for lane, row in rows(evictions):
        end = row.first_sequence + row.events
        lane.evicted.add(row.first_sequence, end)
        if row.chain_after:
            lane.chains[end] = bytes(row.chain_after)
        if row.chain_before:
            lane.builds[row.first_sequence] = bytes(row.chain_before)
    for lane, row in rows(set_aside):
        lane.aside.add(row.first_sequence, row.first_sequence + row.events)
    for lane, row in rows(gaps):
        if row.closed_ms is None:
            lane.gaps.add((row.first_sequence, row.end_sequence))
    return lanes


def _check(place: str, lane: _Lane) -> Iterator[Finding]:
    for first in lane.twice:
        yield Finding("frames", place, f"the frame at {first} overlaps another: events are stored twice")
    if lane.held != lane.framed:
        yield Finding(
            "intervals", place, f"says {list(lane.held)[:5]}, the frames say {list(lane.framed)[:5]}"
        )
    for name, one, other in (
        ("evictions", lane.evicted, lane.framed),
        ("set_aside", lane.aside, lane.framed),
        ("evictions", lane.evicted, lane.aside),
    ):
        for first, end in one:
            if other.overlaps(first, end):
                yield Finding(name, place, f"{first} to {end} is counted twice")
    accounted = lane.framed.union(lane.evicted).union(lane.aside)
    missing = set(accounted.missing(0, accounted.end))
    if missing != lane.gaps:
        yield Finding("gaps", place, f"says {sorted(lane.gaps)[:5]}, missing are {sorted(missing)[:5]}")


def _breaks(lane: _Lane) -> list[int]:
    """Where what follows does not build on what lies before it."""
    return [
        first
        for first, before in lane.builds.items()
        if first in lane.chains and lane.chains[first] != before
    ]


def _known_breaks(connection: Connection, school_id: str, device_no: int) -> set[tuple[str, str, int]]:
    query = select(collector_facts.c.fields).where(
        collector_facts.c.school_id == school_id,
        collector_facts.c.device_no == device_no,
        collector_facts.c.kind == "chain.broken",
    )
    found: set[tuple[str, str, int]] = set()
    for row in connection.execute(query):
        fields = json.loads(row.fields)
        for at in (fields["first_sequence"], fields["end_sequence"]):
            found.add((fields["epoch"], fields["lane"], at))
    return found
