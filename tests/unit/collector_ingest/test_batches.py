"""Batches against the store, good and bad: after each, what was sent is accounted for, once, and `fsck` is clean."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from schoolkeeper_collector.ledger.proofs import event_proof
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.events import events_after
from schoolkeeper_proto import model, proof, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import Disposition, Lane
from support.collector import NO_BUDGET, Collector, TestSchool, sqlite_store
from support.device import SimulatedDevice, WaitingFrame, started

SCHOOL = TestSchool()


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    store = sqlite_store(tmp_path)
    collector = Collector(store, SCHOOL)
    yield collector
    collector.close()
    store.close()


def accounted(collector: Collector, *devices: SimulatedDevice) -> dict[str, int]:
    """Totals, after checking that they are what the devices sent and that `fsck` finds nothing."""
    totals = collector.totals()
    assert totals["rows"] == totals["held"]
    assert totals["held"] + totals["evicted"] + totals["aside"] == sum(d.recorded for d in devices)
    assert collector.writer.counts.failures == 0
    assert collector.fsck() == []
    return totals


def record(
    device: SimulatedDevice, frames: int = 3, events: int = 4, lane: Lane = Lane.NORMAL
) -> list[WaitingFrame]:
    return [device.record([started() for _ in range(events)], lane) for _ in range(frames)]


def test_events_are_stored_proved_and_read_back(collector: Collector) -> None:
    device = collector.device()
    for lane in wire.LANES:
        record(device, lane=lane)
    collector.deliver_all(device)
    assert device.stored == 36
    assert accounted(collector, device)["held"] == 36
    with collector.store.read() as connection:
        found = events_after(connection, collector.store.keystore, SCHOOL.school_id, 0, 100)
        shown = event_proof(connection, collector.store.keystore, SCHOOL.school_id, found[7].event_no)
    assert [event.event_no for event in found] == list(range(1, 37))
    assert {event.event.body.KIND for event in found} == {"application.started"}
    assert {(e.lane, e.sequence) for e in found} == {(lane, n) for lane in wire.LANES for n in range(12)}
    keys = [SCHOOL.ledger.public_key().public_bytes_raw()]
    again = proof.EventProof.from_json(shown.to_json())
    assert proof.holds(proof.check(again, keys))


def test_a_frame_of_several_retention_classes_is_provable_after_one_expires(collector: Collector) -> None:
    device = collector.device()
    bodies: list[model.Body] = [
        started(),
        model.Posture(check="lock", result=model.PostureResult.PASS),
        started(),
    ]
    device.record([*bodies, model.FilterBypass(technique="vpn")])
    collector.deliver_all(device)
    assert collector.count(tables.blobs) == 3
    assert collector.fsck() == []
    with collector.store.read() as connection:
        raw = connection.execute(select(tables.blobs).where(tables.blobs.c.retention == "raw")).one()
    collector.store.keystore.erase_key(raw.key_id)
    with collector.store.read() as connection:
        (posture,) = (
            event
            for event in events_after(connection, collector.store.keystore, SCHOOL.school_id, 0, 100)
            if event.event.body.KIND == "posture"
        )
        shown = event_proof(connection, collector.store.keystore, SCHOOL.school_id, posture.event_no)
    assert proof.holds(proof.check(shown, [SCHOOL.ledger.public_key().public_bytes_raw()]))
    findings = collector.fsck()
    assert [finding.fatal for finding in findings] == [False]


def test_posture_rows_keep_the_latest_result(collector: Collector) -> None:
    device = collector.device()
    for result, at in (("fail", 20), ("pass", 10), ("unknown", 5)):
        body = model.Posture(
            check="lock", result=model.PostureResult(result), evaluated_at_unix_ms=at, evidence="a\0b"
        )
        device.record([body])
    collector.deliver_all(device)
    with collector.store.read() as connection:
        row = connection.execute(select(tables.posture)).one()
    assert (row.result, row.evaluated_ms, row.evidence) == ("fail", 20, "ab")


def test_many_devices_in_one_commit(collector: Collector) -> None:
    devices = [collector.device() for _ in range(5)]
    peers = [collector.greet(device) for device in devices]
    for device in devices:
        record(device)
    work = [(device, collector.job(peer, device.cut())) for device, peer in zip(devices, peers, strict=True)]
    before = collector.writer.counts.commits
    collector.hand_out(work)
    assert collector.writer.counts.commits == before + 1
    assert all(device.stored == 12 for device in devices)
    accounted(collector, *devices)


def test_a_replayed_batch_is_a_duplicate_with_the_proof_of_the_first(collector: Collector) -> None:
    device = collector.device()
    record(device)
    peer = collector.greet(device)
    batch = device.cut()
    frames = device.flying[batch.number][1]
    collector.send(device, peer, batch)
    size = collector.sequencer.size
    device.flying[batch.number] = (batch, frames)
    collector.send(device, peer, batch)
    assert (device.stored, device.duplicate) == (12, 12)
    assert collector.sequencer.size == size
    accounted(collector, device)


def test_an_answer_that_was_lost_is_asked_for_with_a_new_statement(collector: Collector) -> None:
    device = collector.device()
    frames = record(device)
    peer = collector.greet(device)
    collector.hand_out([(device, collector.job(peer, device.cut()))])
    again = device.sign(frames[1:])
    device.flying[again.number] = (again, frames[1:])
    collector.send(device, peer, again)
    assert (device.stored, device.duplicate) == (12, 8)
    accounted(collector, device)


def test_the_same_frame_twice_in_one_commit_is_stored_once(collector: Collector) -> None:
    device = collector.device()
    frames = record(device)
    peer = collector.greet(device)
    first, second = device.cut(), device.sign(frames)
    device.flying[second.number] = (second, frames)
    collector.send(device, peer, first, second)
    assert (device.stored, device.duplicate) == (12, 12)
    accounted(collector, device)


def test_reordered_batches_open_a_gap_that_closes(collector: Collector) -> None:
    device = collector.device()
    record(device, frames=6)
    peer = collector.greet(device)
    first, second, third = (device.cut(2) for _ in range(3))
    collector.send(device, peer, third)
    assert collector.facts() == ["gap.opened"]
    collector.send(device, peer, first)
    with collector.store.read() as connection:
        gap = connection.execute(select(tables.gaps)).one()
    assert (gap.first_sequence, gap.end_sequence, gap.closed_ms) == (8, 16, None)
    collector.send(device, peer, second)
    assert collector.facts() == ["gap.opened", "gap.closed"]
    with collector.store.read() as connection:
        gap = connection.execute(select(tables.gaps)).one()
        spans = connection.execute(select(tables.intervals)).all()
    assert gap.closed_by == "filled"
    assert len(spans) == 1
    accounted(collector, device)


def test_an_eviction_is_counted_and_closes_the_gap(collector: Collector) -> None:
    device = collector.device()
    frames = record(device, frames=6)
    peer = collector.greet(device)
    last = device.sign(frames[4:])
    device.flying[last.number] = (last, frames[4:])
    device.waiting = frames[:4]
    collector.send(device, peer, last)
    device.evict(frames[1:4])
    collector.deliver_all(device, peer)
    assert collector.facts() == ["gap.opened", "device.evicted", "gap.closed"]
    assert accounted(collector, device)["evicted"] == 12
    # The device says it again, since the answer was lost: it counts once.
    device.evictions = [dataclasses.replace(evicted_record(frames[1:4]), frames=3)]
    collector.deliver_all(device, peer)
    assert accounted(collector, device)["evicted"] == 12


def evicted_record(frames: list[WaitingFrame]) -> wire.EvictionRecord:
    device = SimulatedDevice.__new__(SimulatedDevice)
    device.waiting, device.evictions, device.evicted = [], [], 0
    return SimulatedDevice.evict(device, frames)


def test_what_was_said_to_be_evicted_and_comes_after_all_is_stored(collector: Collector) -> None:
    device = collector.device()
    frames = record(device, frames=4)
    peer = collector.greet(device)
    device.evict(frames[0:3])
    collector.deliver_all(device, peer)
    assert accounted(collector, device)["evicted"] == 12
    device.waiting = [frames[1]]
    collector.deliver_all(device, peer)
    totals = accounted(collector, device)
    assert (totals["held"], totals["evicted"]) == (8, 8)


def test_a_poisoned_frame_is_set_aside_and_blocks_nothing(collector: Collector) -> None:
    device = collector.device()
    frames = record(device, frames=5)
    broken = frames[2].frame
    damaged = wire.Frame(header=broken.header, ciphertext=os.urandom(len(broken.ciphertext)))
    device.waiting[2] = dataclasses.replace(frames[2], frame=damaged)
    peer = collector.deliver_all(device)
    assert (device.stored, device.refused) == (16, 4)
    assert "altered" in device.reasons[0]
    assert accounted(collector, device)["aside"] == 4
    # Asked again, the answer is the same and nothing is counted twice.
    device.waiting = [dataclasses.replace(frames[2], frame=damaged)]
    collector.deliver_all(device, peer)
    assert accounted(collector, device)["aside"] == 4
    assert collector.facts() == ["frame.refused"]


def test_a_frame_without_its_segment_is_refused_with_words(collector: Collector) -> None:
    device = collector.device()
    record(device, frames=1)
    peer = collector.greet(device)
    batch = device.cut()
    device.flying[batch.number] = (batch, device.flying[batch.number][1])
    collector.send(device, peer, dataclasses.replace(batch, segments=()))
    assert "segment was not sent" in device.reasons[0]
    accounted(collector, device)


def test_what_is_sealed_to_a_key_that_is_not_here_waits_until_it_is(collector: Collector) -> None:
    """A key published since the collector started, or not restored with it: its events come again, none is lost."""
    device = collector.device()
    record(device, frames=2)
    published = TestSchool()
    device.pins = dataclasses.replace(
        SCHOOL.pins, ingest_key=published.ingest.public_key(), ingest_key_id=published.ingest_id
    )
    device.new_segment()
    sealed = record(device, frames=2)
    peer = collector.greet(device)
    for _ in range(3):
        collector.send(device, peer, device.cut())
    assert (device.stored, device.refused, device.waiting) == (8, 0, sealed)
    key = published.ingest_id.hex()[:16]
    assert f"sealed to the ingest key {key}, which this collector does not hold" in device.reasons[0]
    assert "bring it back from escrow or, if it was published just now, restart" in device.reasons[0]
    assert collector.facts() == ["ingest.key_missing"]
    assert collector.writer.counts.without_key == 24
    assert (collector.totals()["aside"], collector.fsck()) == (0, [])
    keys = {SCHOOL.ingest_id: SCHOOL.ingest, published.ingest_id: published.ingest}
    collector.close()
    restarted = Collector(collector.store, SCHOOL, ingest_keys=keys)
    restarted.deliver_all(device)
    assert (device.stored, device.refused) == (16, 0)
    accounted(restarted, device)
    restarted.close()


def test_another_commitment_for_the_same_place_is_a_conflict_and_demands_a_new_epoch(
    collector: Collector,
) -> None:
    device = collector.device()
    record(device)
    collector.deliver_all(device)
    twin = SimulatedDevice(device.identity, device.pins)
    twin.epoch = device.epoch
    twin.new_segment()
    record(twin)
    collector.deliver_all(twin)
    assert twin.conflicts == 12
    assert collector.facts().count("conflict") == 3
    totals = collector.totals()
    assert totals["rows"] == 12
    assert collector.fsck() == []
    collector.greet(device)
    assert device.welcome is not None
    assert "conflict" in device.welcome.new_epoch_because
    device.new_epoch()
    collector.greet(device)
    assert device.welcome.new_epoch_because == ""


def test_a_broken_chain_is_told_and_the_events_are_kept(collector: Collector) -> None:
    device = collector.device()
    record(device, frames=1)
    device.lanes[Lane.NORMAL].chain = os.urandom(32)
    record(device, frames=1)
    collector.deliver_all(device)
    assert collector.facts() == ["chain.broken"]
    assert device.stored == 8
    accounted(collector, device)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_chain_is_checked_on_both_sides_of_a_filled_gap(collector: Collector, when: str) -> None:
    device = collector.device()
    frames = record(device, frames=2)
    device.lanes[Lane.NORMAL].chain = os.urandom(32) if when == "after" else device.lanes[Lane.NORMAL].chain
    frames += record(device, frames=1)
    peer = collector.greet(device)
    for chosen in ([frames[0]], [frames[2]], [frames[1]]):
        device.waiting = chosen
        collector.deliver_all(device, peer)
    assert ("chain.broken" in collector.facts()) == (when == "after")
    accounted(collector, device)


FORGERIES = {
    "another school": ({"school_id": "other.example"}, "is of the school"),
    "another device": ({"device_id": b"x" * 16}, "another device"),
    "another certificate": ({"certificate_hash": b"x" * 32}, "not this device's"),
    "a short epoch": ({"epoch": b"x"}, "has 1 bytes"),
    "no frames named": ({"runs": ()}, "does not name as many frames"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_statement_that_is_not_this_devices_stores_nothing(collector: Collector, forgery: str) -> None:
    changes, words = FORGERIES[forgery]
    device = collector.device()
    record(device)
    peer = collector.greet(device)
    kept = list(device.waiting)
    collector.send(device, peer, device.cut(**changes))
    (ack,) = (answer for answer in device.answers if isinstance(answer, wire.Ack))
    assert {item.disposition for item in ack.ranges} <= {Disposition.RETRY}
    assert all(words in item.reason for item in ack.ranges)
    assert collector.facts() == ["frame.refused"]
    assert collector.totals()["rows"] == 0
    device.waiting = kept
    collector.deliver_all(device, peer)
    accounted(collector, device)


def test_a_signature_by_another_key_stores_nothing(collector: Collector) -> None:
    device, thief = collector.device(), collector.device()
    record(thief)
    peer = collector.greet(device)
    stolen = thief.cut()
    collector.send(device, peer, stolen)
    assert collector.totals()["rows"] == 0
    batch = dataclasses.replace(device.sign([]), statement=stolen.statement, number=77)
    collector.send(device, peer, batch)
    assert collector.totals()["rows"] == 0
    assert collector.fsck() == []


def test_a_valid_signature_over_another_statement_stores_nothing(collector: Collector) -> None:
    device = collector.device()
    first, second = record(device, frames=1), record(device, frames=1)
    peer = collector.greet(device)
    forged = dataclasses.replace(device.sign(first), signature=device.sign(second).signature)
    collector.send(device, peer, forged)
    assert collector.totals()["rows"] == 0
    assert collector.facts() == ["frame.refused"]
    collector.deliver_all(device, peer)
    accounted(collector, device)


def test_statement_and_frames_must_agree_frame_by_frame(collector: Collector) -> None:
    """A statement that names another root than the frame carries: that frame alone is refused."""
    device = collector.device()
    record(device, frames=3)
    peer = collector.greet(device)
    honest = device.cut()
    frames = device.flying.pop(honest.number)[1]
    run = wire.LaneRun(
        lane=Lane.NORMAL,
        first_sequence=0,
        counts=(4, 4, 4),
        roots=(frames[0].header.root, os.urandom(32), frames[2].header.root),
        chain_before=bytes(32),
        chain_after=bytes(32),
    )
    lying = device.sign(frames, runs=(run,))
    device.flying[lying.number] = (lying, frames)
    collector.send(device, peer, lying)
    assert (device.stored, device.refused) == (8, 4)
    accounted(collector, device)


def test_truncated_frames_are_refused_one_by_one(collector: Collector) -> None:
    device = collector.device()
    frames = record(device, frames=4)
    broken = [
        wire.Frame(header=frames[0].frame.header[:-3], ciphertext=frames[0].frame.ciphertext),
        wire.Frame(header=frames[1].frame.header, ciphertext=frames[1].frame.ciphertext[:-1]),
        wire.Frame(header=b"", ciphertext=b""),
    ]
    for place, frame in enumerate(broken):
        device.waiting[place] = dataclasses.replace(frames[place], frame=frame)
    collector.deliver_all(device)
    assert (device.stored, device.refused) == (4, 12)
    accounted(collector, device)


def test_bytes_that_are_no_event_refuse_their_frame_only(collector: Collector) -> None:
    device = collector.device()
    device.record([b"\xff\xff\xff"])
    record(device, frames=1)
    collector.deliver_all(device)
    assert (device.stored, device.refused) == (4, 1)
    accounted(collector, device)


def test_an_event_of_a_newer_kind_is_stored_and_proved_as_bytes(collector: Collector) -> None:
    device = collector.device()
    known = encode(
        model.Event(
            id=model.EventId(b"i" * 16),
            wall_unix_ms=5,
            monotonic_ms=1,
            boot_id=b"b",
            body=model.SignedOut(session_id="1"),
        )
    )
    # Field 999 of an Event, wire type 2: a body that this side has never heard of.
    newer = known.replace(encode_signed_out(), b"") + bytes([0xBA, 0x3E, 0x03]) + b"new"
    device.record([newer])
    collector.deliver_all(device)
    with collector.store.read() as connection:
        (found,) = events_after(connection, collector.store.keystore, SCHOOL.school_id, 0, 10)
        shown = event_proof(connection, collector.store.keystore, SCHOOL.school_id, found.event_no)
    assert isinstance(found.event.body, model.Unrecognised)
    assert shown.event == newer
    accounted(collector, device)


def encode_signed_out() -> bytes:
    """The bytes of `signed_out { session_id: "1" }` inside an Event."""
    return bytes([0xB2, 0x01, 0x03, 0x0A, 0x01]) + b"1"


def test_too_many_frames_are_refused_as_a_batch(collector: Collector) -> None:
    device = collector.device()
    for _ in range(513):
        device.record([started()])
    peer = collector.greet(device)
    collector.send(device, peer, device.cut(513))
    (ack,) = (answer for answer in device.answers if isinstance(answer, wire.Ack))
    assert "at most 512" in ack.ranges[0].reason
    assert collector.totals()["rows"] == 0


def test_the_daily_budget_pushes_back_and_says_so_once(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path)
    collector = Collector(store, SCHOOL, budget=NO_BUDGET | {Lane.NORMAL: 3_000})
    device = collector.device()
    peer = collector.greet(device)
    record(device, frames=6)
    record(device, frames=2, lane=Lane.CRITICAL)
    collector.send(device, peer, device.cut())
    pushback = next(answer for answer in device.answers if isinstance(answer, wire.Pushback))
    assert pushback.lanes == (Lane.NORMAL,)
    assert 0 < pushback.retry_after_ms <= 3_600_000
    collector.send(device, peer, device.cut())
    assert collector.facts() == ["budget.exceeded"]
    assert device.waiting
    collector.now_ms += 24 * 3600 * 1000
    while device.waiting:
        collector.send(device, peer, device.cut())
        collector.now_ms += 24 * 3600 * 1000
    accounted(collector, device)
    collector.close()


def test_a_bomb_of_frames_is_taken_in_pieces(collector: Collector) -> None:
    """Frames that open to a megabyte each: the batch's bound asks for the rest again, and all arrive."""
    device = collector.device()
    filler = encode(
        model.Event(
            id=model.EventId(b"i" * 16),
            wall_unix_ms=5,
            monotonic_ms=1,
            boot_id=b"b",
            body=model.AgentStopped(reason="x" * 60_000),
        )
    )
    for _ in range(40):
        device.record([filler] * 16)
    peer = collector.greet(device)
    collector.send(device, peer, device.cut())
    assert device.waiting
    assert 0 < device.stored < device.recorded
    collector.deliver_all(device, peer)
    accounted(collector, device)


def test_a_restored_spool_must_open_a_new_epoch(collector: Collector) -> None:
    device = collector.device()
    record(device)
    collector.deliver_all(device)
    device.lanes[Lane.NORMAL].next = 4
    collector.greet(device)
    assert device.welcome is not None
    assert "set back" in device.welcome.new_epoch_because


def test_a_device_that_is_not_active_is_turned_away(collector: Collector) -> None:
    device = collector.device()
    with collector.store.write() as connection:
        connection.execute(update(tables.devices).values(status="revoked"))
    collector.greet(device)
    assert device.goodbye is not None
    assert device.goodbye.reason == "revoked"
    assert "enrol it again" in device.goodbye.remedy


def test_heartbeats_prove_consistency_and_note_contact(collector: Collector) -> None:
    device, other = collector.device(), collector.device()
    record(device)
    peer = collector.deliver_all(device)
    for _ in range(5):
        record(other)
        collector.deliver_all(other)
    before = device.checkpoint
    collector.now_ms += 60_000
    collector.beat(device, peer)
    assert device.checkpoint != before
    with collector.store.read() as connection:
        contact = connection.execute(
            select(tables.devices.c.last_contact_ms).where(tables.devices.c.device_no == peer.device_no)
        ).scalar_one()
    assert contact == collector.now_ms
