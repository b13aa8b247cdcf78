"""Snapshots that were made: kept as they are, dated and signed by the log, checked against it.

Posture is held as the latest result of each check, so that a past moment cannot be computed again: the bytes are kept.
The log holds an audit statement with their SHA-256 and the moment. What verifies is that the bytes still have this
hash, that the statement is a leaf of the log, and that a signed checkpoint covers that leaf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select

from schoolkeeper_collector.ledger import queue
from schoolkeeper_collector.ledger.sequencer import Head, read_head
from schoolkeeper_collector.ledger.tree import LedgerDamaged, Tree
from schoolkeeper_collector.reports.snapshot import snapshot_bytes
from schoolkeeper_collector.store.tables import ledger_entries, ledger_queue, posture_snapshots, schools
from schoolkeeper_proto import checkpoint, merkle, wire
from schoolkeeper_proto.codec import WireFormatError, decode, encode

MADE = "snapshot.made"
SCHEDULE = "schedule"
"""As ``made_by``: nobody asked for it, it was time."""


class SnapshotError(Exception):
    """A snapshot that was named and is not there; says how to find one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """``digest``: SHA-256 of its bytes. ``made_by``: an account, ``shell:NAME`` or ``SCHEDULE``."""

    at_ms: int
    digest: bytes
    size: int
    devices: int
    made_by: str


class State(StrEnum):
    """What can be said of a snapshot now."""

    VERIFIED = "verified"
    WAITING = "waiting"
    """Not under a signed checkpoint yet."""
    WRONG = "wrong"
    UNKNOWN = "unknown"
    """Without the log's public key nothing can be checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``because``: in words, for people who look into it. ``leaf``: where the log names it."""

    state: State
    because: str
    leaf: int | None = None


def make_snapshot(
    connection: Connection, school_id: str, now_ms: int, *, actor: str, stale_days: int
) -> Snapshot:
    """Inside one write transaction: the snapshot as of now and its statement. Again for the same moment: the same."""
    held = _find(connection, school_id, posture_snapshots.c.at_ms == now_ms)
    if held is not None:
        return held
    body, devices = snapshot_bytes(connection, school_id, now_ms, stale_days)
    digest = hashlib.sha256(body).digest()
    statement = wire.AuditStatement(
        school_id=school_id, at_unix_ms=now_ms, actor=actor, action=MADE, object=_named(digest)
    )
    entry = wire.LedgerEntry(type=wire.StatementType.AUDIT, statement=encode(statement))
    row = {
        "school_id": school_id,
        "at_ms": now_ms,
        "sha256": digest,
        "body": body,
        "devices": devices,
        "made_by": actor,
        "queue_no": queue.submit(connection, school_id, entry, now_ms),
    }
    connection.execute(insert(posture_snapshots).values(row))
    return Snapshot(at_ms=now_ms, digest=digest, size=len(body), devices=devices, made_by=actor)


def list_snapshots(connection: Connection, school_id: str) -> tuple[Snapshot, ...]:
    """The newest first, without their bytes."""
    table = posture_snapshots.c
    query = _listed().where(table.school_id == school_id).order_by(table.at_ms.desc())
    return tuple(_snapshot(row) for row in connection.execute(query))


def last_scheduled_ms(connection: Connection, school_id: str) -> int | None:
    """When the newest was made that nobody asked for."""
    table = posture_snapshots.c
    of_schedule = table.school_id == school_id, table.made_by == SCHEDULE
    found = connection.execute(select(func.max(table.at_ms)).where(*of_schedule)).scalar()
    return None if found is None else int(found)


def find_snapshot(connection: Connection, school_id: str, text: str) -> Snapshot:
    """By the beginning of its hash (4 digits at least), or ``latest``. Raises ``SnapshotError``."""
    held = list_snapshots(connection, school_id)
    wanted = text.strip().lower()
    found = [one for one in held if len(wanted) >= 4 and one.digest.hex().startswith(wanted)]
    if wanted == "latest":
        found = list(held[:1])
    # Two of the same bytes cannot be: the moment stands in them.
    if len(found) != 1:
        kind = "no snapshot matches" if not found else f"{len(found)} snapshots match"
        raise SnapshotError(
            f"{kind} {text!r}: `schoolkeeper-collector snapshot list` names them; `latest` is the newest"
        )
    return found[0]


def body_of(connection: Connection, school_id: str, at_ms: int) -> bytes:
    """Its bytes as they are kept. Raises ``SnapshotError``."""
    where = posture_snapshots.c.school_id == school_id, posture_snapshots.c.at_ms == at_ms
    found = connection.execute(select(posture_snapshots.c.body).where(*where)).scalar()
    if found is None:
        raise SnapshotError("this snapshot is not kept here")
    return bytes(found)


class Verifier:
    """Checks snapshots against one signed head of the log. ``ledger_keys``: raw keys that may have signed it."""

    def __init__(self, connection: Connection, school_id: str, ledger_keys: Sequence[bytes]) -> None:
        self._connection = connection
        self._school_id = school_id
        self._keys = tuple(ledger_keys)
        generation = connection.execute(
            select(schools.c.generation).where(schools.c.school_id == school_id)
        ).scalar_one()
        self._head: Head | None = read_head(connection, school_id, generation)
        self._tree: Tree | None = None

    def check(self, snapshot: Snapshot, body: bytes | None = None) -> Verdict:
        """``body``: bytes from elsewhere that claim to be it; without, those that are kept."""
        if not self._keys:
            return Verdict(state=State.UNKNOWN, because="the log's public key is not at hand here")
        held = body if body is not None else body_of(self._connection, self._school_id, snapshot.at_ms)
        if hashlib.sha256(held).digest() != snapshot.digest:
            return _wrong("its bytes do not have the hash that was written down when it was made")
        try:
            return self._proved(snapshot)
        except (ValueError, LedgerDamaged, WireFormatError) as error:
            return _wrong(f"the log does not prove it: {error}; run `schoolkeeper-collector fsck`")

    def _proved(self, snapshot: Snapshot) -> Verdict:
        queued = self._queued(snapshot)
        if queued is None:
            return _wrong("the statement about it is not in the log's queue")
        leaf: int | None = queued.leaf_index
        head = self._head
        if leaf is None or head is None or head.size <= leaf:
            return Verdict(
                state=State.WAITING,
                because="no signed checkpoint covers it yet: a running collector signs the next within seconds",
            )
        entry = self._entry(leaf)
        if entry is None or not _states(entry, self._school_id, snapshot):
            return _wrong(f"entry {leaf} of the log does not state it")
        point = checkpoint.verify(head.note, self._keys)
        if self._tree is None:
            self._tree = Tree.load(self._connection, self._school_id, head.size)
        proof = self._tree.inclusion(self._connection, leaf)
        right_log = point.origin == checkpoint.origin_of(self._school_id, head.generation)
        if not right_log or not merkle.verify_inclusion(
            merkle.leaf_hash(entry), leaf, point.size, list(proof.path), point.root
        ):
            return _wrong(f"entry {leaf} is not under the signed checkpoint of {head.size} entries")
        return Verdict(
            state=State.VERIFIED,
            because=f"entry {leaf} of the log, under the signed checkpoint of {point.size} entries",
            leaf=leaf,
        )

    def _queued(self, snapshot: Snapshot) -> Row[tuple[int | None]] | None:
        table = posture_snapshots.c
        joined = posture_snapshots.join(ledger_queue, ledger_queue.c.queue_no == table.queue_no)
        where = table.school_id == self._school_id, table.at_ms == snapshot.at_ms
        query = select(ledger_queue.c.leaf_index).select_from(joined).where(*where)
        return self._connection.execute(query).first()

    def _entry(self, leaf: int) -> bytes | None:
        where = ledger_entries.c.school_id == self._school_id, ledger_entries.c.leaf_index == leaf
        found = self._connection.execute(select(ledger_entries.c.entry).where(*where)).scalar()
        return None if found is None else bytes(found)


def _states(entry: bytes, school_id: str, snapshot: Snapshot) -> bool:
    said = decode(wire.AuditStatement, decode(wire.LedgerEntry, entry).statement)
    return (said.school_id, said.at_unix_ms, said.action, said.object) == (
        school_id,
        snapshot.at_ms,
        MADE,
        _named(snapshot.digest),
    )


def _named(digest: bytes) -> str:
    return f"snapshot:{digest.hex()}"


def _wrong(because: str) -> Verdict:
    return Verdict(state=State.WRONG, because=because)


def _listed() -> Select[Any]:
    table = posture_snapshots.c
    return select(
        table.at_ms, table.sha256, func.length(table.body).label("size"), table.devices, table.made_by
    )


def _find(connection: Connection, school_id: str, condition: ColumnElement[bool]) -> Snapshot | None:
    row = connection.execute(_listed().where(posture_snapshots.c.school_id == school_id, condition)).first()
    return None if row is None else _snapshot(row)


def _snapshot(row: Row[Any]) -> Snapshot:
    return Snapshot(
        at_ms=row.at_ms, digest=bytes(row.sha256), size=row.size, devices=row.devices, made_by=row.made_by
    )
