"""The one process that appends to a school's ledger, and publishes a checkpoint only after its commit.

Fencing: taking office raises the school's term. Every transaction reads the term again, inside the write lock; a
sequencer that finds another's stops for good. Beside that, an operating-system lock (SQLite) or an advisory lock
(PostgreSQL) keeps a second one from starting while the first is alive.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, bindparam, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from schoolkeeper_collector.ledger.tree import Tree
from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.tables import (
    checkpoints,
    ledger_entries,
    ledger_nodes,
    ledger_queue,
    schools,
    sequencer_terms,
)
from schoolkeeper_proto import checkpoint, merkle, wire

_DRAIN_AT_ONCE = 1_000


class FencedError(Exception):
    """Another process sequences this school's ledger; this one must stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A committed checkpoint; ``note`` is its signed form."""

    generation: int
    size: int
    root: bytes
    note: str


class Sequencer:
    """Used by one thread. ``begin``, appends and ``finish`` inside one ``Store.write``, then ``committed``.

    After any error call ``forget``: the head is read again by the next ``begin``.
    """

    def __init__(self, store: Store, school_id: str, key: Ed25519PrivateKey, holder: str) -> None:
        self._store = store
        self._school_id = school_id
        self._key = key
        self._holder = holder
        self._term = 0
        self._tree: Tree | None = None
        self._generation = 0
        self._rows: list[dict[str, object]] = []
        self._next: Head | None = None
        self.head: Head | None = None
        """The last published checkpoint; None while the ledger is empty or not read."""
        self._locks = contextlib.ExitStack()

    # ---- office ---------------------------------------------------------------------------------------

    def take_office(self, now_ms: int) -> int:
        """Locks out other processes, raises the term and reads the head. Returns the term.

        Raises ``FencedError`` when another process holds the lock.
        """
        self._lock_out()
        with self._store.write() as connection:
            held = connection.execute(
                select(sequencer_terms.c.term).where(sequencer_terms.c.school_id == self._school_id)
            ).scalar()
            self._term = (held or 0) + 1
            row = {
                "school_id": self._school_id,
                "term": self._term,
                "holder": self._holder,
                "since_ms": now_ms,
            }
            if held is None:
                connection.execute(insert(sequencer_terms).values(row))
            else:
                where = sequencer_terms.c.school_id == self._school_id
                connection.execute(update(sequencer_terms).where(where).values(row))
        with self._store.read() as connection:
            self._read_head(connection)
        return self._term

    def leave_office(self) -> None:
        self._locks.close()

    def _lock_out(self) -> None:
        remedy = "stop it first (`systemctl status schoolkeeper-collector`); only one may run per school"
        if self._store.is_sqlite:
            path = Path(f"{self._store.engine.url.database}.sequencer")
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            self._locks.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._locks.close()
                raise FencedError(f"another collector holds {path}: {remedy}") from error
            return
        number = int.from_bytes(hashlib.sha256(b"sequencer" + self._school_id.encode()).digest()[:8], "big")
        connection = self._locks.enter_context(self._store.engine.connect())
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.detach()  # not back to the pool: the lock must end with this connection
        asked = {"n": number - (1 << 63)}
        if not connection.execute(text("SELECT pg_try_advisory_lock(:n)"), asked).scalar():
            self._locks.close()
            raise FencedError(f"another collector holds the ledger of {self._school_id}: {remedy}")
        self._locks.callback(_unlock, connection, asked)

    # ---- one transaction ------------------------------------------------------------------------------

    def begin(self, connection: Connection) -> None:
        """Checks the term and, after an error, reads the head again. Raises ``FencedError``."""
        held = connection.execute(
            select(sequencer_terms.c.term, sequencer_terms.c.holder).where(
                sequencer_terms.c.school_id == self._school_id
            )
        ).first()
        if held is None or held.term != self._term:
            who = "nobody" if held is None else f"{held.holder} since term {held.term}"
            raise FencedError(
                f"the ledger of {self._school_id} is sequenced by {who}, not by term {self._term}"
            )
        if self._tree is None:
            self._read_head(connection)

    def queue_waits(self) -> bool:
        """Whether someone has queued an entry; a cheap look outside any transaction of ours."""
        where = (ledger_queue.c.school_id == self._school_id, ledger_queue.c.leaf_index.is_(None))
        with self._store.read() as connection:
            return (
                connection.execute(select(ledger_queue.c.queue_no).where(*where).limit(1)).first() is not None
            )

    def append(self, entry: bytes, entry_type: str, now_ms: int) -> int:
        """Stages a serialised ``LedgerEntry``; returns its leaf index."""
        assert self._tree is not None
        leaf = merkle.leaf_hash(entry)
        index = self._tree.add(leaf)
        self._rows.append(
            {
                "school_id": self._school_id,
                "leaf_index": index,
                "type": entry_type,
                "leaf_hash": leaf,
                "entry": entry,
                "at_ms": now_ms,
            }
        )
        return index

    def find(self, connection: Connection, entry: bytes) -> int | None:
        """The index of an identical entry that is in the ledger already, staged ones included."""
        leaf = merkle.leaf_hash(entry)
        for row in self._rows:
            if row["leaf_hash"] == leaf:
                return int(str(row["leaf_index"]))
        where = (ledger_entries.c.school_id == self._school_id, ledger_entries.c.leaf_hash == leaf)
        found = connection.execute(select(ledger_entries.c.leaf_index).where(*where).limit(1)).scalar()
        return None if found is None else int(found)

    def finish(self, connection: Connection, now_ms: int) -> None:
        """Drains the queue, writes entries, nodes and the new checkpoint. Publishes nothing yet."""
        tree = self._tree
        assert tree is not None
        self._drain(connection, now_ms)
        if not tree.added:
            self._next = self.head
            return
        connection.execute(insert(ledger_entries), self._rows)
        inner = [
            {"school_id": self._school_id, "level": level, "node_index": index, "hash": value}
            for level, index, value in tree.added
            if level
        ]
        if inner:
            connection.execute(insert(ledger_nodes), inner)
        self._rows = []
        self._next = self._sign(connection, tree, now_ms)

    def committed(self) -> None:
        """The transaction is durable: the checkpoint may be shown."""
        if self._tree is not None:
            self._tree.written()
        self.head = self._next

    def forget(self) -> None:
        """Nothing in memory is believed; the next ``begin`` reads the head from the database."""
        self._tree = None
        self._rows = []
        self._next = None

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def size(self) -> int:
        """Leaves of the tree, staged ones included."""
        return self._tree.size if self._tree is not None else 0

    # ---- proofs, after finish or committed ------------------------------------------------------------

    @property
    def upcoming(self) -> Head | None:
        """The checkpoint of this transaction, to be shown only once it is committed."""
        return self._next or self.head

    def inclusion(self, connection: Connection, index: int) -> wire.InclusionProof:
        assert self._tree is not None
        return self._tree.inclusion(connection, index)

    def consistency(self, connection: Connection, old_size: int) -> wire.ConsistencyProof | None:
        """None where the ledger is empty or smaller than ``old_size``."""
        if self._tree is None or not 0 < old_size <= self._tree.size:
            return None
        return self._tree.consistency(connection, old_size)

    def root_at(self, connection: Connection, size: int) -> bytes:
        """The root of the first ``size`` leaves."""
        assert self._tree is not None
        return merkle.root(size, self._tree.nodes(connection, merkle.peaks(size)))

    # ---- inside -----------------------------------------------------------------------------------------

    def _drain(self, connection: Connection, now_ms: int) -> None:
        waiting = connection.execute(
            select(ledger_queue.c.queue_no, ledger_queue.c.type, ledger_queue.c.entry)
            .where(ledger_queue.c.school_id == self._school_id, ledger_queue.c.leaf_index.is_(None))
            .order_by(ledger_queue.c.queue_no)
            .limit(_DRAIN_AT_ONCE)
        ).all()
        if not waiting:
            return
        places = [
            {"no": row.queue_no, "place": self.append(bytes(row.entry), row.type, now_ms)} for row in waiting
        ]
        statement = (
            update(ledger_queue)
            .where(ledger_queue.c.queue_no == bindparam("no"))
            .values(leaf_index=bindparam("place"))
        )
        connection.execute(statement, places)

    def _sign(self, connection: Connection, tree: Tree, now_ms: int) -> Head:
        point = checkpoint.Checkpoint(
            origin=checkpoint.origin_of(self._school_id, self._generation), size=tree.size, root=tree.root()
        )
        head = Head(
            generation=self._generation,
            size=tree.size,
            root=point.root,
            note=checkpoint.sign(point, self._key),
        )
        row = {
            "school_id": self._school_id,
            "generation": head.generation,
            "size": head.size,
            "root": head.root,
            "note": head.note,
            "at_ms": now_ms,
        }
        connection.execute(insert(checkpoints).values(row))
        return head

    def _read_head(self, connection: Connection) -> None:
        self._generation = connection.execute(
            select(schools.c.generation).where(schools.c.school_id == self._school_id)
        ).scalar_one()
        self._tree = Tree.load(connection, self._school_id)
        self.head = self._next = read_head(connection, self._school_id, self._generation)


def _unlock(connection: Connection, asked: dict[str, int]) -> None:
    """At once: PostgreSQL ends a session a while after its client has gone, and a restart would be locked out."""
    with contextlib.suppress(SQLAlchemyError):  # a connection that broke holds no lock
        connection.execute(text("SELECT pg_advisory_unlock(:n)"), asked)


def read_head(connection: Connection, school_id: str, generation: int) -> Head | None:
    """The newest stored checkpoint of a generation."""
    row = connection.execute(
        select(checkpoints)
        .where(checkpoints.c.school_id == school_id, checkpoints.c.generation == generation)
        .order_by(checkpoints.c.size.desc())
        .limit(1)
    ).first()
    if row is None:
        return None
    return Head(generation=row.generation, size=row.size, root=bytes(row.root), note=row.note)
