"""Epochs: one life of a spool each. Several may wait to be sent; only the latest is written to."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import checks, schema, values
from schoolkeeper_agent.spool.contract import Owner
from schoolkeeper_proto.wire import CHAIN_START, LANES


class NoEpochError(LookupError):
    """The spool is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    number: int
    epoch: bytes
    owner: Owner
    because: str


def current(database: sqlite3.Connection) -> EpochRow:
    """The latest epoch; raises ``NoEpochError`` in a spool that has none yet."""
    (number,) = database.execute("SELECT max(epoch_no) FROM epochs").fetchone()
    if number is None:
        raise NoEpochError
    return numbered(database, number)


def numbered(database: sqlite3.Connection, number: int) -> EpochRow:
    """The epoch of that number; raises ``ValueError`` or ``TypeError`` when it is not as it was written."""
    epoch, school_id, device_id, machine_hash, because, check = database.execute(
        "SELECT e.epoch, e.school_id, e.device_id, e.machine_hash, e.because, n.value FROM epochs e"
        " LEFT JOIN notes n ON n.name = ? WHERE e.epoch_no = ?",
        (f"{checks.EPOCH_NOTE}{number}", number),
    ).fetchone()
    owner = Owner(
        school_id=school_id, device_id=checks.blob(device_id), machine_hash=checks.blob(machine_hash)
    )
    if check != checks.of_epoch(number, checks.blob(epoch), owner):
        raise ValueError(f"epoch {number} is not as it was written")
    return EpochRow(number=number, epoch=epoch, owner=owner, because=str(because))


def open_new(database: sqlite3.Connection, owner: Owner, because: str, now: Moment) -> None:
    """Starts an epoch of 128 random bits with fresh lanes, within the caller's transaction."""
    epoch = os.urandom(16)
    cursor = database.execute(
        "INSERT INTO epochs (epoch, school_id, device_id, machine_hash, because, opened_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (epoch, owner.school_id, owner.device_id, owner.machine_hash, because, now.wall_ms),
    )
    number = int(cursor.lastrowid or 0)
    values.put_note(database, f"{checks.EPOCH_NOTE}{number}", checks.of_epoch(number, epoch, owner))
    lanes = [schema.LANE_NUMBER[lane] for lane in LANES]
    database.executemany(
        "INSERT INTO lanes (epoch_no, lane, next_sequence, chain) VALUES (?, ?, 0, ?)",
        [(number, lane, checks.head(number, lane, 0, CHAIN_START)) for lane in lanes],
    )
    # Epochs that nothing refers to any more, but the newest few, which cursors still tell of.
    database.execute(
        "DELETE FROM epochs WHERE epoch_no < (SELECT max(epoch_no) FROM epochs) - 8"
        " AND epoch_no NOT IN (SELECT epoch_no FROM frames)"
        " AND epoch_no NOT IN (SELECT epoch_no FROM evictions WHERE reported <= 0)"
    )
    database.execute("DELETE FROM lanes WHERE epoch_no NOT IN (SELECT epoch_no FROM epochs)")
    database.execute(
        "DELETE FROM notes WHERE name GLOB ? || '*' AND name NOT IN (SELECT ? || epoch_no FROM epochs)",
        (checks.EPOCH_NOTE, checks.EPOCH_NOTE),
    )


def reason_for_new(before: Owner, owner: Owner) -> str:
    """Why frames must not go on in the old epoch; empty when they may."""
    if before.school_id != owner.school_id:
        return f"enrolled with another school, {owner.school_id!r} after {before.school_id!r}"
    if before.device_id != owner.device_id:
        return "enrolled again as another device"
    if before.machine_hash and owner.machine_hash and before.machine_hash != owner.machine_hash:
        return "the machine's identity changed: a copied spool, a cloned disk or another mainboard"
    return ""
