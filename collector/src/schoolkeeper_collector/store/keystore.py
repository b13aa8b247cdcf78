"""Keys of blobs and cases, in a database of its own whose backups live short: a lost key is how erasure reaches
old backups. A key is committed here before anything is encrypted under it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing

from sqlalchemy import Engine, delete, insert, select

from schoolkeeper_collector.store.tables import blob_keys

WEEK_MS = 7 * 24 * 3600 * 1000


class Keystore:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def new_key(self, purpose: str, school_id: str, now_ms: int) -> tuple[bytes, bytes]:
        """(key id of 16 bytes, AES-256 key), durable on return."""
        key_id, key = os.urandom(16), os.urandom(32)
        row = {
            "key_id": key_id,
            "school_id": school_id,
            "purpose": purpose,
            "key": key,
            "created_ms": now_ms,
        }
        with self.engine.begin() as connection:
            connection.execute(insert(blob_keys).values(row))
        return key_id, key

    def key(self, key_id: bytes) -> bytes | None:
        """None when the key was erased: then so is everything under it."""
        with self.engine.connect() as connection:
            found = connection.execute(select(blob_keys.c.key).where(blob_keys.c.key_id == key_id)).scalar()
            connection.rollback()
        return bytes(found) if found is not None else None

    def current_key(self, school_id: str, purpose: str, now_ms: int) -> tuple[bytes, bytes]:
        """The purpose's key of this week (Unix weeks of seven days), made when there is none yet."""
        week_start = now_ms - now_ms % WEEK_MS
        query = (
            select(blob_keys.c.key_id, blob_keys.c.key)
            .where(
                blob_keys.c.school_id == school_id,
                blob_keys.c.purpose == purpose,
                blob_keys.c.created_ms >= week_start,
                blob_keys.c.created_ms < week_start + WEEK_MS,
            )
            .order_by(blob_keys.c.created_ms)
        )
        with self.engine.connect() as connection:
            row = connection.execute(query).first()
            connection.rollback()
        if row is not None:
            return bytes(row.key_id), bytes(row.key)
        return self.new_key(purpose, school_id, now_ms)

    def keys_of(self, school_id: str, purpose: str) -> list[tuple[bytes, int]]:
        """(key id, made at ms) of a purpose's keys."""
        query = select(blob_keys.c.key_id, blob_keys.c.created_ms).where(
            blob_keys.c.school_id == school_id, blob_keys.c.purpose == purpose
        )
        with self.engine.connect() as connection:
            rows = connection.execute(query).all()
            connection.rollback()
        return [(bytes(row.key_id), row.created_ms) for row in rows]

    def erase_keys(self, key_ids: Sequence[bytes]) -> int:
        """How many of these there were. On SQLite their bytes are overwritten."""
        gone = 0
        with self.engine.begin() as connection:
            for start in range(0, len(key_ids), 500):
                where = blob_keys.c.key_id.in_(key_ids[start : start + 500])
                gone += connection.execute(delete(blob_keys).where(where)).rowcount
        if gone and self.engine.dialect.name == "sqlite":
            # Out of the write-ahead log as well, unless somebody is reading just now.
            with closing(self.engine.raw_connection()) as driver:
                driver.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def erase_key(self, key_id: bytes) -> None:
        with self.engine.begin() as connection:
            connection.execute(delete(blob_keys).where(blob_keys.c.key_id == key_id))
