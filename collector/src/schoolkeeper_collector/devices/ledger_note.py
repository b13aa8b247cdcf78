"""One line in the ledger about a device or token, queued in the transaction that makes it true."""

from __future__ import annotations

from sqlalchemy import Connection

from schoolkeeper_collector.ledger import queue
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import encode


def note(
    connection: Connection,
    school_id: str,
    actor: str,
    action: str,
    about: str,
    now_ms: int,
    reason: str = "",
) -> None:
    """``about`` is ``device:<hex>`` or ``token:<id>``; nothing in it is personal."""
    statement = wire.AuditStatement(
        school_id=school_id, at_unix_ms=now_ms, actor=actor, action=action, object=about, reason=reason
    )
    entry = wire.LedgerEntry(type=wire.StatementType.AUDIT, statement=encode(statement))
    queue.submit(connection, school_id, entry, now_ms)
