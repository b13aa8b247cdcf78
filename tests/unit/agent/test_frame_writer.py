"""The writer's thread: grouping, a full disk, what does not fit, and damage while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakes.memory_spool import MemorySpool
from schoolkeeper_agent.clock import SystemClock
from schoolkeeper_agent.spool import schema
from schoolkeeper_agent.spool.contract import Appended, Spool, SpoolUnwritable, Wanted
from schoolkeeper_agent.spool.opening import open_spool
from schoolkeeper_agent.spool.writer import GROUP_SECONDS, FrameWriter, Hooks, Lost
from schoolkeeper_proto.wire import Lane
from support.spools import OWNER, TARGET, Account, Disk, moment

ALL = Wanted(max_bytes=1 << 30, max_frames=100_000)


@pytest.fixture
def writers() -> Iterator[list[FrameWriter]]:
    made: list[FrameWriter] = []
    yield made
    for writer in made:
        writer.stop()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def grouping(writers: list[FrameWriter], group_seconds: float) -> tuple[FrameWriter, list[Appended]]:
    """A writer that runs, and what it appended."""
    done: list[Appended] = []
    spool = MemorySpool(OWNER, TARGET)
    hooks = Hooks(appended=done.append)
    writers.append(
        writer := FrameWriter(lambda _: spool, SystemClock().now, hooks, group_seconds=group_seconds)
    )
    writer.start()
    until(lambda: writer.call(lambda s: s.usage()).result().pending_events == 0)
    return writer, done


def test_a_critical_event_does_not_wait_for_others_that_form_a_group(writers: list[FrameWriter]) -> None:
    """The group's time never ends here: what is written, was written without waiting."""
    writer, done = grouping(writers, group_seconds=3_600)
    for number in range(10):
        writer.record(Lane.NORMAL, b"%d" % number)
    assert writer.state().buffered_events == 10
    assert not done
    writer.record(Lane.CRITICAL, b"now")
    until(lambda: writer.state().buffered_events == 0)
    until(lambda: sum(one.events for one in done) == 11)
    assert sorted(one.events for one in done) == [1, 10], "a frame for each lane"


def test_a_group_ends_with_its_time(writers: list[FrameWriter]) -> None:
    assert GROUP_SECONDS <= 0.05
    writer, done = grouping(writers, group_seconds=GROUP_SECONDS)
    writer.record(Lane.NORMAL, b"alone")
    until(lambda: len(done) == 1)


def test_a_full_disk_keeps_what_fits_in_memory_counts_the_rest_and_recovers(
    writers: list[FrameWriter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    monkeypatch.setattr(schema, "connect", disk.connect)
    lost: list[Lost] = []
    opened = open_spool(tmp_path / "spool.db", OWNER, TARGET, moment())
    writers.append(
        writer := FrameWriter(
            lambda _: opened, SystemClock().now, Hooks(lost=lost.append), buffer_bytes=20_000
        )
    )
    writer.start()
    writer.record(Lane.NORMAL, b"before")
    until(lambda: writer.call(lambda s: s.usage()).result().pending_events == 1)
    disk.failing = True
    for number in range(100):
        writer.record(Lane.BULK, b"b%03d" % number + bytes(300))
    writer.record(Lane.CRITICAL, b"kept")
    until(lambda: writer.state().failing_because != "")
    assert "full or failing" in writer.state().failing_because
    dropped = writer.state().dropped_events
    assert dropped > 40
    disk.failing = False
    until(lambda: writer.state().failing_because == "")
    until(lambda: len(lost) == 1)
    assert lost[0].events == dropped
    account = Account()
    reading = writer.call(lambda s: s.read(ALL)).result()
    assert reading is not None
    account.take(reading)
    assert b"kept" in account.events.values()
    assert len(account.events) == 102 - dropped
    assert writer.call(lambda s: s.usage()).result().lost_events == dropped
    assert writer.state().dropped_events == 0, "counted in one place, so that nobody adds it up twice"


def test_without_a_spool_jobs_are_refused_and_events_wait(writers: list[FrameWriter]) -> None:
    ready: list[Spool] = []

    def opening(_: object) -> Spool:
        if not ready:
            raise SpoolUnwritable("the disk is full")
        return ready[0]

    writers.append(writer := FrameWriter(opening, SystemClock().now, Hooks()))
    writer.start()
    writer.record(Lane.NORMAL, b"early")
    with pytest.raises(SpoolUnwritable, match="the disk is full"):
        writer.call(lambda s: s.usage()).result()
    ready.append(MemorySpool(OWNER, TARGET))
    until(lambda: ready[0].usage().pending_events == 1)
    until(lambda: writer.state().buffered_events == 0)


def test_an_event_that_fits_no_frame_is_counted_and_takes_no_other_with_it(
    writers: list[FrameWriter],
) -> None:
    lost: list[Lost] = []
    spool = MemorySpool(OWNER, TARGET)
    writers.append(writer := FrameWriter(lambda _: spool, SystemClock().now, Hooks(lost=lost.append)))
    writer.start()
    writer.record(Lane.NORMAL, b"one")
    writer.record(Lane.NORMAL, bytes(70_000))
    writer.record(Lane.NORMAL, b"two")
    until(lambda: spool.usage().pending_events == 2)
    until(lambda: bool(lost))
    assert lost[0].events == 1
    assert "70000 bytes" in lost[0].because


def test_ten_thousand_events_a_second_reach_the_spool_without_a_drop(
    writers: list[FrameWriter], tmp_path: Path
) -> None:
    clock = SystemClock()
    writers.append(
        writer := FrameWriter(
            lambda _: open_spool(tmp_path / "spool.db", OWNER, TARGET, clock.now()), clock.now, Hooks()
        )
    )
    writer.start()
    event = bytes(274)
    for _ in range(20):
        start = time.monotonic()
        for _ in range(500):
            writer.record(Lane.BULK, event)
        time.sleep(max(0.0, 0.05 - (time.monotonic() - start)))
    until(lambda: writer.call(lambda s: s.usage()).result().pending_events == 10_000)
    assert writer.state().dropped_events == writer.call(lambda s: s.usage()).result().lost_events == 0


def test_stopping_writes_what_is_buffered(tmp_path: Path) -> None:
    clock = SystemClock()
    path = tmp_path / "spool.db"
    writer = FrameWriter(lambda _: open_spool(path, OWNER, TARGET, clock.now()), clock.now, Hooks())
    writer.start()
    for number in range(50):
        writer.record(Lane.NORMAL, b"%d" % number)
    assert writer.stop() == 0
    spool = open_spool(path, OWNER, TARGET, clock.now())
    assert spool.usage().pending_events == 50
    spool.close()
