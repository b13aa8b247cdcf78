"""Ingest on both engines: one life of a device with everything that can happen to a frame, and `fsck` afterwards."""

import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Executable, func, select, update

from schoolkeeper_collector.ledger.audit import record_access
from schoolkeeper_collector.ledger.proofs import NotProvable, event_proof
from schoolkeeper_collector.ledger.sequencer import FencedError, Sequencer
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_collector.store.events import events_after, read_events
from schoolkeeper_collector.store.expiry import Expiry
from schoolkeeper_proto import model, proof, wire
from schoolkeeper_proto.wire import Lane
from support.collector import Collector, TestSchool, add_school
from support.device import NOW_MS, SimulatedDevice, started
from support.stores import ENGINES, StoreUrls, migrated

SCHOOL = TestSchool()


@pytest.fixture(params=ENGINES)
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUrls:
    return StoreUrls.of(request.param, tmp_path, request)


@pytest.fixture
def store(urls: StoreUrls) -> Iterator[Store]:
    migrated(urls.store, urls.keystore)
    store = open_store(urls.store, urls.keystore)
    add_school(store)
    yield store
    store.close()


@pytest.fixture
def collector(store: Store) -> Iterator[Collector]:
    collector = Collector(store, SCHOOL)
    yield collector
    collector.close()


def test_everything_that_can_happen_to_a_frame(collector: Collector) -> None:
    device = collector.device()
    peer = collector.greet(device)
    for lane in wire.LANES:
        for _ in range(8):
            device.record(
                [started(), model.Posture(check="lock\0", result=model.PostureResult.FAIL), started()], lane
            )
    frames = list(device.waiting)
    critical, normal, bulk = frames[:8], frames[8:16], frames[16:]
    broken = dataclasses.replace(critical[3].frame, ciphertext=os.urandom(64))
    device.waiting = [*critical[:3], dataclasses.replace(critical[3], frame=broken), *critical[4:]]
    collector.deliver_all(device, peer)
    device.waiting = normal[4:]
    collector.deliver_all(device, peer)
    device.waiting = bulk
    device.evict(bulk[:5], reason="no room\0")
    collector.deliver_all(device, peer)
    device.waiting = normal[2:4]
    collector.deliver_all(device, peer)
    device.waiting = [*normal[:2], *normal[4:5]]
    collector.deliver_all(device, peer)
    totals = collector.totals()
    assert totals == {"rows": 72 - 3 - 15, "held": 72 - 3 - 15, "evicted": 15, "aside": 3}
    assert collector.fsck() == []
    with collector.store.read() as connection:
        open_gaps = connection.execute(
            select(func.count()).select_from(tables.gaps).where(tables.gaps.c.closed_ms.is_(None))
        ).scalar()
        found = events_after(connection, collector.store.keystore, SCHOOL.school_id, 0, 1000)
        some = read_events(connection, collector.store.keystore, SCHOOL.school_id, [3, 1, 2, 999_999])
        shown = event_proof(connection, collector.store.keystore, SCHOOL.school_id, found[-1].event_no)
    assert open_gaps == 0
    assert len(found) == totals["rows"]
    assert [event.event_no for event in some] == [1, 2, 3]
    assert proof.holds(proof.check(shown, [SCHOOL.ledger.public_key().public_bytes_raw()]))


def test_the_queue_is_taken_into_the_ledger_in_order(collector: Collector) -> None:
    with collector.store.write() as connection:
        for number in range(3):
            record_access(
                connection,
                school_id=SCHOOL.school_id,
                account_id=f"a-{number}",
                action="alert.read",
                object_type="alert",
                object_id=bytes([number]),
                reason="",
                now_ms=NOW_MS,
            )
    collector.writer.work([])
    with collector.store.read() as connection:
        places = connection.execute(
            select(tables.ledger_queue.c.leaf_index).order_by(tables.ledger_queue.c.queue_no)
        ).scalars()
        assert list(places) == [0, 1, 2]
    assert collector.fsck() == []


def test_a_second_sequencer_is_locked_out_while_the_first_lives(collector: Collector, store: Store) -> None:
    with pytest.raises(FencedError, match="only one may run"):
        Sequencer(store, SCHOOL.school_id, SCHOOL.ledger, "second").take_office(NOW_MS)
    collector.sequencer.leave_office()
    second = Sequencer(store, SCHOOL.school_id, SCHOOL.ledger, "second")
    assert second.take_office(NOW_MS) == 2
    second.leave_office()


def test_a_sequencer_that_sees_a_higher_term_stops(collector: Collector, store: Store) -> None:
    device = collector.device()
    peer = collector.greet(device)
    with store.write() as connection:
        connection.execute(update(tables.sequencer_terms).values(term=7, holder="another"))
    device.record([started()])
    with pytest.raises(FencedError, match="another since term 7"):
        collector.send(device, peer, device.cut())
    assert collector.totals()["rows"] == 0


def test_a_new_collector_goes_on_where_the_last_one_stood(collector: Collector, store: Store) -> None:
    device = collector.device()
    device.record([started()] * 3)
    collector.deliver_all(device)
    collector.close()
    second = Collector(store, SCHOOL)
    device.record([started()] * 2)
    second.deliver_all(device)
    assert (device.stored, device.duplicate) == (5, 0)
    assert second.fsck() == []
    second.close()


# What is altered -> (the statement that does it, the table that `fsck` names).
DAMAGE: dict[str, tuple[Executable, str]] = {
    "an entry": (
        update(tables.ledger_entries).where(tables.ledger_entries.c.leaf_index == 1).values(entry=b"x"),
        "ledger_entries",
    ),
    "a node": (update(tables.ledger_nodes).values(hash=bytes(32)), "ledger_nodes"),
    "a checkpoint": (update(tables.checkpoints).values(note="x"), "checkpoints"),
    "a newest checkpoint": (tables.checkpoints.delete().where(tables.checkpoints.c.size > 1), "checkpoints"),
    "a root": (update(tables.frames).values(root=bytes(32)), "frames"),
    "a chain": (update(tables.frames).values(chain=bytes(32)), "frames"),
    "a blob": (update(tables.blobs).values(data=b"x" * 60), "blobs"),
    "a row": (update(tables.events).where(tables.events.c.event_no == 2).values(kind=20), "events"),
    "a row gone": (tables.events.delete().where(tables.events.c.event_no == 2), "events"),
    "an interval": (update(tables.intervals).values(end_sequence=99), "intervals"),
    "a gap": (update(tables.gaps).values(closed_ms=5), "gaps"),
    "a certificate": (tables.certificates.delete(), "ledger_entries"),
    "an eviction": (update(tables.evictions).values(events=tables.evictions.c.events + 1), "evictions"),
    "a counter": (update(tables.devices).values(evicted_events=0), "devices"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_fsck_names_what_does_not_match(collector: Collector, name: str) -> None:
    device = collector.device()
    peer = collector.greet(device)
    frames = [device.record([started(), started()]) for _ in range(8)]
    device.waiting = frames[:2]
    collector.deliver_all(device, peer)
    device.evict(frames[2:4])
    collector.deliver_all(device, peer)
    device.waiting = frames[6:]
    collector.deliver_all(device, peer)
    assert collector.fsck() == []
    statement, table = DAMAGE[name]
    with collector.store.write() as connection:
        connection.execute(statement)
    findings = collector.fsck()
    assert any(finding.fatal and finding.table == table for finding in findings), findings


def test_a_simulated_device_notices_a_missing_proof() -> None:
    """The helper itself can fail: an ack that claims `stored` without a proof is refused."""
    device = SimulatedDevice.__new__(SimulatedDevice)
    device.stored = device.duplicate = 0
    item = wire.RangeDisposition(
        epoch=b"", lane=Lane.NORMAL, first_sequence=0, count=1, disposition=wire.Disposition.STORED
    )
    with pytest.raises(AssertionError, match="without a proof"):
        device._settle(item, [], proved=False)


DAY = 24 * 3600 * 1000


def _expire(collector: Collector, expiry: Expiry) -> int:
    """Until the pass is over; how many steps it took."""
    steps = 0
    while expiry.due(collector.now_ms):
        collector.expire_step(expiry)
        steps += 1
    return steps


def _kinds(collector: Collector) -> list[str]:
    with collector.store.read() as connection:
        found = events_after(connection, collector.store.keystore, SCHOOL.school_id, 0, 1000)
    return [event.event.body.KIND for event in found]


def test_what_was_kept_for_long_enough_goes_and_the_rest_is_still_proved(collector: Collector) -> None:
    device, store = collector.device(), collector.store
    mixed: list[model.Body] = [
        started(),
        model.Posture(check="lock", result=model.PostureResult.PASS),
        started(),
    ]
    for _ in range(3):
        device.record([*mixed, model.FilterBypass(technique="vpn")])
        device.record([started()] * 4)
        collector.deliver_all(device)
    expiry = Expiry(SCHOOL.school_id, store.keystore, at_most=2)
    collector.now_ms += 29 * DAY
    assert _expire(collector, expiry) == 4, "a step for each class, one for evidence"
    assert not expiry.due(collector.now_ms + 3_599_999)
    assert len(_kinds(collector)) == 24

    collector.now_ms += 2 * DAY
    device.record([started()] * 5)
    collector.deliver_all(device)
    assert _expire(collector, expiry) == 5, "two blobs at a time"
    assert expiry.counts.events == {"raw": 18, "year": 0, "safeguarding": 0}
    assert _kinds(collector) == ["posture", "network.filter_bypass"] * 3 + ["application.started"] * 5
    assert expiry.counts.keys == 1, "of a week that is over and has no blob left"
    assert collector.fsck() == []
    with store.read() as connection:
        numbers = list(connection.execute(select(tables.events.c.event_no)).scalars())
        for number in numbers:
            shown = event_proof(connection, store.keystore, SCHOOL.school_id, number)
            assert proof.holds(proof.check(shown, [SCHOOL.ledger.public_key().public_bytes_raw()]))
        with pytest.raises(NotProvable, match="its time is over"):
            event_proof(connection, store.keystore, SCHOOL.school_id, 1)

    collector.now_ms += 8 * DAY
    _expire(collector, expiry)
    assert (expiry.counts.keys, collector.count(tables.blobs)) == (1, 7)
    assert len(_kinds(collector)) == 11
    collector.now_ms += 400 * DAY
    _expire(collector, expiry)
    # The newest blob stays, and its key, so that no number is given twice.
    assert _kinds(collector) == ["network.filter_bypass"] * 3 + ["application.started"] * 5
    assert collector.fsck() == []
    device.record([started()] * 2)
    collector.deliver_all(device)
    collector.now_ms += 8 * 366 * DAY
    _expire(collector, expiry)
    assert _kinds(collector) == ["application.started"] * 2
    assert (collector.count(tables.frames), device.stored) == (8, 31)
    with store.keystore.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(tables.blob_keys)).scalar() == 1
    assert collector.fsck() == []


def test_fsck_tells_a_loss_from_an_expiry(collector: Collector) -> None:
    device = collector.device()
    for _ in range(3):
        device.record([started()] * 4)
        collector.deliver_all(device)
    collector.now_ms += 31 * DAY
    device.record([started()] * 4)
    collector.deliver_all(device)
    _expire(collector, Expiry(SCHOOL.school_id, collector.store.keystore))
    assert collector.fsck() == []
    with collector.store.write() as connection:
        connection.execute(update(tables.expiries).values(events=11))
    (found,) = collector.fsck()
    assert "counts 11 events whose time was over; the ledger's tombstones name 12" in str(found)
    with collector.store.write() as connection:
        connection.execute(update(tables.expiries).values(events=12))
        connection.execute(tables.events.delete())
        connection.execute(tables.blobs.delete())
    (found,) = collector.fsck()
    assert "4 events of its frames are in no blob, and no tombstone says why" in str(found)
    assert found.fatal


def test_the_writer_deletes_a_little_at_a_time_between_commits(store: Store) -> None:
    expiry = Expiry(SCHOOL.school_id, store.keystore, at_most=1)
    collector = Collector(store, SCHOOL, expiry=expiry)
    device = collector.device()
    for _ in range(4):
        device.record([started()])
        collector.deliver_all(device)
    collector.now_ms += 31 * DAY
    collector.writer.start()
    deadline = time.monotonic() + 90
    while collector.count(tables.blobs) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    collector.writer.stop()
    assert (expiry.counts.blobs["raw"], collector.writer.counts.failures) == (3, 0)
    assert collector.fsck() == []
    collector.close()
