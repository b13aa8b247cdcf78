"""What was published, in the ledger: so that showing two devices two policies, keys or maps leaves a trace or a lie."""

from __future__ import annotations

from sqlalchemy import Connection

from schoolkeeper_collector.ledger import queue
from schoolkeeper_collector.school.repository import Published
from schoolkeeper_policies.officer.record import TARGET as CHANGE_LOG
from schoolkeeper_proto import trust, wire
from schoolkeeper_proto.codec import encode


def note_published(
    connection: Connection, school_id: str, before: Published | None, after: Published, now_ms: int
) -> int:
    """Queues an entry for each bundle, key statement and group map that is new; returns how many."""
    entries = [
        wire.LedgerEntry(type=wire.StatementType.POLICY, statement=encode(statement))
        for statement in _policies(school_id, before, after, now_ms)
    ]
    if before is None or before.key_statement != after.key_statement:
        said = wire.KeyStatementEntry(
            school_id=school_id, key_statement_hash=after.key_statement_hash, at_unix_ms=now_ms
        )
        entries.append(wire.LedgerEntry(type=wire.StatementType.KEY, statement=encode(said)))
    for entry in entries:
        queue.submit(connection, school_id, entry, now_ms)
    return len(entries)


def _policies(
    school_id: str, before: Published | None, after: Published, now_ms: int
) -> list[wire.PolicyStatement]:
    held = before.bundles if before is not None else {}
    found = [
        (trust.bundle_target(group), version, sha256)
        for group, (sha256, version) in sorted(after.bundles.items())
        if held.get(group) != (sha256, version)
    ]
    if before is None or before.groups_version != after.groups_version:
        found.append((trust.GROUPS_TARGET, after.groups_version, after.group_map_sha256))
    if before is not None and before.rollout_version != after.rollout_version:
        found.append((trust.STAGE_TARGET, after.rollout_version, after.stage_sha256))
    if before is not None and before.change_log_sha256 != after.change_log_sha256:
        # The entry names the one before by its hash: with this line in the ledger, the whole chain is.
        found.append((CHANGE_LOG, after.targets_version, after.change_log_sha256))
    return [
        wire.PolicyStatement(
            school_id=school_id, name=name, version=version, sha256=sha256, at_unix_ms=now_ms
        )
        for name, version, sha256 in found
    ]
