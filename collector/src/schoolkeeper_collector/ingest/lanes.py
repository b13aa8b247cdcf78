"""What the collector knows of one lane of one epoch: held, evicted, set aside, and the gaps between.

Loaded once per (device, epoch) and then kept by the writer alone. After a failed transaction it is thrown away.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from schoolkeeper_collector.store.intervals import IntervalSet, Span
from schoolkeeper_collector.store.tables import evictions, frames, gaps, intervals, set_aside
from schoolkeeper_proto.wire import CHAIN_START, Lane

_TAILS = 64
_MAX_EPOCHS = 8_192


@dataclass(frozen=True, slots=True)
class LaneKey:
    device_no: int
    epoch: bytes
    lane: Lane


@dataclass(slots=True)
class LaneState:
    """``written`` and ``gaps`` mirror the tables, so that a flush writes only what changed."""

    held: IntervalSet = field(default_factory=IntervalSet)
    evicted: IntervalSet = field(default_factory=IntervalSet)
    aside: IntervalSet = field(default_factory=IntervalSet)
    written: dict[int, int] = field(default_factory=dict)
    gaps: dict[Span, int] = field(default_factory=dict)
    tails: dict[int, bytes] = field(default_factory=lambda: {0: CHAIN_START})

    @property
    def plain(self) -> bool:
        """One unbroken run from zero, as of a healthy device: nothing can be missing."""
        return not (self.evicted or self.aside or self.gaps) and [s[0] for s in self.held] in ([], [0])

    def accounted(self) -> IntervalSet:
        return self.held.union(self.evicted).union(self.aside)

    def knows(self, number: int) -> bool:
        spans = (self.held, self.evicted, self.aside)
        return any(span.span_of(number) is not None for span in spans)

    def remember_tail(self, end: int, chain: bytes) -> None:
        self.tails[end] = chain
        if len(self.tails) > _TAILS:
            for old in list(self.tails)[: _TAILS // 2]:
                del self.tails[old]


class LaneCache:
    """Lanes by (device, epoch), the least recently used go first. Cleared after any failed transaction."""

    def __init__(self, school_id: str, size: int = _MAX_EPOCHS) -> None:
        self._school_id = school_id
        self._size = size
        self._epochs: OrderedDict[tuple[int, bytes], dict[Lane, LaneState]] = OrderedDict()

    def lanes(self, connection: Connection, device_no: int, epoch: bytes) -> dict[Lane, LaneState]:
        place = (device_no, epoch)
        found = self._epochs.get(place)
        if found is None:
            found = self._epochs[place] = load_lanes(connection, self._school_id, device_no, epoch)
            if len(self._epochs) > self._size:
                self._epochs.popitem(last=False)
        else:
            self._epochs.move_to_end(place)
        return found

    def clear(self) -> None:
        self._epochs.clear()


def load_lanes(
    connection: Connection, school_id: str, device_no: int, epoch: bytes
) -> defaultdict[Lane, LaneState]:
    """The lanes of an epoch of which anything is known; any other comes into being when it is asked for."""
    lanes: defaultdict[Lane, LaneState] = defaultdict(LaneState)
    for table in (intervals, evictions, set_aside, gaps):
        where = (table.c.school_id == school_id, table.c.device_no == device_no, table.c.epoch == epoch)
        query = select(table).where(*where)
        if table is gaps:
            query = query.where(gaps.c.closed_ms.is_(None))
        for row in connection.execute(query):
            state = lanes[Lane(row.lane)]
            if table is intervals:
                state.held.add(row.first_sequence, row.end_sequence)
                state.written[row.first_sequence] = row.end_sequence
            elif table is evictions:
                state.evicted.add(row.first_sequence, row.first_sequence + row.events)
            elif table is set_aside:
                state.aside.add(row.first_sequence, row.first_sequence + row.events)
            else:
                state.gaps[row.first_sequence, row.end_sequence] = row.gap_no
    return lanes


def chain_before(connection: Connection, school_id: str, key: LaneKey, number: int) -> bytes | None:
    """The chain value after what ends at ``number``, from the tables; None where it is not known."""
    for table, length in ((frames, frames.c.count), (evictions, evictions.c.events)):
        row = connection.execute(
            select(table.c.first_sequence, length.label("length"), table.c[_after(table.name)].label("chain"))
            .where(*_place(table.c, school_id, key), table.c.first_sequence < number)
            .order_by(table.c.first_sequence.desc())
            .limit(1)
        ).first()
        if row is not None and row.first_sequence + row.length == number and row.chain:
            return bytes(row.chain)
    return None


def chain_following(connection: Connection, school_id: str, key: LaneKey, number: int) -> bytes | None:
    """The chain value that what begins at ``number`` builds on; None where it is not known."""
    for table in (frames, evictions):
        column = frames.c.previous if table is frames else evictions.c.chain_before
        where = (*_place(table.c, school_id, key), table.c.first_sequence == number)
        found = connection.execute(select(column).where(*where)).scalar()
        if found:
            return bytes(found)
    return None


def _after(table: str) -> str:
    return "chain" if table == "frames" else "chain_after"


def _place(columns, school_id: str, key: LaneKey):  # type: ignore[no-untyped-def]
    return (
        columns.school_id == school_id,
        columns.device_no == key.device_no,
        columns.epoch == key.epoch,
        columns.lane == key.lane.value,
    )
