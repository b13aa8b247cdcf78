"""``fsck`` of tombstones: each names events of batches before it, and the index by leaf says exactly what they say."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterator
from typing import Final

from sqlalchemy import Connection, func, select

from schoolkeeper_collector.ledger.fsck_report import Finding
from schoolkeeper_collector.store.places import erased_of, from_spans
from schoolkeeper_collector.store.tables import erased, ledger_entries
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import WireFormatError, decode

_KEPT: Final = 256
"""Tombstones at hand: neighbouring leaves are in the same ones."""
_Spans = dict[int, list[tuple[int, ...]]]


class Tombstones:
    """``of_leaf`` for each batch leaf and ``check`` for each tombstone, in the ledger's order; ``ended`` afterwards."""

    def __init__(self, connection: Connection, school_id: str) -> None:
        self._connection = connection
        self._school_id = school_id
        self._at_hand: OrderedDict[int, _Spans] = OrderedDict()
        self._named = 0
        self._events = 0

    def of_leaf(self, leaf_index: int, end: int) -> Generator[Finding, None, set[int]]:
        """Yields findings; returns the positions of a leaf, out of ``end``, that tombstones name."""
        found: set[int] = set()
        query = select(erased.c.tombstone_index).where(
            erased.c.school_id == self._school_id, erased.c.leaf_index == leaf_index
        )
        for index in self._connection.execute(query.order_by(erased.c.tombstone_index)).scalars().all():
            place = f"leaf {leaf_index} in the tombstone {index}"
            spans = self._tombstone(index).get(leaf_index)
            if spans is None:
                yield Finding("erased", place, "the ledger's entry there does not name it")
                continue
            for one in spans:
                try:
                    said = from_spans(one, end)
                except ValueError as error:
                    yield Finding("ledger_entries", place, str(error))
                    continue
                if said & found:
                    yield Finding("ledger_entries", place, f"{len(said & found)} events are gone twice")
                found |= said
        return found

    def check(self, index: int, entry: wire.LedgerEntry) -> Iterator[Finding]:
        """One tombstone: of this school, of leaves before it, and found by each of them."""
        place = f"leaf {index}"
        try:
            statement = decode(wire.TombstoneStatement, entry.statement)
        except WireFormatError as error:
            yield Finding("ledger_entries", place, str(error))
            return
        if statement.school_id != self._school_id:
            yield Finding("ledger_entries", place, f"is of the school {statement.school_id!r}")
        leaves = {one.leaf_index for one in erased_of(statement)}
        if any(leaf >= index for leaf in leaves):
            yield Finding("ledger_entries", place, "is a tombstone of a leaf that comes after it")
        self._named += len(leaves)
        self._events += sum(sum(one.spans[1::2]) for one in erased_of(statement))
        query = select(erased.c.leaf_index).where(
            erased.c.school_id == self._school_id,
            erased.c.leaf_index.in_(sorted(leaves)),
            erased.c.tombstone_index == index,
        )
        if set(self._connection.execute(query).scalars()) != leaves:
            yield Finding("erased", place, "the index by leaf does not say what the tombstone says")

    def ended(self, counted: int) -> Iterator[Finding]:
        """``counted``: by the sums of what went."""
        query = select(func.count()).select_from(erased).where(erased.c.school_id == self._school_id)
        rows = int(self._connection.execute(query).scalar_one())
        if rows != self._named:
            said = f"holds {rows} rows, of which the ledger accounts for {self._named}"
            yield Finding("erased", "the table", said)
        if counted != self._events:
            said = f"counts {counted} events whose time was over; the ledger's tombstones name {self._events}"
            yield Finding("expiries", "the table", said)

    def _tombstone(self, index: int) -> _Spans:
        """Leaf -> its spans; empty for an entry that is none."""
        held = self._at_hand.get(index)
        if held is None:
            held = self._at_hand[index] = self._read(index)
            if len(self._at_hand) > _KEPT:
                self._at_hand.popitem(last=False)
        return held

    def _read(self, index: int) -> _Spans:
        query = select(ledger_entries.c.entry).where(
            ledger_entries.c.school_id == self._school_id, ledger_entries.c.leaf_index == index
        )
        data = self._connection.execute(query).scalar()
        found: _Spans = {}
        try:
            entry = decode(wire.LedgerEntry, bytes(data or b""))
            if entry.type is wire.StatementType.TOMBSTONE:
                for one in erased_of(decode(wire.TombstoneStatement, entry.statement)):
                    found.setdefault(one.leaf_index, []).append(one.spans)
        except WireFormatError:
            return {}
        return found
