"""The door to the ledger for everyone but the sequencer: hand in an entry with the change that it states.

The sequencer appends queued entries in the order of their numbers with its next commit; ``leaf_index`` of the row
says where an entry landed.
"""

from __future__ import annotations

from sqlalchemy import Connection, insert

from schoolkeeper_collector.store.tables import ledger_queue
from schoolkeeper_proto import statements, wire


def submit(connection: Connection, school_id: str, entry: wire.LedgerEntry, now_ms: int) -> int:
    """Queues an entry inside the caller's write transaction; returns its queue number."""
    row = {
        "school_id": school_id,
        "type": entry.type.value,
        "entry": statements.leaf_bytes(entry),
        "submitted_ms": now_ms,
    }
    result = connection.execute(insert(ledger_queue).values(row))
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])
