"""The uplink listener's gRPC shell: streams in, jobs to the threads, answers back. Decisions live in ``session.py``."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import grpc
import structlog

from schoolkeeper_collector.ingest.clones import CloneWatch
from schoolkeeper_collector.ingest.directives import Directives, DirectiveSource
from schoolkeeper_collector.ingest.fetching import fetch
from schoolkeeper_collector.ingest.greeting import Terms
from schoolkeeper_collector.ingest.identity import IdentityRefused, IdentitySource, auth_of
from schoolkeeper_collector.ingest.jobs import (
    Answer,
    BatchJob,
    BeatJob,
    CloneJob,
    CommandJob,
    FaultJob,
    HelloJob,
    Job,
    Peer,
)
from schoolkeeper_collector.ingest.limits import InFlight
from schoolkeeper_collector.ingest.preparing import PreparingThread, retry_ranges
from schoolkeeper_collector.ingest.session import Beat, Close, Done, Greet, Phase, Step, Take
from schoolkeeper_collector.ingest.stream import Context, Stream, drain, linger
from schoolkeeper_collector.ingest.waitlist import is_backlog
from schoolkeeper_collector.updates.handing import Handing
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import encode

SERVICE = "schoolkeeper_proto.v1.Uplink"
_HELLO_WITHIN_MS = 20_000
_SWEEP_SECONDS = 2.0
_CROWDED_WAIT_MS = 500
_SHUTDOWN_WAIT_MS = 5_000
_log = structlog.get_logger("ingest.service")


class UplinkService:
    """Lives on one event loop. ``writer_submit`` and the preparing thread are the only ways to the database."""

    def __init__(
        self,
        *,
        identities: IdentitySource,
        preparing: PreparingThread,
        writer_submit: Callable[[Job], None],
        directives: DirectiveSource,
        read_published: Callable[[str], bytes],
        policy_of: Callable[[str, bytes], wire.PolicyAvailable | None],
        terms: Terms,
        in_flight_bytes: int,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        handing: Handing | None = None,
    ) -> None:
        self._identities = identities
        self._preparing = preparing
        self._submit = writer_submit
        self._directives = directives
        self._read_published = read_published
        self._policy_of = policy_of
        self._terms = terms
        self._budget = InFlight(in_flight_bytes)
        self._clock_ms = clock_ms
        self._handing = handing
        self._clones = CloneWatch()
        self._streams: dict[Peer, Stream] = {}
        self._by_device: dict[bytes, list[Stream]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.stopping = False

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    @property
    def in_flight_bytes(self) -> int:
        return self._budget.used

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers both methods; to be called on the loop that will serve them."""
        self._loop = asyncio.get_running_loop()
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Connect": grpc.stream_stream_rpc_method_handler(self._connect),
            "Fetch": grpc.unary_stream_rpc_method_handler(self._fetch),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def deliver(self, answers: list[tuple[Job, Answer]]) -> None:
        """Thread-safe: hands answers of one commit to their streams."""
        if answers and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._delivered, answers)

    async def sweep(self) -> None:
        """Runs for ever: certificates that ended, streams that fell silent, directives, new policy."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now_ms = self._clock_ms()
            for stream in list(self._streams.values()):
                self._check(stream, now_ms)
            if self._streams:
                try:
                    directives = await asyncio.to_thread(self._directives.poll, now_ms)
                    await self._tell(directives, now_ms)
                except Exception as error:  # noqa: BLE001 - a failing poll is tried again
                    _log.error("directives not read", error=type(error).__name__)

    def announce_policy(self) -> None:
        """Tells every open stream at once what is published for its device, if it is something new."""
        for stream in self._streams.values():
            if stream.session.phase is Phase.OPEN:
                self._tell_policy(stream)

    async def say_goodbye(self) -> None:
        """Ends every stream; what was taken is still answered before."""
        self.stopping = True
        for _ in range(250):
            if not self._budget.used:
                break
            await asyncio.sleep(0.02)
        goodbye = wire.Goodbye(
            reason="shutdown", remedy="the collector restarts", retry_after_ms=_SHUTDOWN_WAIT_MS
        )
        for stream in list(self._streams.values()):
            stream.close(goodbye)
        for _ in range(100):
            if not self._streams:
                return
            await asyncio.sleep(0.02)

    # ---- streams --------------------------------------------------------------------------------------------

    async def _connect(self, _requests: object, context: Context) -> None:
        now_ms = self._clock_ms()
        try:
            identity = self._identities.identify(auth_of(context), now_ms)
        except IdentityRefused as error:
            goodbye = wire.Goodbye(reason=error.reason, remedy=error.remedy, retry_after_ms=60_000)
            await context.write(encode(wire.CollectorMessage(body=goodbye)))
            await linger(asyncio.ensure_future(drain(context)))
            return
        stream = Stream(Peer(identity, address=_address(context.peer())), context, now_ms)
        self._streams[stream.peer] = stream
        self._by_device.setdefault(identity.device_id, []).append(stream)
        stream.task = asyncio.current_task()
        try:
            await self._read(stream)
        except asyncio.CancelledError:
            # By us, to end it without waiting for its device to speak; else gRPC says that the device is gone.
            if not stream.ending:
                raise
        finally:
            self._forget(stream)
        stream.ending = True
        if stream.sending is not None:
            await stream.sending
        if stream.parted:
            await linger(asyncio.ensure_future(drain(context)))

    async def _read(self, stream: Stream) -> None:
        while True:
            data: object = await stream.context.read()
            if not isinstance(data, bytes):  # EOF: what was taken is still answered
                await self._room(stream, 0)
                return
            if stream.closing:
                continue
            stream.heard_ms = self._clock_ms()
            self._heard(stream)
            self._perform(stream, stream.session.received(data))
            await self._room(stream, self._terms.window_batches - 1)

    @staticmethod
    async def _room(stream: Stream, at_most: int) -> None:
        """Waits until no more than so many batches are under way; not reading is what slows a device down."""
        while stream.in_flight > at_most and not stream.closing:
            stream.room = asyncio.Event()
            await stream.room.wait()

    def _forget(self, stream: Stream) -> None:
        stream.closing = True
        self._streams.pop(stream.peer, None)
        device = stream.peer.identity.device_id
        others = [other for other in self._by_device.get(device, []) if other is not stream]
        if others:
            self._by_device[device] = others
        else:
            self._by_device.pop(device, None)

    def _perform(self, stream: Stream, step: Step) -> None:
        match step:
            case Greet(hello):
                because = self._recognise(stream, hello)
                self._submit(HelloJob(stream.peer, hello, because))
            case Take(batch, size):
                self._take(stream, batch, size)
            case Beat(beat):
                self._submit(BeatJob(stream.peer, beat))
            case Done(result):
                self._submit(CommandJob(stream.peer, result))
            case Close(goodbye):
                stream.close(goodbye)

    def _take(self, stream: Stream, batch: wire.Batch, size: int) -> None:
        backlog = is_backlog(len(batch.frames), size)
        if self.stopping or not self._budget.take(size, backlog=backlog):
            reason = "the collector is busy; nothing was stored"
            ack = wire.Ack(batch_number=batch.number, ranges=retry_ranges(batch, reason))
            stream.send(ack)
            wait_ms = _CROWDED_WAIT_MS
            if backlog:  # spread out: a whole school's backlog must not knock again at one moment
                wait_ms *= random.randint(2, 8)  # noqa: S311 - no secret
            stream.send(wire.Pushback(retry_after_ms=wait_ms, reason=reason))
            return
        stream.in_flight += 1
        self._preparing.prepare(stream.peer, batch, size)

    # ---- answers --------------------------------------------------------------------------------------------

    def _delivered(self, answers: list[tuple[Job, Answer]]) -> None:
        for job, bodies in answers:
            if isinstance(job, (BatchJob, FaultJob)):
                self._budget.give_back(job.size)
            stream = self._streams.get(job.peer)
            if stream is None:
                continue
            for body in bodies:
                self._answer(stream, body)
            if isinstance(job, (BatchJob, FaultJob)):
                self._settled(stream, job)

    def _answer(self, stream: Stream, body: wire.CollectorBody) -> None:
        match body:
            case wire.Welcome():
                stream.session.welcomed()
                stream.policy = body.policy
                stream.send(body)
            case wire.Goodbye():
                stream.close(body)
            case _:
                stream.send(body)

    def _settled(self, stream: Stream, job: BatchJob | FaultJob) -> None:
        stream.in_flight -= 1
        if stream.room is not None:
            stream.room.set()
            stream.room = None
        if isinstance(job, BatchJob):
            stream.session.settled()
            return
        close = stream.session.fault(job.reason)
        if close is not None:
            stream.close(close.goodbye)

    # ---- clones ---------------------------------------------------------------------------------------------

    def _recognise(self, stream: Stream, hello: wire.Hello) -> str:
        """Why this hello gives away a second machine; empty when it does not."""
        device = stream.peer.identity.device_id
        stream.boot_id = hello.boot_id
        because = self._clones.hello(device, hello.boot_id)
        for other in self._by_device.get(device, []):
            if other is stream or not other.boot_id or other.closing:
                continue
            if other.boot_id == hello.boot_id:
                because = because or self._clones.replaced(device, hello.boot_id, self._clock_ms())
                other.closing = True
                other.end()
            else:
                other.suspect = True
        if because:
            self._submit(CloneJob(stream.peer, because))
        return because

    def _heard(self, stream: Stream) -> None:
        """A stream of an earlier boot that still speaks is a second machine."""
        if not stream.suspect:
            return
        stream.suspect = False
        device = stream.peer.identity.device_id
        together = self._by_device.get(device, [])
        because = self._clones.spoke_late(device, tuple(other.boot_id for other in together))
        self._submit(CloneJob(stream.peer, because))
        for other in list(together):
            other.close(wire.Goodbye(reason="clone", remedy=because, retry_after_ms=1_000))

    # ---- the sweep ------------------------------------------------------------------------------------------

    def _check(self, stream: Stream, now_ms: int) -> None:
        silent_ms = now_ms - stream.heard_ms
        try:
            self._identities.check(stream.peer.identity, now_ms)
        except IdentityRefused as error:
            stream.close(wire.Goodbye(reason=error.reason, remedy=error.remedy, retry_after_ms=1_000))
            return
        allowed = 3_000 * self._terms.heartbeat_seconds
        if stream.session.phase is Phase.GREETING:
            allowed = _HELLO_WITHIN_MS
        if silent_ms > allowed:
            stream.closing = True
            stream.end()

    async def _tell(self, directives: Directives, now_ms: int) -> None:
        sent: list[bytes] = []
        for order in directives.commands:
            for stream in self._by_device.get(order.device_id, []):
                told = stream.told if stream.told is not None else set()
                if stream.session.phase is Phase.OPEN and order.command_id not in told:
                    stream.told = told | {order.command_id}
                    stream.send(order.command)
                    sent.append(order.command_id)
        for stream in self._streams.values():
            if stream.session.phase is not Phase.OPEN:
                continue
            self._tell_grants(stream, directives)
            self._tell_policy(stream)
        if sent:
            await asyncio.to_thread(self._directives.sent, sent, now_ms)

    def _tell_policy(self, stream: Stream) -> None:
        policy = self._policy_of(stream.peer.group, stream.peer.identity.device_id)
        if policy is not None and policy != stream.policy:
            stream.policy = policy
            stream.send(policy)

    def _tell_grants(self, stream: Stream, directives: Directives) -> None:
        for live in directives.grants:
            told = stream.grants if stream.grants is not None else set()
            if live.grant_id not in told and live.concerns(stream.peer.identity.device_id, stream.peer.group):
                stream.grants = told | {live.grant_id}
                stream.send(live.grant)

    async def _fetch(self, request: bytes, context: Context) -> None:
        await fetch(request, context, self._identities, self._read_published, self._clock_ms(), self._handing)


def _address(peer: str) -> str:
    """gRPC's ``ipv4:192.0.2.7:5123`` as ``192.0.2.7``: the port says nothing about a device."""
    kind, _, rest = peer.partition(":")
    return rest.rpartition(":")[0] if kind in ("ipv4", "ipv6") else kind
