"""What every spool keeps to, real or fake: accepted + refused + counted as evicted = sent, and nothing twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fakes.memory_spool import MemorySpool
from schoolkeeper_agent.spool import schema
from schoolkeeper_agent.spool.contract import (
    FrameState,
    Settlement,
    Spool,
    SpoolError,
    SpoolRefused,
    SpoolUnwritable,
    Wanted,
)
from schoolkeeper_agent.spool.intervals import Intervals
from schoolkeeper_agent.spool.opening import open_spool
from schoolkeeper_proto import wire
from schoolkeeper_proto.wire import Lane
from support.spools import OWNER, TARGET, Account, Disk, moment

ALL = Wanted(max_bytes=1 << 30, max_frames=100_000)


@dataclass
class Rig:
    make: Callable[[int], Spool]
    disk: Disk | None


@pytest.fixture(params=["memory", "sqlite"])
def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    made: list[Spool] = []
    if request.param == "memory":

        def make(room: int) -> Spool:
            made.append(MemorySpool(OWNER, TARGET, room_bytes=room))
            return made[-1]

        yield Rig(make, None)
    else:
        disk = Disk()
        monkeypatch.setattr(schema, "connect", disk.connect)

        def make(room: int) -> Spool:
            made.append(open_spool(tmp_path / "spool.db", OWNER, TARGET, moment(), room_bytes=room))
            return made[-1]

        yield Rig(make, disk)
    for spool in made:
        spool.close()


def drain(spool: Spool, account: Account) -> None:
    while reading := spool.read(Wanted(max_bytes=50_000, max_frames=64)):
        account.take(reading)
        spool.settle(
            Settlement(
                delivered=tuple(f.number for f in reading.frames),
                evictions_reported=tuple(e.number for e in reading.evictions),
            ),
            moment(),
        )


def test_what_is_appended_is_read_in_order_of_lanes(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    spool.append(Lane.BULK, [b"bulk"], moment(1))
    spool.append(Lane.NORMAL, [b"normal one", b"normal two"], moment(2))
    spool.append(Lane.CRITICAL, [b"critical"], moment(3))
    reading = spool.read(ALL)
    assert reading is not None
    assert [f.lane for f in reading.frames] == [Lane.CRITICAL, Lane.NORMAL, Lane.BULK]
    account = Account()
    account.take(reading)
    assert set(account.events.values()) == {b"bulk", b"normal one", b"normal two", b"critical"}
    account.check_lanes(spool)


def test_delivered_frames_are_not_read_again_and_leave_after_fourteen_days(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    spool.append(Lane.NORMAL, [b"event"], moment())
    drain(spool, Account())
    assert spool.read(ALL) is None
    assert spool.usage().delivered_frames == 1
    spool.tidy(moment(14 * 86_400_000))
    assert spool.usage().delivered_frames == 1
    spool.tidy(moment(14 * 86_400_000 + 1))
    assert spool.usage().delivered_frames == 0


def test_the_same_frame_is_cut_again_until_it_is_settled(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    spool.append(Lane.NORMAL, [b"event"], moment())
    first, second = spool.read(ALL), spool.read(ALL)
    assert first is not None
    assert first == second


def test_frames_under_way_are_skipped(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    for number in range(5):
        spool.append(Lane.NORMAL, [b"%d" % number], moment())
    first = spool.read(Wanted(max_bytes=1 << 20, max_frames=2))
    assert first is not None
    under_way = Intervals.of(f.number for f in first.frames)
    rest = spool.read(Wanted(max_bytes=1 << 20, max_frames=10, skip=under_way))
    assert rest is not None
    assert [f.first_sequence for f in rest.frames] == [2, 3, 4]


def test_bulk_is_evicted_first_and_critical_last_with_records_that_join_the_chain(rig: Rig) -> None:
    spool = rig.make(64 << 10)
    accepted = 0
    for number in range(300):
        lane = (Lane.BULK, Lane.NORMAL, Lane.CRITICAL)[number // 100]
        spool.append(lane, [b"%05d" % number + random.randbytes(200)], moment(number))
        accepted += 1
    usage = {lane.lane: lane.pending_events for lane in spool.usage().lanes}
    assert usage[Lane.BULK] == 0
    assert usage[Lane.CRITICAL] == 100 > usage[Lane.NORMAL]
    account = Account()
    drain(spool, account)
    account.check_lanes(spool)
    evicted = sum(record.events for record in account.evicted.values())
    assert evicted == spool.usage().evicted_events > 0
    assert len(account.events) + evicted == accepted


def test_an_append_never_evicts_a_more_important_lane(rig: Rig) -> None:
    spool = rig.make(64 << 10)
    refused = 0
    for number in range(300):
        spool.append(Lane.CRITICAL, [random.randbytes(200)], moment(number))
        if spool.usage().evicted_events:
            break
    kept, gone = spool.usage().lanes[0].pending_events, spool.usage().evicted_events
    for number in range(60):
        try:
            spool.append(Lane.BULK, [random.randbytes(700)], moment(number))
        except SpoolUnwritable as error:
            refused += "spool.room_bytes" in str(error)
    assert spool.usage().lanes[0].pending_events == kept
    assert refused + spool.usage().evicted_events - gone >= 58


def test_what_was_delivered_goes_before_anything_that_was_not(rig: Rig) -> None:
    spool = rig.make(64 << 10)
    for number in range(80):
        spool.append(Lane.NORMAL, [random.randbytes(200)], moment(number))
    drain(spool, Account())
    for number in range(80):
        spool.append(Lane.BULK, [random.randbytes(200)], moment(number))
    assert spool.usage().evicted_events == 0
    assert spool.usage().pending_events == 80


def test_too_much_for_any_frame_is_refused_with_the_place(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    with pytest.raises(SpoolRefused, match="event 1 has 65537 bytes"):
        spool.append(Lane.NORMAL, [b"fine", bytes(65_537)], moment())
    with pytest.raises(SpoolRefused, match="no events"):
        spool.append(Lane.NORMAL, [], moment())
    with pytest.raises(SpoolRefused, match="room"):
        spool.append(Lane.NORMAL, [random.randbytes(60_000) for _ in range(30)], moment())
    assert spool.usage().pending_events == 0


def test_many_events_become_several_frames_at_once(rig: Rig) -> None:
    spool = rig.make(64 << 20)
    done = spool.append(Lane.NORMAL, [b"%d" % n for n in range(5_000)], moment())
    assert done.frames == 5
    account = Account()
    drain(spool, account)
    assert len(account.events) == 5_000
    account.check_lanes(spool)


def test_frames_set_aside_are_counted_and_block_nothing(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    spool.append(Lane.NORMAL, [b"poison", b"more"], moment())
    spool.append(Lane.NORMAL, [b"good"], moment())
    reading = spool.read(ALL)
    assert reading is not None
    spool.settle(Settlement(set_aside=((reading.frames[0].number, "refused"),)), moment())
    spool.settle(Settlement(set_aside=((reading.frames[0].number, "refused"),)), moment())
    assert spool.usage().set_aside_events == 2
    rest = spool.read(ALL)
    assert rest is not None
    assert [f.first_sequence for f in rest.frames] == [2]


def test_an_old_epoch_is_still_sent_and_a_batch_never_mixes_two(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    old = spool.epoch
    spool.append(Lane.BULK, [b"old"], moment())
    new = spool.new_epoch("tests", moment())
    spool.append(Lane.CRITICAL, [b"new"], moment())
    assert spool.epoch == new != old
    assert spool.epoch_because == "tests"
    account = Account()
    epochs = []
    while reading := spool.read(ALL):
        epochs.append(reading.epoch)
        account.take(reading)
        spool.settle(Settlement(delivered=tuple(f.number for f in reading.frames)), moment())
    assert epochs == [new, old]
    assert set(account.events.values()) == {b"old", b"new"}


def test_after_a_restore_what_the_collector_lacks_is_sent_again(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    for number in range(4):
        spool.append(Lane.NORMAL, [b"%d" % number, b"x"], moment())
    drain(spool, Account())
    held = wire.HeldRange(epoch=spool.epoch, lane=Lane.NORMAL, first_sequence=0, end_sequence=5)
    assert spool.send_again([held]) == 4
    again = spool.read(ALL)
    assert again is not None
    assert [f.first_sequence for f in again.frames] == [4, 6]


def test_notes_are_kept_with_a_settlement(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    assert spool.note("checkpoint") == b""
    spool.settle(Settlement(notes={"checkpoint": b"one"}), moment())
    spool.settle(Settlement(notes={"checkpoint": b"two"}), moment())
    assert spool.note("checkpoint") == b"two"


def test_a_note_is_kept_with_its_event_or_neither_is(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    spool.append(Lane.NORMAL, [b"first"], moment(), {"agreed": b"one"})
    assert spool.note("agreed") == b"one"
    with pytest.raises(SpoolRefused):
        spool.append(Lane.NORMAL, [bytes(2 << 20)], moment(), {"agreed": b"two"})
    assert spool.note("agreed") == b"one"
    assert spool.usage().pending_events == 1
    if rig.disk is not None:
        rig.disk.orders = ["dies"]
        with pytest.raises(SpoolUnwritable):
            spool.append(Lane.NORMAL, [b"third"], moment(), {"agreed": b"three"})
        rig.disk.failing = False
        assert spool.read(ALL) is not None
        assert spool.usage().pending_events == 1


def test_cursors_say_where_each_lane_is(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    spool.append(Lane.NORMAL, [b"a", b"b"], moment())
    cursor = {c.lane: c for c in spool.cursors()}[Lane.NORMAL]
    assert (cursor.oldest_sequence, cursor.next_sequence) == (0, 2)
    drain(spool, Account())
    cursor = {c.lane: c for c in spool.cursors()}[Lane.NORMAL]
    assert (cursor.oldest_sequence, cursor.next_sequence) == (2, 2)


def test_each_event_s_fate_can_be_asked_for(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    spool.append(Lane.NORMAL, [b"one", b"two"], moment(1))
    spool.append(Lane.NORMAL, [b"three"], moment(2))
    spool.append(Lane.BULK, [b"other"], moment(2))
    reading = spool.read(ALL)
    assert reading is not None
    first, second, _ = reading.frames
    spool.settle(Settlement(delivered=(first.number,), set_aside=((second.number, "x"),)), moment(3))
    fates = [spool.fate(spool.epoch, Lane.NORMAL, place) for place in range(4)]
    assert fates == [FrameState.DELIVERED, FrameState.DELIVERED, FrameState.SET_ASIDE, None]
    assert spool.fate(spool.epoch, Lane.BULK, 0) is FrameState.PENDING
    assert spool.fate(b"another epoch" + b" " * 3, Lane.BULK, 0) is None


def test_what_was_evicted_is_still_told_after_many_new_epochs(rig: Rig) -> None:
    """Also while the record of it could still grow: its epoch stays."""
    spool = rig.make(8 << 10)
    for number in range(60):
        spool.append(Lane.NORMAL, [b"%04d" % number], moment(number))
    evicted = spool.usage().evicted_events
    assert evicted
    settle_all(spool)
    spool.tidy(moment(15 * 24 * 3_600_000))
    for number in range(20):
        spool.new_epoch(f"tests {number}", moment(100 + number))
    account = Account()
    drain(spool, account)
    assert sum(record.events for record in account.evicted.values()) == evicted


def settle_all(spool: Spool) -> None:
    """Delivers every frame and leaves the eviction records for later."""
    wanted = Wanted(max_bytes=1 << 20, max_frames=1_000, skip_evictions=Intervals.of(range(1_000)))
    while reading := spool.read(wanted):
        spool.settle(Settlement(delivered=tuple(f.number for f in reading.frames)), moment(99))


def test_usage_counts_frames_events_bytes_and_the_oldest(rig: Rig) -> None:
    spool = rig.make(1 << 20)
    spool.append(Lane.NORMAL, [b"a", b"b"], moment(5))
    spool.append(Lane.NORMAL, [b"c"], moment(9))
    usage = spool.usage()
    assert (usage.pending_frames, usage.pending_events) == (2, 3)
    assert usage.pending_bytes == usage.used_bytes > 0
    assert usage.oldest_unix_ms == moment(5).wall_ms
    spool.count_lost(7)
    assert spool.usage().lost_events == 7


def test_a_refused_append_that_was_kept_is_undone_before_anything_is_read(rig: Rig) -> None:
    """The disk fails in the commit, and again in the commit that undoes it."""
    if rig.disk is None:
        pytest.skip("a spool in memory has no disk that could leave a commit in doubt")
    spool = rig.make(1 << 20)
    rig.disk.orders = ["dies"]
    with pytest.raises(SpoolUnwritable):
        spool.append(Lane.NORMAL, [b"refused"], moment())
    rig.disk.failing, rig.disk.orders = False, ["full"]
    with pytest.raises(SpoolUnwritable):
        spool.read(ALL)
    assert spool.read(ALL) is None
    assert spool.usage().pending_events == 0


@pytest.mark.seeds(short=12, long=150)
def test_random_faults_lose_nothing_that_was_accepted_and_keep_nothing_that_was_refused(
    rig: Rig, seed: int
) -> None:
    """The account after a long run with temporary and permanent faults, small room, settling and new epochs."""
    chance = random.Random(seed)
    spool = rig.make(96 << 10)
    account = Account()
    accepted: set[bytes] = set()
    refused: set[bytes] = set()
    for step in range(250):
        if rig.disk is not None:
            if chance.random() < 0.15:
                rig.disk.orders = [chance.choice(["full", "unsure", "dies"])]
            if rig.disk.failing and chance.random() < 0.5:
                rig.disk.failing = False
        events = [b"%d.%d." % (step, n) + chance.randbytes(150) for n in range(chance.choice((1, 1, 2, 30)))]
        try:
            spool.append(chance.choice(wire.LANES), events, moment(step))
            accepted.update(events)
        except SpoolError:
            refused.update(events)
        try:
            if chance.random() < 0.3:
                reading = spool.read(
                    Wanted(max_bytes=chance.choice((500, 9_000)), max_frames=chance.randint(1, 9))
                )
                if reading:
                    account.take(reading)
                    numbers = [f.number for f in reading.frames]
                    keep = chance.randint(0, len(numbers))
                    spool.settle(
                        Settlement(
                            delivered=tuple(numbers[:keep]),
                            evictions_reported=tuple(e.number for e in reading.evictions),
                        ),
                        moment(step),
                    )
            if chance.random() < 0.02:
                spool.new_epoch("tests", moment(step))
        except SpoolUnwritable:
            continue
    if rig.disk is not None:
        rig.disk.orders, rig.disk.failing = [], False
    drain(spool, account)
    account.check_lanes(spool)
    found = list(account.events.values())
    assert len(found) == len(set(found)), "an event lies in two places"
    assert set(found) <= accepted, "an event that was refused was kept"
    evicted = {
        (epoch, lane, sequence)
        for (epoch, lane, first), record in account.evicted.items()
        for sequence in range(first, first + record.events)
    }
    assert len(set(account.events) | evicted) == len(accepted)
    assert spool.usage().evicted_events == sum(record.events for record in account.evicted.values())
    if rig.disk is not None:
        assert refused, "no fault was hit: the test proves nothing"
