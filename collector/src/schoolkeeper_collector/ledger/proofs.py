"""The proof of one event, put together from the store: event -> frame -> statement -> leaf -> checkpoint."""

from __future__ import annotations

from sqlalchemy import Connection, select

from schoolkeeper_collector.ledger.sequencer import read_head
from schoolkeeper_collector.ledger.tree import Tree
from schoolkeeper_collector.store.blobs import Record
from schoolkeeper_collector.store.events import BlobReader
from schoolkeeper_collector.store.keystore import Keystore
from schoolkeeper_collector.store.tables import blobs, certificates, events, frames, ledger_entries, schools
from schoolkeeper_proto import merkle, statements, wire
from schoolkeeper_proto.codec import decode
from schoolkeeper_proto.proof import EventProof


class NotProvable(Exception):
    """This event has no proof; says what is missing."""


def event_proof(connection: Connection, keystore: Keystore, school_id: str, event_no: int) -> EventProof:
    """Raises ``NotProvable``: no such event, erased, or not yet under a checkpoint."""
    where = (events.c.school_id == school_id, events.c.event_no == event_no)
    row = connection.execute(
        select(events.c.position, blobs).join(blobs, blobs.c.blob_no == events.c.blob_no).where(*where)
    ).first()
    if row is None:
        raise NotProvable(f"there is no event {event_no}: it was never stored, or its time is over")
    opened = BlobReader(connection, keystore, school_id).open_row(row)
    if opened is None or not opened[1][row.position].event:
        raise NotProvable(f"event {event_no} was erased; its commitment stays in the ledger")
    epoch, records = opened
    record = records[row.position]
    frame = _frame(connection, school_id, row.device_no, epoch, record)
    leaves = frame_leaves(connection, keystore, school_id, row.leaf_index, frame)
    entry = connection.execute(
        select(ledger_entries.c.entry).where(
            ledger_entries.c.school_id == school_id, ledger_entries.c.leaf_index == row.leaf_index
        )
    ).scalar_one()
    return _proof(connection, school_id, record, frame, leaves, bytes(entry), row.leaf_index)


def _proof(
    connection: Connection,
    school_id: str,
    record: Record,
    frame: Frame,
    leaves: list[bytes],
    entry: bytes,
    leaf_index: int,
) -> EventProof:
    position = record.sequence - frame.first
    path = merkle.inclusion_path(position, len(leaves), merkle.tree_nodes(leaves))
    generation = connection.execute(
        select(schools.c.generation).where(schools.c.school_id == school_id)
    ).scalar_one()
    head = read_head(connection, school_id, generation)
    if head is None or head.size <= leaf_index:
        raise NotProvable("the event is not under a checkpoint of this generation yet: try again in a minute")
    proof = Tree.load(connection, school_id, head.size).inclusion(connection, leaf_index)
    statement = decode(wire.BatchStatement, decode(wire.LedgerEntry, entry).statement)
    certificate = connection.execute(
        select(certificates.c.der).where(
            certificates.c.school_id == school_id,
            certificates.c.certificate_hash == statement.certificate_hash,
        )
    ).scalar()
    if certificate is None:
        digest = statement.certificate_hash.hex()[:16]
        raise NotProvable(
            f"the device's certificate {digest} is not stored: run `schoolkeeper-collector fsck`"
        )
    return EventProof(
        event=record.event,
        salt=record.salt,
        lane=record.lane.value,
        sequence=record.sequence,
        first_sequence=frame.first,
        count=frame.events,
        frame_path=tuple(path),
        entry=entry,
        leaf_index=leaf_index,
        tree_size=head.size,
        path=proof.path,
        note=head.note,
        certificate=bytes(certificate),
    )


class Frame:
    """A row of ``frames``, as much as a proof needs."""

    __slots__ = ("device_no", "epoch", "events", "first", "lane", "leaves", "root")

    def __init__(
        self,
        device_no: int,
        epoch: bytes,
        lane: str,
        first: int,
        events: int,
        root: bytes,
        leaves: bytes | None,
    ) -> None:
        self.device_no = device_no
        self.epoch = epoch
        self.lane = lane
        self.first = first
        self.events = events
        self.root = root
        self.leaves = leaves


def _frame(connection: Connection, school_id: str, device_no: int, epoch: bytes, record: Record) -> Frame:
    row = connection.execute(
        select(frames.c.first_sequence, frames.c.count.label("events"), frames.c.root, frames.c.leaves)
        .where(
            frames.c.school_id == school_id,
            frames.c.device_no == device_no,
            frames.c.epoch == epoch,
            frames.c.lane == record.lane.value,
            frames.c.first_sequence <= record.sequence,
        )
        .order_by(frames.c.first_sequence.desc())
        .limit(1)
    ).first()
    if row is None or record.sequence >= row.first_sequence + row.events:
        raise NotProvable("the event's frame is not stored: run `schoolkeeper-collector fsck`")
    leaves = None if row.leaves is None else bytes(row.leaves)
    return Frame(device_no, epoch, record.lane.value, row.first_sequence, row.events, bytes(row.root), leaves)


def frame_leaves(
    connection: Connection, keystore: Keystore, school_id: str, leaf_index: int, frame: Frame
) -> list[bytes]:
    """The commitments of a frame's events, in order. Raises ``NotProvable`` where one is gone."""
    if frame.leaves is not None:
        return [frame.leaves[at : at + 32] for at in range(0, len(frame.leaves), 32)]
    reader = BlobReader(connection, keystore, school_id)
    found: dict[int, bytes] = {}
    where = (blobs.c.school_id == school_id, blobs.c.leaf_index == leaf_index)
    for row in connection.execute(select(blobs).where(*where)):
        opened = reader.open_row(row)
        if opened is None or row.device_no != frame.device_no or opened[0] != frame.epoch:
            continue
        for record in opened[1]:
            if (
                record.lane.value == frame.lane
                and frame.first <= record.sequence < frame.first + frame.events
            ):
                found[record.sequence] = commitment(record)
    if len(found) != frame.events:
        raise NotProvable("a part of the event's frame was erased and its commitments with it")
    return [found[frame.first + position] for position in range(frame.events)]


def commitment(record: Record) -> bytes:
    return record.commitment or statements.event_leaf(record.salt, record.event)
