"""A new generation of the ledger after a restore from an older backup, by the word of two officers.

The restored tree is kept and goes on; only the origin of its checkpoints changes, so that no device takes the new
history for the old one. The recovery statement is the first entry of the new generation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, select, update

from schoolkeeper_collector.ledger.sequencer import Sequencer
from schoolkeeper_collector.ledger.tree import Tree
from schoolkeeper_collector.store.tables import collector_facts, ledger_entries, schools
from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.codec import WireFormatError, decode

LOST_FACT = "ledger.history_lost"
OFFICERS_NEEDED = 2


class RecoveryRefused(Exception):
    """No new generation was opened; says why and what is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """Where the ledger stands after the restore."""

    generation: int
    size: int
    root: bytes
    highest_known_checkpoint: str


def restored_state(connection: Connection, school_id: str) -> Restored:
    generation = connection.execute(
        select(schools.c.generation).where(schools.c.school_id == school_id)
    ).scalar_one()
    tree = Tree.load(connection, school_id)
    return Restored(
        generation=generation,
        size=tree.size,
        root=tree.root(),
        highest_known_checkpoint=_highest_seen(connection, school_id),
    )


def draft(connection: Connection, school_id: str, reason: str, now_ms: int) -> wire.RecoveryStatement:
    """The statement that two officers are asked to sign."""
    restored = restored_state(connection, school_id)
    return wire.RecoveryStatement(
        school_id=school_id,
        old_generation=restored.generation,
        new_generation=restored.generation + 1,
        restored_size=restored.size,
        restored_root=restored.root,
        highest_known_checkpoint=restored.highest_known_checkpoint,
        reason=reason,
        at_unix_ms=now_ms,
    )


def open_generation(
    connection: Connection,
    sequencer: Sequencer,
    school_id: str,
    entry: wire.LedgerEntry,
    officers: Mapping[bytes, bytes],
    now_ms: int,
) -> wire.RecoveryStatement:
    """Appends a signed recovery entry in the caller's transaction. ``officers``: key id -> raw Ed25519 key.

    The caller has taken office with ``sequencer`` and calls its ``committed`` afterwards.

    Raises ``RecoveryRefused`` unless two different officers signed it and it fits the ledger as it stands.
    """
    statement = verify_recovery(entry, school_id, officers)
    restored = restored_state(connection, school_id)
    fits = (statement.old_generation, statement.new_generation) == (
        restored.generation,
        restored.generation + 1,
    )
    if not fits or (statement.restored_size, statement.restored_root) != (restored.size, restored.root):
        raise RecoveryRefused(
            f"the statement is for generation {statement.old_generation} with {statement.restored_size} entries; the "
            f"ledger is at generation {restored.generation} with {restored.size}: draft it anew and sign again"
        )
    where = schools.c.school_id == school_id
    connection.execute(update(schools).where(where).values(generation=statement.new_generation))
    # First in its generation; what waits in the queue comes after it.
    sequencer.forget()
    sequencer.begin(connection)
    sequencer.append(statements.leaf_bytes(entry), entry.type.value, now_ms)
    sequencer.finish(connection, now_ms)
    return statement


def verify_recovery(
    entry: wire.LedgerEntry, school_id: str, officers: Mapping[bytes, bytes]
) -> wire.RecoveryStatement:
    """The statement, if two different officers' keys signed it. Raises ``RecoveryRefused``."""
    try:
        statement = decode(wire.RecoveryStatement, entry.statement)
    except WireFormatError as error:
        raise RecoveryRefused(f"not a recovery statement: {error}") from error
    if entry.type is not wire.StatementType.RECOVERY or statement.school_id != school_id:
        raise RecoveryRefused(f"not a recovery statement of {school_id}")
    signers: set[bytes] = set()
    for signature in entry.signatures:
        raw = officers.get(signature.key_id)
        if raw is None:
            continue
        try:
            key = Ed25519PublicKey.from_public_bytes(raw)
            statements.verify(statements.RECOVERY, entry.statement, signature.signature, key)
        except statements.StatementError as error:
            raise RecoveryRefused(str(error)) from error
        signers.add(raw)
    if len(signers) < OFFICERS_NEEDED:
        raise RecoveryRefused(
            f"{len(signers)} of {OFFICERS_NEEDED} officers have signed: bring the file to another officer"
        )
    return statement


def newest_recovery(connection: Connection, school_id: str) -> bytes | None:
    """The entry that opened the present generation."""
    table = ledger_entries.c
    found = connection.execute(
        select(table.entry)
        .where(table.school_id == school_id, table.type == wire.StatementType.RECOVERY.value)
        .order_by(table.leaf_index.desc())
        .limit(1)
    ).scalar()
    return None if found is None else bytes(found)


def _highest_seen(connection: Connection, school_id: str) -> str:
    """The largest checkpoint beyond our ledger that a device has shown, as a signed note."""
    rows = connection.execute(
        select(collector_facts.c.fields).where(
            collector_facts.c.school_id == school_id, collector_facts.c.kind == LOST_FACT
        )
    )
    seen = [json.loads(row.fields) for row in rows]
    return str(max(seen, key=lambda fields: fields["size"])["note"]) if seen else ""
