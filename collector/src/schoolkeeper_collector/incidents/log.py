"""Case files: append-only entries, encrypted under the case's own key, each committed to the ledger.

An entry's commitment is SHA-256 over a random salt and the text; salt and text lie encrypted beside it. Erasing the
case's key leaves a commitment that gives nothing away. An incident's entries are incident statements, an alert's are
audit statements; both go through the ledger's queue, in the transaction of the change that they state.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, Row, func, insert, select

from schoolkeeper_collector.incidents.model import CaseEntry, ObjectType
from schoolkeeper_collector.ledger import queue
from schoolkeeper_collector.store.keystore import Keystore
from schoolkeeper_collector.store.tables import case_entries, ledger_queue
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import encode

PURPOSE: Final = "case"
MACHINE: Final = "schoolkeeper"
"""The actor of what the machine wrote."""
_SALT: Final = 16
_NONCE: Final = 12


class CaseLog:
    """Writes and reads the entries of one school's alerts and incidents."""

    def __init__(self, school_id: str, keystore: Keystore) -> None:
        self._school_id = school_id
        self._keystore = keystore

    def new_key(self, now_ms: int) -> bytes:
        """The id of a fresh key for one case; durable before anything is encrypted under it."""
        key_id, _ = self._keystore.new_key(PURPOSE, self._school_id, now_ms)
        return key_id

    def append(
        self,
        connection: Connection,
        object_type: ObjectType,
        object_id: bytes,
        *,
        actor: str,
        action: str,
        text: str,
        now_ms: int,
        key_id: bytes | None = None,
    ) -> int:
        """Adds an entry in the caller's transaction and queues its commitment; returns its number in the file."""
        held_key, number = self._place(connection, object_type, object_id)
        key_id = held_key or key_id or self.new_key(now_ms)
        key = self._keystore.key(key_id)
        if key is None:
            raise LookupError(
                f"the key of {object_type.value} {object_id.hex()} was erased: nothing can be added"
            )
        plain = os.urandom(_SALT) + text.encode()
        commitment = hashlib.sha256(plain).digest()
        nonce = os.urandom(_NONCE)
        bound = self._bound(object_type, object_id, number)
        entry = self._statement(object_type, object_id, number, actor, action, commitment, now_ms)
        row = {
            "school_id": self._school_id,
            "object_type": object_type.value,
            "object_id": object_id,
            "number": number,
            "at_ms": now_ms,
            "actor": actor,
            "action": action,
            "key_id": key_id,
            "ciphertext": nonce + AESGCM(key).encrypt(nonce, plain, bound),
            "commitment": commitment,
            "queue_no": queue.submit(connection, self._school_id, entry, now_ms),
        }
        connection.execute(insert(case_entries).values(row))
        return number

    def entries(
        self, connection: Connection, object_type: ObjectType, object_id: bytes
    ) -> tuple[CaseEntry, ...]:
        """The whole file, in order. An entry whose key is gone has no text."""
        query = (
            select(case_entries, ledger_queue.c.leaf_index)
            .outerjoin(ledger_queue, ledger_queue.c.queue_no == case_entries.c.queue_no)
            .where(
                case_entries.c.school_id == self._school_id,
                case_entries.c.object_type == object_type.value,
                case_entries.c.object_id == object_id,
            )
            .order_by(case_entries.c.number)
        )
        keys: dict[bytes, bytes | None] = {}
        found = []
        for row in connection.execute(query):
            key_id = bytes(row.key_id)
            if key_id not in keys:
                keys[key_id] = self._keystore.key(key_id)
            found.append(self._entry(row, object_type, object_id, keys[key_id]))
        return tuple(found)

    def _entry(
        self, row: Row[tuple[object, ...]], object_type: ObjectType, object_id: bytes, key: bytes | None
    ) -> CaseEntry:
        return CaseEntry(
            entry_no=row.entry_no,
            object_type=object_type,
            object_id=object_id,
            number=row.number,
            at_ms=row.at_ms,
            actor=row.actor,
            action=row.action,
            text=self._open(row, object_type, object_id, key),
            commitment=bytes(row.commitment),
            in_ledger=row.leaf_index is not None,
        )

    def _open(
        self, row: Row[tuple[object, ...]], object_type: ObjectType, object_id: bytes, key: bytes | None
    ) -> str | None:
        if key is None:
            return None
        sealed = bytes(row.ciphertext)
        bound = self._bound(object_type, object_id, row.number)
        try:
            plain = AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], bound)
        except InvalidTag:
            plain = b""
        if hashlib.sha256(plain).digest() != bytes(row.commitment):
            return "[this entry was altered in the database: it does not match its commitment in the log]"
        return plain[_SALT:].decode()

    def _place(
        self, connection: Connection, object_type: ObjectType, object_id: bytes
    ) -> tuple[bytes | None, int]:
        """(key of the file so far, number of the next entry)."""
        where = (
            (case_entries.c.school_id == self._school_id)
            & (case_entries.c.object_type == object_type.value)
            & (case_entries.c.object_id == object_id)
        )
        last = connection.execute(select(func.max(case_entries.c.number)).where(where)).scalar()
        if last is None:
            return None, 1
        key_id = connection.execute(select(case_entries.c.key_id).where(where, case_entries.c.number == last))
        return bytes(key_id.scalar_one()), last + 1

    def _bound(self, object_type: ObjectType, object_id: bytes, number: int) -> bytes:
        return f"case/1|{self._school_id}|{object_type.value}|{object_id.hex()}|{number}".encode()

    def _statement(
        self,
        object_type: ObjectType,
        object_id: bytes,
        number: int,
        actor: str,
        action: str,
        commitment: bytes,
        now_ms: int,
    ) -> wire.LedgerEntry:
        if object_type is ObjectType.INCIDENT:
            incident = wire.IncidentStatement(
                school_id=self._school_id,
                incident_id=object_id,
                entry_number=number,
                at_unix_ms=now_ms,
                actor=actor,
                action=action,
                entry_commitment=commitment,
            )
            return wire.LedgerEntry(type=wire.StatementType.INCIDENT, statement=encode(incident))
        audit = wire.AuditStatement(
            school_id=self._school_id,
            at_unix_ms=now_ms,
            actor=actor,
            action=f"alert.{action}",
            object=f"alert:{object_id.hex()}/{number}",
            detail_commitment=commitment,
        )
        return wire.LedgerEntry(type=wire.StatementType.AUDIT, statement=encode(audit))
