"""One school's Merkle tree over stored nodes: a bounded cache over the database, and what is not yet written."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, func, select, tuple_

from schoolkeeper_collector.store.tables import ledger_entries, ledger_nodes
from schoolkeeper_proto import merkle, wire

Address = tuple[int, int]
_CACHE_NODES = 1 << 16
_ASK_AT_ONCE = 400


class LedgerDamaged(Exception):
    """The stored tree lacks something it must have; names it. ``fsck`` says more."""


class Tree:
    """Not thread-safe; belongs to one sequencer or one reader. ``size`` counts leaves, added ones included."""

    def __init__(self, school_id: str, size: int, cache_nodes: int = _CACHE_NODES) -> None:
        self.school_id = school_id
        self.size = size
        self._cache_nodes = cache_nodes
        self._cache: dict[Address, bytes] = {}
        self._edge: dict[Address, bytes] = {}
        self.added: list[tuple[int, int, bytes]] = []

    @classmethod
    def load(cls, connection: Connection, school_id: str, size: int | None = None) -> Tree:
        """The tree as stored, or its first ``size`` leaves. Raises ``LedgerDamaged`` where nodes are missing."""
        tree = cls(school_id, stored_size(connection, school_id) if size is None else size)
        tree._edge = tree.nodes(connection, merkle.peaks(tree.size))
        return tree

    def add(self, leaf: bytes) -> int:
        """Appends a leaf hash and returns its index."""
        index = self.size
        for level, position, value in merkle.new_nodes(index, leaf, self._edge):
            self._edge[level, position] = value
            self.added.append((level, position, value))
        self.size += 1
        return index

    def written(self) -> None:
        """What was added is in the database: it moves to the cache, and only the peaks stay at hand."""
        self._remember({(level, index): value for level, index, value in self.added})
        self.added = []
        self._edge = {address: self._edge[address] for address in merkle.peaks(self.size)}

    def root(self) -> bytes:
        return merkle.root(self.size, self._edge)

    def inclusion(self, connection: Connection, index: int) -> wire.InclusionProof:
        nodes = self.nodes(connection, merkle.inclusion_nodes(index, self.size))
        path = merkle.inclusion_path(index, self.size, nodes)
        return wire.InclusionProof(leaf_index=index, tree_size=self.size, path=tuple(path))

    def consistency(self, connection: Connection, old: int) -> wire.ConsistencyProof:
        """From the first ``old`` leaves to all of them; raises ``IndexError`` when there are fewer."""
        nodes = self.nodes(connection, merkle.consistency_nodes(old, self.size))
        path = merkle.consistency_path(old, self.size, nodes)
        return wire.ConsistencyProof(old_size=old, new_size=self.size, path=tuple(path))

    def nodes(self, connection: Connection, addresses: Iterable[Address]) -> dict[Address, bytes]:
        """The hashes at these addresses; raises ``LedgerDamaged`` for one that is not stored."""
        found: dict[Address, bytes] = {}
        missing: list[Address] = []
        for address in addresses:
            value = self._edge.get(address) or self._cache.get(address)
            if value is None:
                missing.append(address)
            else:
                found[address] = value
        if missing:
            fetched = _fetch(connection, self.school_id, missing)
            self._remember(fetched)
            found.update(fetched)
        return found

    def _remember(self, nodes: dict[Address, bytes]) -> None:
        self._cache.update(nodes)
        if len(self._cache) > self._cache_nodes:
            # The oldest half goes: dictionaries keep the order of entry, and proofs ask for the new edge.
            for address in list(self._cache)[: len(self._cache) - self._cache_nodes // 2]:
                del self._cache[address]


def stored_size(connection: Connection, school_id: str) -> int:
    last = connection.execute(
        select(func.max(ledger_entries.c.leaf_index)).where(ledger_entries.c.school_id == school_id)
    ).scalar()
    return 0 if last is None else int(last) + 1


def _fetch(connection: Connection, school_id: str, addresses: list[Address]) -> dict[Address, bytes]:
    found: dict[Address, bytes] = {}
    leaves = [index for level, index in addresses if level == 0]
    inner = [address for address in addresses if address[0]]
    for start in range(0, len(leaves), _ASK_AT_ONCE):
        table = ledger_entries.c
        query = select(table.leaf_index, table.leaf_hash).where(
            table.school_id == school_id, table.leaf_index.in_(leaves[start : start + _ASK_AT_ONCE])
        )
        found.update({(0, row.leaf_index): bytes(row.leaf_hash) for row in connection.execute(query)})
    for start in range(0, len(inner), _ASK_AT_ONCE):
        nodes = ledger_nodes.c
        asked = inner[start : start + _ASK_AT_ONCE]
        query_nodes = select(nodes.level, nodes.node_index, nodes.hash).where(
            nodes.school_id == school_id, tuple_(nodes.level, nodes.node_index).in_(asked)
        )
        found.update(
            {(row.level, row.node_index): bytes(row.hash) for row in connection.execute(query_nodes)}
        )
    for level, index in addresses:
        if (level, index) not in found:
            raise LedgerDamaged(
                f"the ledger of {school_id} lacks node {index} of level {level}: "
                "run `schoolkeeper-collector fsck`, then restore from a backup"
            )
    return found
