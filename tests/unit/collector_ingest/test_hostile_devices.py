"""A device that sends whatever it can, among honest ones, over gRPC: nobody else notices, all is accounted for.

Oversized, truncated, replayed, reordered, forged, cross-device and wrong-version batches and frames, in any order.
"""

import asyncio
import dataclasses
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from schoolkeeper_collector.store.database import Store
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import Lane
from support.collector import TestSchool, sqlite_store
from support.device import SimulatedDevice, Uplink, WaitingFrame, started
from support.uplink import RunningUplink, running_uplink

SCHOOL = TestSchool()
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = sqlite_store(tmp_path)
    yield store
    store.close()


@dataclass
class Hostile:
    """Has a real identity and ``frames`` of its own that it once recorded; ``heard`` are others' batches."""

    device: SimulatedDevice
    chance: random.Random
    frames: list[WaitingFrame] = field(default_factory=list)
    heard: list[wire.Batch] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    def some(self) -> list[WaitingFrame]:
        """A few frames of one lane, in order."""
        lane = self.chance.choice((Lane.NORMAL, Lane.CRITICAL))
        mine = [n for n, frame in enumerate(self.frames) if frame.header.lane is lane]
        first = self.chance.randrange(len(mine))
        chosen = mine[first : first + self.chance.randint(1, 6)]
        return [self.frames[n] for n in chosen]

    def next(self) -> bytes:
        """One message; every kind of wrong that there is a defence against."""
        what = self.chance.choice(sorted(MESSAGES))
        self.sent.append(what)
        made = MESSAGES[what](self)
        if isinstance(made, wire.Batch):
            return encode(wire.DeviceMessage(body=made))
        return made


def _honest(h: Hostile) -> wire.Batch:
    return h.device.sign(h.some())


def _reordered(h: Hostile) -> wire.Batch:
    frames = h.some()
    batch = h.device.sign(frames)
    shuffled = list(batch.frames)
    h.chance.shuffle(shuffled)
    return dataclasses.replace(batch, frames=tuple(shuffled))


def _truncated(h: Hostile) -> wire.Batch:
    frames = h.some()
    at = h.chance.randrange(len(frames))
    frame = frames[at].frame
    cut = h.chance.randint(1, 40)
    broken = h.chance.choice(
        (
            wire.Frame(header=frame.header[:-cut], ciphertext=frame.ciphertext),
            wire.Frame(header=frame.header, ciphertext=frame.ciphertext[:-cut]),
            wire.Frame(header=frame.header, ciphertext=frame.ciphertext + os.urandom(cut)),
            wire.Frame(header=b"", ciphertext=b""),
        )
    )
    batch = h.device.sign(frames)
    return dataclasses.replace(batch, frames=(*batch.frames[:at], broken, *batch.frames[at + 1 :]))


def _fewer_frames(h: Hostile) -> wire.Batch:
    batch = h.device.sign(h.some())
    return dataclasses.replace(batch, frames=batch.frames[1:])


def _other_root(h: Hostile) -> wire.Batch:
    frames = h.some()
    run = wire.LaneRun(
        lane=frames[0].header.lane,
        first_sequence=frames[0].header.first_sequence,
        counts=tuple(frame.header.count for frame in frames),
        roots=(*(frame.header.root for frame in frames[:-1]), os.urandom(32)),
        chain_before=frames[0].header.previous,
        chain_after=os.urandom(32),
    )
    return h.device.sign(frames, runs=(run,))


def _no_segment(h: Hostile) -> wire.Batch:
    return dataclasses.replace(h.device.sign(h.some()), segments=())


def _forged_statement(h: Hostile) -> wire.Batch:
    changes: dict[str, object] = h.chance.choice(
        (
            {"school_id": "other.example"},
            {"device_id": os.urandom(16)},
            {"certificate_hash": os.urandom(32)},
            {"epoch": os.urandom(3)},
            {"runs": ()},
        )
    )
    return h.device.sign(h.some(), **changes)


def _forged_signature(h: Hostile) -> wire.Batch:
    return dataclasses.replace(h.device.sign(h.some()), signature=h.device.sign([]).signature)


def _another_devices(h: Hostile) -> wire.Batch:
    """What another device really sent, replayed under our certificate."""
    return dataclasses.replace(h.chance.choice(h.heard), number=next(h.device.numbers))


def _others_frames(h: Hostile) -> wire.Batch:
    """Another device's frames under a statement of our own: its segment does not open for us."""
    theirs = h.chance.choice(h.heard)
    mine = h.device.sign(h.some())
    return dataclasses.replace(mine, frames=theirs.frames[:1] * len(mine.frames), segments=theirs.segments)


def _too_many(h: Hostile) -> wire.Batch:
    frames = h.some()
    return h.device.sign((frames * 600)[:513])


def _flipped(h: Hostile) -> bytes:
    data = bytearray(encode(wire.DeviceMessage(body=h.device.sign(h.some()))))
    for _ in range(h.chance.randint(1, 8)):
        data[h.chance.randrange(len(data))] ^= 1 << h.chance.randrange(8)
    return bytes(data)


def _oversized(h: Hostile) -> bytes:
    return os.urandom((4 << 20) + h.chance.randint(1, 1 << 20))


def _noise(h: Hostile) -> bytes:
    return os.urandom(h.chance.randint(0, 2_000))


MESSAGES: dict[str, Callable[[Hostile], wire.Batch | bytes]] = {
    "honest": _honest,
    "replayed": lambda h: dataclasses.replace(h.device.sign(h.some()), number=h.chance.randint(1, 5)),
    "reordered": _reordered,
    "truncated": _truncated,
    "fewer frames than signed": _fewer_frames,
    "another root than the frame's": _other_root,
    "without its segment": _no_segment,
    "forged statement": _forged_statement,
    "forged signature": _forged_signature,
    "another device's batch": _another_devices,
    "another device's frames": _others_frames,
    "too many frames": _too_many,
    "flipped bits": _flipped,
    "oversized": _oversized,
    "noise": _noise,
}
HELLOS: tuple[dict[str, object], ...] = (
    {"version": wire.WireVersion(major=9, minor=0)},
    {"epoch": b"short"},
    {"checkpoint": "not a checkpoint"},
    {"machine_hash": b"x" * 16},
)


async def attack(uplink: Uplink, hostile: Hostile, messages: int) -> None:
    """One stream to its end, whoever ends it; what is answered is not believed and not checked."""
    uplink.call = uplink._connect()
    wrong = hostile.chance.choice(HELLOS) if hostile.chance.random() < 0.2 else {}
    try:
        await uplink.send(hostile.device.hello(**wrong))
        for _ in range(messages):
            await uplink.send_bytes(hostile.next())
        await uplink.call.done_writing()
        async for _ in answers(uplink):
            pass
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass  # the collector ended it


async def answers(uplink: Uplink) -> AsyncIterator[object]:
    while isinstance(message := await uplink.call.read(), wire.CollectorMessage):
        yield message


async def honest(running: RunningUplink, device: SimulatedDevice, hostile: Hostile) -> None:
    """Records and delivers as a device does; the hostile one listens."""
    async with running.uplink(device) as uplink:
        await uplink.connect()
        for _ in range(6):
            for lane in (Lane.NORMAL, Lane.CRITICAL):
                device.record([started() for _ in range(5)], lane)
            hostile.heard.append(device.sign(device.waiting))
            await uplink.deliver(max_frames=4)
            await asyncio.sleep(0.01)


@pytest.mark.seeds(short=4, long=120)
async def test_a_hostile_device_harms_nobody_and_all_is_accounted_for(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    async with running_uplink(store, SCHOOL) as running:
        devices = [running.device() for _ in range(3)]
        hostile = Hostile(running.device(), chance)
        for lane in (Lane.NORMAL, Lane.CRITICAL):
            for _ in range(12):
                events = [started() for _ in range(chance.randint(1, 4))]
                hostile.frames.append(hostile.device.record(events, lane))
        hostile.device.waiting = []
        hostile.heard.append(devices[0].sign([devices[0].record([started()])]))
        others = [asyncio.create_task(honest(running, device, hostile)) for device in devices]
        for _ in range(chance.randint(4, 12)):
            async with running.uplink(hostile.device) as uplink:
                await attack(uplink, hostile, chance.randint(1, 6))
        await asyncio.gather(*others)
        assert all(device.stored == device.recorded for device in devices)
        assert all((device.refused, device.conflicts) == (0, 0) for device in devices)

        # In the end it sends all of its own, as it is: what has a fate keeps it, what has none is stored.
        hostile.device.lost()
        hostile.device.waiting = list(hostile.frames)
        async with running.uplink(hostile.device) as uplink:
            await uplink.connect()
            await uplink.deliver(max_frames=8)
        totals = running.collector.totals()
        recorded = sum(device.recorded for device in (*devices, hostile.device))
        assert totals["rows"] == totals["held"]
        assert totals["held"] + totals["evicted"] + totals["aside"] == recorded, hostile.sent
        assert running.collector.writer.counts.failures == 0
        assert running.collector.fsck() == []
