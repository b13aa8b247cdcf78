"""Epochs: one life of a spool each. Several may wait to be sent; only the latest is written to."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import schema
from schoolkeeper_agent.spool.contract import Owner
from schoolkeeper_proto.wire import CHAIN_START, LANES


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    number: int
    epoch: bytes
    owner: Owner
    because: str


def current(database: sqlite3.Connection) -> EpochRow:
    """The latest epoch; raises ``LookupError`` in a spool that has none yet."""
    row = database.execute(
        "SELECT epoch_no, epoch, school_id, device_id, machine_hash, because FROM epochs"
        " ORDER BY epoch_no DESC LIMIT 1"
    ).fetchone()
    if row is None:
        raise LookupError("the spool has no epoch yet")
    number, epoch, school_id, device_id, machine_hash, because = row
    owner = Owner(school_id=school_id, device_id=bytes(device_id), machine_hash=bytes(machine_hash))
    return EpochRow(number=number, epoch=bytes(epoch), owner=owner, because=because)


def open_new(database: sqlite3.Connection, owner: Owner, because: str, now: Moment) -> None:
    """Starts an epoch of 128 random bits with fresh lanes, within the caller's transaction."""
    cursor = database.execute(
        "INSERT INTO epochs (epoch, school_id, device_id, machine_hash, because, opened_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (os.urandom(16), owner.school_id, owner.device_id, owner.machine_hash, because, now.wall_ms),
    )
    database.executemany(
        "INSERT INTO lanes (epoch_no, lane, next_sequence, chain) VALUES (?, ?, 0, ?)",
        [(cursor.lastrowid, schema.LANE_NUMBER[lane], CHAIN_START) for lane in LANES],
    )
    # Epochs that nothing refers to any more, but the newest few, which cursors still tell of.
    database.execute(
        "DELETE FROM epochs WHERE epoch_no < (SELECT max(epoch_no) FROM epochs) - 8"
        " AND epoch_no NOT IN (SELECT epoch_no FROM frames)"
        " AND epoch_no NOT IN (SELECT epoch_no FROM evictions WHERE reported <= 0)"
    )
    database.execute("DELETE FROM lanes WHERE epoch_no NOT IN (SELECT epoch_no FROM epochs)")


def reason_for_new(before: Owner, owner: Owner) -> str:
    """Why frames must not go on in the old epoch; empty when they may."""
    if before.school_id != owner.school_id:
        return f"enrolled with another school, {owner.school_id!r} after {before.school_id!r}"
    if before.device_id != owner.device_id:
        return "enrolled again as another device"
    if before.machine_hash and owner.machine_hash and before.machine_hash != owner.machine_hash:
        return "the machine's identity changed: a copied spool, a cloned disk or another mainboard"
    return ""
