"""Many simulated devices in one process: enrolled together, kept connected, fed with the model week."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from schoolkeeper_proto import enrolment_token
from schoolkeeper_proto.codec import encode
from support.fleet import school_week
from support.fleet.device import Device, SentAway, wall_ms
from support.fleet.enrolling import EnrolmentFailed, enrol, enrolment_channel, fetch_ca
from support.fleet.school_week import Planned, Week

T = TypeVar("T")
R = TypeVar("R")
_STREAMS_AT_ONCE = 24
_ENROL_AT_ONCE = 6
"""On one channel; the listener takes eight calls of a client at a time."""


@dataclass(slots=True)
class Fleet:
    """``devices`` are enrolled; ``connect`` opens their streams; ``close`` ends everything."""

    devices: list[Device]
    _streams: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def enrolled(
        cls, address: str, token_text: str, numbers: Iterable[int], *, uplink: str = "", verify_every: int = 0
    ) -> Fleet:
        """Enrol a device for each number. Raises EnrolmentFailed with the collector's words."""
        token = enrolment_token.parse(token_text)
        try:
            ca_pem = await asyncio.to_thread(fetch_ca, address, token)
        except OSError as error:
            raise EnrolmentFailed(f"nothing answers at {address}: {error}") from error
        async with enrolment_channel(address, ca_pem) as channel:

            async def one(number: int) -> Device:
                found = await enrol(channel, ca_pem, token, number)
                return Device(found, number, uplink=uplink, verify_every=verify_every)

            devices = await gather_some(one, numbers, _ENROL_AT_ONCE)
        return cls(devices)

    async def connect(self, devices: Iterable[Device] | None = None) -> None:
        """Open the streams, a few at a time; returns when all are welcomed. Raises SentAway."""

        async def one(device: Device) -> None:
            stream = asyncio.create_task(device.run())
            self._streams.append(stream)
            ready = asyncio.create_task(device.connected.wait())
            done, _ = await asyncio.wait({stream, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
            if ready not in done:
                ready.cancel()
                if stream in done:
                    await stream
                raise SentAway(f"device {device.number} was not welcomed within 60 s")

        await gather_some(one, list(self.devices if devices is None else devices), _STREAMS_AT_ONCE)

    def check(self) -> None:
        """Raises what ended a stream for good."""
        for stream in self._streams:
            if stream.done() and not stream.cancelled():
                stream.result()

    async def close(self) -> None:
        for stream in self._streams:
            stream.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    async def drained(self, within: float) -> bool:
        """Wait until everything is acknowledged; False when that takes more than ``within`` seconds."""
        waits = [asyncio.create_task(device.drained.wait()) for device in self.devices]
        _, waiting = await asyncio.wait(waits, timeout=within)
        for task in waiting:
            task.cancel()
        self.check()
        return not waiting

    async def live(
        self, *, speed: float, seconds: float, seed: int = 1, told: Callable[[int], None] | None = None
    ) -> int:
        """Play the model week at ``speed`` times real time; returns how many events were reported."""
        week = school_week.load()
        until = time.monotonic() + seconds
        counter = itertools.count()

        async def one(device: Device) -> None:
            await play(device, week, speed=speed, until=until, seed=seed, reported=lambda: next(counter))

        players = [asyncio.create_task(one(device)) for device in self.devices]
        try:
            while time.monotonic() < until:
                await asyncio.sleep(min(1.0, max(0.0, until - time.monotonic())))
                self.check()
                if told is not None:
                    told(sum(device.figures.acknowledged for device in self.devices))
        finally:
            for player in players:
                player.cancel()
            await asyncio.gather(*players, return_exceptions=True)
        return next(counter)


async def play(
    device: Device,
    week: Week,
    *,
    speed: float,
    until: float,
    seed: int = 1,
    reported: Callable[[], object] = int,
) -> None:
    """Report this device's week from now on, each event when its time has come at this speed."""
    began = time.monotonic()
    for number, planned in enumerate(school_week.endless(week, device.number, seed)):
        due = began + planned.at_ms / 1000 / speed
        if due > until:
            return
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        report(device, planned, number)
        reported()


def report(device: Device, planned: Planned, number: int) -> None:
    """Seal one event as a frame of its own, as an agent does at this rate, and have it sent."""
    event = school_week.as_event(
        planned,
        number=number,
        device=device.number,
        wall_ms=wall_ms(),
        monotonic_ms=time.monotonic_ns() // 1_000_000,
    )
    device.outbox.put(planned.lane, [encode(event)])
    device.wake()


async def gather_some(work: Callable[[T], Awaitable[R]], items: Iterable[T], at_once: int) -> list[R]:
    """The results in order, ``at_once`` in work at a time; the first failure ends all."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: T) -> R:
        async with gate:
            return await work(item)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]
