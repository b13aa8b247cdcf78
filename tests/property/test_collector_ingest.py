"""Whatever order, repetition and damage a device's frames arrive in: each event has one fate, `fsck` is clean."""

import dataclasses
import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schoolkeeper_proto import wire
from schoolkeeper_proto.wire import Lane
from support.collector import Collector, TestSchool, sqlite_store
from support.device import WaitingFrame, started

SCHOOL = TestSchool()
FRAMES = 8
STEP = st.tuples(
    st.sampled_from(["send", "send", "send", "evict", "damage"]),
    st.sampled_from([Lane.NORMAL, Lane.CRITICAL]),
    st.integers(0, FRAMES - 1),
    st.integers(1, FRAMES),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, min_size=1, max_size=12))
def test_every_event_has_one_fate(steps: list[tuple[str, Lane, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = sqlite_store(Path(folder))
        collector = Collector(store, SCHOOL)
        device = collector.device()
        peer = collector.greet(device)
        frames: dict[Lane, list[WaitingFrame]] = {lane: [] for lane in (Lane.NORMAL, Lane.CRITICAL)}
        for lane, made in frames.items():
            for number in range(FRAMES):
                made.append(device.record([started()] * (1 + number % 3), lane))
        device.waiting = []
        touched: set[tuple[Lane, int]] = set()
        for what, lane, first, count in steps:
            chosen = frames[lane][first : first + count]
            touched |= {(lane, number) for number in range(first, first + len(chosen))}
            match what:
                case "evict":
                    device.evict(chosen)
                case "damage":
                    broken = [dataclasses.replace(f, frame=_damaged(f)) for f in chosen]
                    device.waiting += broken
                case _:
                    device.waiting += chosen
            collector.deliver_all(device, peer)
            assert collector.fsck() == []
        totals = collector.totals()
        assert totals["rows"] == totals["held"]
        fates = totals["held"] + totals["evicted"] + totals["aside"]
        assert fates == sum(frames[lane][number].header.count for lane, number in touched)
        assert device.conflicts == 0
        collector.close()
        store.close()


def _damaged(frame: WaitingFrame) -> wire.Frame:
    return wire.Frame(header=frame.frame.header, ciphertext=os.urandom(40))
