"""Reads and acts of people, in the access log and in the ledger, by one call and in one transaction."""

from __future__ import annotations

import hashlib
import os

from sqlalchemy import Connection, insert

from schoolkeeper_collector.ledger import queue
from schoolkeeper_collector.store.tables import access_log
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import encode


def record_access(
    connection: Connection,
    *,
    school_id: str,
    account_id: str,
    action: str,
    object_type: str,
    object_id: bytes,
    reason: str,
    now_ms: int,
) -> int:
    """Writes the access-log row and queues its audit statement; returns the row's number.

    The reason's own words stay out of the ledger, where nothing can be erased: it holds a salted commitment.
    """
    salt = os.urandom(16)
    statement = wire.AuditStatement(
        school_id=school_id,
        at_unix_ms=now_ms,
        actor=account_id,
        action=action,
        object=f"{object_type}:{object_id.hex()}",
        detail_commitment=hashlib.sha256(salt + reason.encode()).digest(),
    )
    entry = wire.LedgerEntry(type=wire.StatementType.AUDIT, statement=encode(statement))
    queue_no = queue.submit(connection, school_id, entry, now_ms)
    row = {
        "school_id": school_id,
        "at_ms": now_ms,
        "account_id": account_id,
        "action": action,
        "object_type": object_type,
        "object_id": object_id,
        "reason": reason,
        "queue_no": queue_no,
    }
    result = connection.execute(insert(access_log).values(row))
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])
