"""Reads a damaged database's tables past what is unreadable, and copies the small ones row by row, each one checked."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from itertools import product
from typing import Any

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import checks, schema, values
from schoolkeeper_agent.spool.contract import Owner
from schoolkeeper_proto import codec, wire

Row = tuple[Any, ...]
_BLIND_STEPS = 2_000
"""Numbers that are tried one by one behind an unreadable page before the rest is given up."""
_LARGEST = 1 << 40
"""No spool counts so far: a larger number is a flipped bit."""


def readable(old: sqlite3.Connection, query: str, *arguments: object) -> Iterator[Row]:
    """Rows until the first unreadable page."""
    try:
        yield from old.execute(query, arguments)
    except (sqlite3.Error, UnicodeDecodeError):
        return


def walk(old: sqlite3.Connection, table: str, key: str, columns: str) -> Iterator[Row]:
    """Every row that can be reached by its number, the number first; some may come twice."""
    query = f"SELECT {key}, {columns} FROM {table} NOT INDEXED"  # noqa: S608 - names from this package
    last, misses = -1, 0
    while misses < _BLIND_STEPS and last < _LARGEST:
        reached = last
        try:
            for row in old.execute(f"{query} WHERE {key} > ? ORDER BY {key}", (last,)):
                reached = max(reached, row[0])
                yield row
            if not misses and last < 0:
                return  # all of it in one go
            break
        except (sqlite3.Error, UnicodeDecodeError):
            last, misses = (reached, 0) if reached > last else (last + 1, misses + 1)
    yield from readable(old, f"{query} ORDER BY {key} DESC")


def copy_epochs(
    old: sqlite3.Connection, fresh: sqlite3.Connection, owner: Owner, now: Moment
) -> dict[bytes, int]:
    """Epoch -> its number. A damaged row is put together from the segments of its epoch and from who owns the spool."""
    sealed = {wire_segment.epoch for _, wire_segment in _segments(old)}
    kept = {
        int(name.removeprefix(checks.EPOCH_NOTE)): value
        for name, value in fresh.execute("SELECT name, value FROM notes")
        if name.startswith(checks.EPOCH_NOTE) and name.removeprefix(checks.EPOCH_NOTE).isdecimal()
    }
    columns = "epoch, school_id, device_id, machine_hash, because, opened_ms"
    rows = {row[0]: row[1:] for row in walk(old, "epochs", "epoch_no", columns) if 0 < row[0] < _LARGEST}
    found: dict[bytes, int] = {}
    # Those with a check value first: a row whose number is damaged must not stand in their place.
    for number in sorted(rows.keys() | kept.keys(), key=lambda n: (n not in kept, n)):
        epoch, school, device, machine, because, opened = rows.get(number, (None,) * 6)
        whose = _epoch(number, (epoch, school, device, machine), kept.get(number), sealed, owner)
        if whose is None or whose[0] in found:
            continue
        found[whose[0]] = number
        told = because if isinstance(because, str) else "not known: damaged on the disk"
        at = opened if isinstance(opened, int) else now.wall_ms
        fresh.execute(
            "INSERT INTO epochs (epoch_no, epoch, school_id, device_id, machine_hash, because, opened_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, whose[0], whose[1].school_id, whose[1].device_id, whose[1].machine_hash, told, at),
        )
        values.put_note(fresh, f"{checks.EPOCH_NOTE}{number}", checks.of_epoch(number, whose[0], whose[1]))
    return found


def _epoch(
    number: int, stored: Row, check: bytes | None, sealed: set[bytes], owner: Owner
) -> tuple[bytes, Owner] | None:
    epoch, school, device, machine = stored
    choices = product(
        [value for value in (epoch, *sorted(sealed)) if isinstance(value, bytes)],
        [value for value in (school, owner.school_id) if isinstance(value, str)],
        [value for value in (device, owner.device_id) if isinstance(value, bytes)],
        [value for value in (machine, owner.machine_hash) if isinstance(value, bytes)],
    )
    for one, school_id, device_id, machine_hash in choices:
        whose = Owner(school_id=school_id, device_id=device_id, machine_hash=machine_hash)
        if check == checks.of_epoch(number, one, whose):
            return one, whose
    # The check value itself may be what is damaged.
    if epoch in sealed and (school, device) == (owner.school_id, owner.device_id):
        return epoch, owner
    return None


def _segments(old: sqlite3.Connection) -> Iterator[tuple[Row, wire.Segment]]:
    for row in walk(old, "segments", "segment_no", "crc, encoded"):
        number, crc, encoded = row
        if 0 < number < _LARGEST and isinstance(encoded, bytes) and zlib.crc32(encoded) == crc:
            yield row, codec.decode(wire.Segment, encoded)


def copy_segments(
    old: sqlite3.Connection, fresh: sqlite3.Connection, epochs: dict[bytes, int]
) -> dict[bytes, tuple[int, int]]:
    """Segment -> its number and its epoch's."""
    found: dict[bytes, tuple[int, int]] = {}
    numbers: set[int] = set()
    for (number, crc, encoded), segment in _segments(old):
        if segment.segment_id in found or number in numbers or segment.epoch not in epochs:
            continue
        numbers.add(number)
        found[segment.segment_id] = number, epochs[segment.epoch]
        fresh.execute(
            "INSERT INTO segments (segment_no, segment_id, epoch_no, crc, encoded) VALUES (?, ?, ?, ?, ?)",
            (number, segment.segment_id, epochs[segment.epoch], crc, encoded),
        )
    return found


def heads(old: sqlite3.Connection, epochs: set[int]) -> dict[tuple[int, int], tuple[int, bytes] | None]:
    """(Epoch's number, lane's) -> where the lane ends and its chain; None where the row is damaged."""
    found: dict[tuple[int, int], tuple[int, bytes] | None] = {
        (epoch_no, lane): None for epoch_no in sorted(epochs) for lane in schema.LANE_OF
    }
    for direction in ("ASC", "DESC"):
        query = f"SELECT epoch_no, lane, next_sequence, chain FROM lanes ORDER BY epoch_no {direction}"  # noqa: S608
        for epoch_no, lane, next_sequence, stored in readable(old, query):
            if (epoch_no, lane) in found:
                try:
                    chain = checks.chain_of(epoch_no, lane, next_sequence, stored)
                except (TypeError, ValueError):
                    continue
                found[epoch_no, lane] = next_sequence, chain
    return found
