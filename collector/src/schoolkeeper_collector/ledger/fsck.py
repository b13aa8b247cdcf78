"""Checks a whole store against itself: the tree against its entries, everything else against the tree.

Reads one moment's view, a leaf at a time, so that memory stays bounded. Each finding names the row that does not
match; ``fatal`` ones mean that something reported was lost, altered or counted wrongly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from sqlalchemy import Connection, Row, select

from schoolkeeper_collector.ledger.fsck_batches import BatchChecker
from schoolkeeper_collector.ledger.fsck_lanes import check_lanes
from schoolkeeper_collector.ledger.fsck_report import Finding
from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.tables import (
    certificates,
    checkpoints,
    ledger_entries,
    ledger_nodes,
    ledger_queue,
)
from schoolkeeper_proto import checkpoint, merkle, wire
from schoolkeeper_proto.codec import WireFormatError, decode

__all__ = ["Finding", "check_store"]
_AT_ONCE = 500


def check_store(store: Store, school_id: str, ledger_keys: tuple[bytes, ...]) -> Iterator[Finding]:
    """``ledger_keys``: raw Ed25519 keys that may have signed checkpoints. Yields nothing for a sound store."""
    with store.read() as connection:
        keys = dict(_device_keys(connection, school_id))
        batches = BatchChecker(connection, store.keystore, school_id, keys)
        yield from _check_tree(connection, school_id, ledger_keys, batches)
        yield from _check_queue(connection, school_id)
        yield from batches.orphans()
        yield from check_lanes(connection, school_id)


def _check_tree(
    connection: Connection, school_id: str, ledger_keys: tuple[bytes, ...], batches: BatchChecker
) -> Iterator[Finding]:
    points = _points(connection, school_id)
    edge: dict[tuple[int, int], bytes] = {}
    size = 0
    for row in _entries(connection, school_id):
        if row.leaf_index != size:
            yield Finding("ledger_entries", f"leaf {size}", f"is missing; the next one is {row.leaf_index}")
            return
        entry = bytes(row.entry)
        leaf = merkle.leaf_hash(entry)
        if leaf != row.leaf_hash:
            yield Finding("ledger_entries", f"leaf {size}", "its stored hash is not that of its entry")
        added = merkle.new_nodes(size, leaf, edge)
        edge.update({(level, index): value for level, index, value in added})
        yield from _check_nodes(connection, school_id, [node for node in added if node[0]])
        yield from _check_entry(row, entry, batches)
        size += 1
        edge = {address: edge[address] for address in merkle.peaks(size)}
        for point in points.pop(size, []):
            yield from _check_point(school_id, point, merkle.root(size, edge), ledger_keys)
    for beyond in sorted(points):
        yield Finding("checkpoints", f"size {beyond}", f"is beyond the ledger's {size} entries")
    newest = _newest_size(connection, school_id)
    if newest != size:
        yield Finding("checkpoints", "the newest", f"covers {newest} of {size} entries")


def _entries(connection: Connection, school_id: str):  # type: ignore[no-untyped-def]
    table = ledger_entries.c
    at = -1
    while True:
        query = select(ledger_entries).where(table.school_id == school_id, table.leaf_index > at)
        rows = connection.execute(query.order_by(table.leaf_index).limit(_AT_ONCE)).all()
        yield from rows
        if len(rows) < _AT_ONCE:
            return
        at = rows[-1].leaf_index


def _check_nodes(
    connection: Connection, school_id: str, nodes: list[tuple[int, int, bytes]]
) -> Iterator[Finding]:
    for level, index, value in nodes:
        stored = connection.execute(
            select(ledger_nodes.c.hash).where(
                ledger_nodes.c.school_id == school_id,
                ledger_nodes.c.level == level,
                ledger_nodes.c.node_index == index,
            )
        ).scalar()
        if stored is None or bytes(stored) != value:
            what = "is missing" if stored is None else "is not the hash of what lies below it"
            yield Finding("ledger_nodes", f"node {index} of level {level}", what)


def _check_entry(row: Row[Any], data: bytes, batches: BatchChecker) -> Iterator[Finding]:
    place = f"leaf {row.leaf_index}"
    try:
        entry = decode(wire.LedgerEntry, data)
    except WireFormatError as error:
        yield Finding("ledger_entries", place, str(error))
        return
    if entry.type.value != row.type:
        yield Finding("ledger_entries", place, f"is filed as {row.type} and is {entry.type}")
    if entry.type is wire.StatementType.BATCH:
        yield from batches.check(row.leaf_index, entry)
    elif entry.type is wire.StatementType.TOMBSTONE:
        yield from batches.tombstones.check(row.leaf_index, entry)


def _points(connection: Connection, school_id: str) -> dict[int, list[str]]:
    """Stored checkpoints by size: the note, checked when the tree has grown to it."""
    found: dict[int, list[str]] = {}
    query = select(checkpoints.c.size, checkpoints.c.note).where(checkpoints.c.school_id == school_id)
    for row in connection.execute(query):
        found.setdefault(row.size, []).append(row.note)
    return found


def _check_point(school_id: str, note: str, root: bytes, ledger_keys: tuple[bytes, ...]) -> Iterator[Finding]:
    try:
        point = checkpoint.verify(note, ledger_keys)
    except checkpoint.CheckpointError as error:
        yield Finding("checkpoints", f"of {school_id}", str(error))
        return
    if point.root != root:
        yield Finding("checkpoints", f"size {point.size}", "its root is not that of the entries below it")


def _newest_size(connection: Connection, school_id: str) -> int:
    query = select(checkpoints.c.size).where(checkpoints.c.school_id == school_id)
    return int(connection.execute(query.order_by(checkpoints.c.size.desc()).limit(1)).scalar() or 0)


def _check_queue(connection: Connection, school_id: str) -> Iterator[Finding]:
    """What others handed in lies where its row says."""
    joined = (ledger_entries.c.school_id == ledger_queue.c.school_id) & (
        ledger_entries.c.leaf_index == ledger_queue.c.leaf_index
    )
    query = (
        select(ledger_queue.c.queue_no, ledger_queue.c.entry, ledger_entries.c.entry.label("found"))
        .join(ledger_entries, joined, isouter=True)
        .where(ledger_queue.c.school_id == school_id, ledger_queue.c.leaf_index.is_not(None))
    )
    for row in connection.execute(query):
        if row.found is None or bytes(row.found) != bytes(row.entry):
            yield Finding("ledger_queue", f"entry {row.queue_no}", "is not in the ledger where its row says")


def _device_keys(
    connection: Connection, school_id: str
) -> Iterator[tuple[bytes, tuple[bytes, EllipticCurvePublicKey]]]:
    """certificate hash -> (device id, key); a certificate that is not what its row says is left out."""
    query = select(certificates.c.certificate_hash, certificates.c.device_id, certificates.c.der)
    for row in connection.execute(query.where(certificates.c.school_id == school_id)):
        if hashlib.sha256(row.der).digest() != row.certificate_hash:
            continue
        key = x509.load_der_x509_certificate(row.der).public_key()
        if isinstance(key, EllipticCurvePublicKey):
            yield bytes(row.certificate_hash), (bytes(row.device_id), key)
