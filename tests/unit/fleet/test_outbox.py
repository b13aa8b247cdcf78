"""What a simulated device sends opens and proves itself like an agent's."""

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_proto import sealing, statements, wire
from schoolkeeper_proto.codec import decode
from schoolkeeper_proto.wire import Disposition, Lane
from support.fleet.outbox import Cut, Outbox, Sender

INGEST = X25519PrivateKey.generate()
SIGNER = statements.P256Signer(ec.generate_private_key(ec.SECP256R1()))
SENDER = Sender(
    school_id="school.example",
    device_id=b"d" * 16,
    certificate_hash=b"c" * 32,
    signer=SIGNER,
    ingest_key=INGEST.public_key(),
    ingest_key_id=b"i" * 32,
)


def outbox(frames: int) -> Outbox:
    box = Outbox(SENDER, 1)
    for number in range(frames):
        box.put(Lane.NORMAL if number % 3 else Lane.CRITICAL, [b"event %d" % number])
    return box


def batch_of(cut: Cut) -> wire.Batch:
    body = decode(wire.DeviceMessage, cut.message).body
    assert isinstance(body, wire.Batch)
    return body


def ack(box: Outbox, cut: Cut, disposition: Disposition = Disposition.STORED) -> wire.Ack:
    ranges = [
        wire.RangeDisposition(
            epoch=box.epoch, lane=lane, first_sequence=first, count=end - first, disposition=disposition
        )
        for lane, (first, end) in cut.frames.items()
    ]
    return wire.Ack(batch_number=cut.number, ranges=tuple(ranges))


def test_a_batch_verifies_and_opens() -> None:
    box = outbox(9)
    cut = box.cut(2)
    assert cut is not None
    batch = batch_of(cut)
    statements.verify(statements.BATCH, batch.statement, batch.signature, SIGNER.public_key)
    statement = decode(wire.BatchStatement, batch.statement)
    binding = sealing.Binding(school_id="school.example", device_id=b"d" * 16, epoch=statement.epoch)
    opener = sealing.SegmentOpener(batch.segments[0], binding, INGEST)
    headers = [sealing.read_header(frame) for frame in batch.frames]
    opened = [opener.open(f, h).events[0][1] for f, h in zip(batch.frames, headers, strict=True)]
    assert sorted(opened) == [b"event %d" % n for n in range(9)]
    chain = wire.CHAIN_START
    for frame, header in zip(batch.frames, headers, strict=True):
        if header.lane is Lane.NORMAL:
            assert header.previous == chain
            chain = statements.chain_value(frame.header)
    assert [header.root for header in headers] == [root for run in statement.runs for root in run.roots]


def test_a_window_of_batches_is_settled_in_order() -> None:
    box = outbox(10)
    cuts = [box.cut(2, max_frames=3) for _ in range(4)]
    assert box.cut(2) is None
    for cut in cuts:
        assert cut is not None
        box.settle(ack(box, cut))
    assert (box.pending_events, box.in_flight, box.unsent) == (0, 0, 0)
    assert box.counts[Disposition.STORED] == 10


def test_what_the_collector_could_not_take_is_sent_again() -> None:
    box = outbox(6)
    cut = box.cut(2, max_frames=4)
    assert cut is not None
    box.settle(ack(box, cut, Disposition.RETRY))
    assert box.pending_events == 6
    again = box.cut(3)
    assert again is not None
    assert again.events == 6


def test_a_new_stream_sends_everything_unsettled_again() -> None:
    box = outbox(6)
    first = box.cut(2, max_frames=2)
    assert first is not None
    box.cut(2)
    box.settle(ack(box, first))
    box.reconnected()
    again = box.cut(3)
    assert again is not None
    assert again.events == 4
    assert hashlib.sha256(again.message).digest() != hashlib.sha256(first.message).digest()
