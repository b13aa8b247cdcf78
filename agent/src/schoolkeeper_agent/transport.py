"""The shell around the uplink: a gRPC stream, the spool's thread, timers. All decisions are the uplink's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar, assert_never

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool.contract import Spool, SpoolError
from schoolkeeper_agent.spool.writer import FrameWriter
from schoolkeeper_agent.uplink import messages
from schoolkeeper_agent.uplink.machine import Uplink
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import decode, encode

if TYPE_CHECKING:
    import grpc.aio

T = TypeVar("T")
CONNECT = "/schoolkeeper_proto.v1.Uplink/Connect"
TICK_SECONDS = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What the shell needs from the runtime. ``open_channel`` opens the n-th try's address; all on the event loop."""

    open_channel: Callable[[int], grpc.aio.Channel]
    now: Callable[[], Moment]
    perform: Callable[[messages.Report | messages.PolicyOffered | messages.Obey | messages.TakeGrant], None]
    explain: Callable[[grpc.aio.AioRpcError], Awaitable[str]]


@dataclass(slots=True)
class Transport:
    """Runs until cancelled. ``channel`` is the one in use, for fetching signed files beside the stream."""

    uplink: Uplink
    writer: FrameWriter
    doors: Doors
    channel: grpc.aio.Channel | None = None
    _tries: int = 0
    _connect_at: float | None = None
    _inputs: asyncio.Queue[messages.Input] = field(default_factory=asyncio.Queue)
    _outgoing: asyncio.Queue[wire.DeviceMessage] | None = None
    _stream: asyncio.Task[None] | None = None
    _number: int = 0
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        await self._perform(self.uplink.start())
        try:
            while True:
                wait = TICK_SECONDS
                if self._connect_at is not None:
                    wait = min(wait, max(0.0, self._connect_at - loop.time()))
                try:
                    async with asyncio.timeout(wait):  # wait_for can swallow the cancellation that ends us
                        given = await self._inputs.get()
                except TimeoutError:
                    given = messages.Tick()
                if self._connect_at is not None and loop.time() >= self._connect_at:
                    self._connect_at = None
                    self._stream = asyncio.create_task(self._speak(self._number))
                await self._perform(self.uplink.handle(given, self.doors.now()))
        finally:
            await self._hang_up()

    def give(self, item: messages.Input) -> None:
        """From the event loop only."""
        self._inputs.put_nowait(item)

    def send(self, effect: messages.Send) -> None:
        """A message of the runtime's own; lost with the stream, which its sender must bear."""
        if self._outgoing is not None:
            self._outgoing.put_nowait(effect.message)

    def connect_now(self) -> None:
        """The network came back, or the certificate is new: no need to wait out the back-off."""
        if self._connect_at is not None:
            self._connect_at = asyncio.get_running_loop().time()
            self.give(messages.Tick())

    async def reconnect(self, reason: str) -> None:
        await self._perform([messages.Disconnect(reason=reason)])

    # ---- effects --------------------------------------------------------------------------------------

    async def _perform(self, effects: list[messages.Effect]) -> None:
        for effect in effects:
            await self._one(effect)

    async def _one(self, effect: messages.Effect) -> None:  # noqa: C901 - one branch per kind of effect
        match effect:
            case messages.Connect(after_ms=after):
                self._connect_at = asyncio.get_running_loop().time() + after / 1000
            case messages.Disconnect(reason=reason):
                await self._disconnect(reason)
            case messages.Send(message=message):
                if self._outgoing is not None:
                    self._outgoing.put_nowait(message)  # bounded by the uplink's window
            case messages.LookAtSpool():
                seen = await self._spool(_look)
                if seen is not None:
                    self.give(seen)
                elif not self.uplink.connected:
                    await self._disconnect("the spool cannot be read now")
            case messages.ReadFrames(wanted=wanted):
                self.give(messages.FramesRead(reading=await self._spool(lambda s: s.read(wanted))))
            case messages.Settle(settlement=settlement):
                now = self.doors.now()
                await self._spool(lambda s: s.settle(settlement, now))
            case messages.OpenEpoch(because=because):
                now = self.doors.now()
                epoch = await self._spool(lambda s: s.new_epoch(because, now))
                if epoch is not None:
                    self.give(messages.EpochOpened(epoch=epoch))
            case messages.SendAgain(held=held):
                await self._spool(lambda s: s.send_again(held))
                self.give(messages.FramesWritten())
            case messages.Report() | messages.PolicyOffered() | messages.Obey() | messages.TakeGrant():
                self.doors.perform(effect)
            case _:
                assert_never(effect)

    async def _spool(self, job: Callable[[Spool], T]) -> T | None:
        """None when the spool cannot do it now: what was not settled is sent and settled again."""
        try:
            return await asyncio.wrap_future(self.writer.call(job))
        except SpoolError as error:
            _log.warning("spool: %s", error)
            return None

    # ---- the stream -----------------------------------------------------------------------------------

    async def _speak(self, number: int) -> None:
        """One stream from opening to end. What it still says after another took its place is not heard: a
        cancelled call may go on for a while, and two streams that both speak would confuse the uplink.
        """
        import grpc
        import grpc.aio

        reason, too_large = "the stream ended", False
        outgoing: asyncio.Queue[wire.DeviceMessage] = asyncio.Queue()
        channel: grpc.aio.Channel | None = None
        sender: asyncio.Task[None] | None = None
        try:
            channel = self.doors.open_channel(self._tries)
            self._tries += 1
            call = channel.stream_stream(
                CONNECT,
                request_serializer=encode,
                response_deserializer=partial(decode, wire.CollectorMessage),
            )()
            async with asyncio.timeout(30):  # wait_for can swallow a cancellation
                await call.wait_for_connection()
            if number != self._number:
                return
            self.channel, self._outgoing = channel, outgoing
            self.give(messages.Opened())
            sender = asyncio.create_task(_send_all(call, outgoing))
            async for message in call:
                if number != self._number:
                    return
                self.give(messages.Received(body=message.body))
        except grpc.aio.AioRpcError as error:
            too_large = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            reason = await self.doors.explain(error)
        except TimeoutError:
            reason = "no connection within 30 seconds"
        except Exception as error:  # noqa: BLE001 - whatever it was, the uplink must hear that the stream is gone
            reason = f"{type(error).__name__}: {error}"
        finally:
            if sender is not None:
                sender.cancel()
            if number == self._number:
                self._end(reason, too_large=too_large)
            if channel is not None:
                await channel.close()

    def _end(self, reason: str, *, too_large: bool = False) -> None:
        """The stream in use is over: said once, whoever notices first."""
        self._number += 1
        self._outgoing = self.channel = None
        self.give(messages.Closed(reason=reason, too_large=too_large))

    async def _disconnect(self, reason: str) -> None:
        task, self._stream = self._stream, None
        if task is None or task.done():
            return
        self._end(reason)
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _hang_up(self) -> None:
        last = [*self._ending, *([self._stream] if self._stream is not None else [])]
        for task in last:
            task.cancel()
        if last:
            await asyncio.wait(last, timeout=3)


async def _send_all(
    call: grpc.aio.StreamStreamCall[object, wire.CollectorMessage],
    outgoing: asyncio.Queue[wire.DeviceMessage],
) -> None:
    while True:
        await call.write(await outgoing.get())


def _look(spool: Spool) -> messages.SpoolSeen:
    return messages.SpoolSeen(epoch=spool.epoch, cursors=spool.cursors(), usage=spool.usage())
