"""A simulated device on the real uplink: hello, batches, acknowledgements, heartbeats, pushback.

Light enough for two thousand in one process. Inclusion proofs are checked for as many batches as ``verify_every`` says.
"""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import grpc

from schoolkeeper_proto import checkpoint, merkle, statements, wire
from schoolkeeper_proto.codec import decode, encode
from support.fleet.enrolling import PLATFORM, Enrolled, machine_hash
from support.fleet.outbox import DONE, Cut, Outbox

CONNECT = "/schoolkeeper_proto.v1.Uplink/Connect"
_READ = functools.partial(decode, wire.CollectorMessage)
_OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 4 << 20)]


class SentAway(Exception):
    """The collector said goodbye, or speaks another language; the message holds its words."""


@dataclass(slots=True)
class Figures:
    """What one device saw. Latencies in seconds, from the cut of a batch to its acknowledgement."""

    acknowledged: int = 0
    latencies: list[float] = field(default_factory=list)
    pushbacks: int = 0
    proofs: int = 0
    lost_streams: int = 0


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Device:
    """One stream at a time. ``run`` keeps it open; ``outbox.put`` and ``wake`` hand it events."""

    def __init__(self, enrolled: Enrolled, number: int, *, uplink: str = "", verify_every: int = 0) -> None:
        self.enrolled = enrolled
        self.number = number
        self.outbox = Outbox(enrolled.sender, wall_ms())
        self.figures = Figures()
        self.connected = asyncio.Event()
        self.drained = asyncio.Event()
        self.drained.set()
        self.settled: Callable[[Cut], None] | None = None
        self.welcome = wire.Welcome(version=wire.WireVersion())
        self.in_force = (b"", 0)
        """Hash and version of the policy that the next hello claims."""
        self.offers: list[tuple[float, wire.PolicyAvailable]] = []
        """What the collector said is published, and when (monotonic clock)."""
        self.offered: Callable[[], None] | None = None
        self._uplink = uplink or enrolled.uplink
        self._verify_every = verify_every
        self._wake = asyncio.Event()
        self._loaded: deque[Cut] = deque()
        self._held_until = 0.0
        self._began: dict[int, tuple[float, bytes]] = {}
        self._refused_since = math.inf
        self._checkpoint = ""

    def wake(self) -> None:
        """There is something to send."""
        if self.outbox.pending_events:
            self.drained.clear()
        self._wake.set()

    def hold(self) -> None:
        """Send no batch until ``release``; a stream may be opened meanwhile."""
        self._held_until = math.inf

    def release(self) -> None:
        self._held_until = 0.0
        self.wake()

    def load(self, *, max_frames: int = 512, max_bytes: int = 1 << 20) -> None:
        """Cut and sign everything now, so that sending costs little later: for measuring the other end."""
        while (cut := self.outbox.cut(wall_ms(), max_frames=max_frames, max_bytes=max_bytes)) is not None:
            self._loaded.append(cut)

    async def run(self) -> None:
        """Stay connected until cancelled; a lost stream is opened again, and all unsettled sent again."""
        while True:
            try:
                await self.once()
            except grpc.aio.AioRpcError:
                self.figures.lost_streams += 1
            self.connected.clear()
            self.outbox.reconnected()
            self._loaded.clear()
            self._began.clear()
            await asyncio.sleep(0.5 + (self.number % 10) / 10)

    async def once(self) -> None:
        """One stream, until it ends. Raises SentAway when the collector ends it with a reason."""
        found = self.enrolled
        credentials = grpc.ssl_channel_credentials(found.ca_pem, found.key_pem, found.chain_pem)
        async with grpc.aio.secure_channel(self._uplink, credentials, options=_OPTIONS) as channel:
            stream = channel.stream_stream(CONNECT, response_deserializer=_READ)()
            await stream.write(encode(wire.DeviceMessage(body=self._hello())))
            answer = await stream.read()
            if not isinstance(answer, wire.CollectorMessage) or not isinstance(answer.body, wire.Welcome):
                body = answer.body if isinstance(answer, wire.CollectorMessage) else answer
                raise SentAway(f"device {self.number} was not welcomed: {body}")
            self.welcome = answer.body
            self._checkpoint = answer.body.checkpoint or self._checkpoint
            self.connected.set()
            if answer.body.policy is not None:
                self._offer(answer.body.policy)
            sending = asyncio.create_task(self._send(stream))
            try:
                while isinstance(message := await stream.read(), wire.CollectorMessage):
                    self._take(message)
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await sending

    def _hello(self) -> wire.Hello:
        return wire.Hello(
            version=wire.WireVersion(),
            epoch=self.outbox.epoch,
            cursors=self.outbox.cursors(),
            checkpoint=self._checkpoint,
            agent_version="0",
            platform=PLATFORM,
            bundle_hash=self.in_force[0],
            bundle_version=self.in_force[1],
            boot_id=machine_hash(self.number)[:16],
            machine_hash=machine_hash(self.number),
            wall_unix_ms=wall_ms(),
            spool_pending_events=self.outbox.pending_events,
        )

    async def _send(self, stream: grpc.aio.StreamStreamCall) -> None:
        terms = self.welcome
        beat_at = time.monotonic() + terms.heartbeat_seconds
        while True:
            now = time.monotonic()
            if now >= beat_at:
                beat_at = now + terms.heartbeat_seconds
                beat = wire.StreamHeartbeat(
                    checkpoint=self._checkpoint,
                    wall_unix_ms=wall_ms(),
                    spool_pending_events=self.outbox.pending_events,
                )
                await stream.write(encode(wire.DeviceMessage(body=beat)))
            ready = (self._loaded or self.outbox.unsent) and len(self._began) < terms.window_batches
            if ready and now >= self._held_until:
                cut = self._next(terms)
                if cut is not None:
                    self._began[cut.number] = (time.monotonic(), cut.message)
                    await stream.write(cut.message)
                    continue
            wait = self._held_until - now if ready else beat_at - now
            self._wake.clear()
            with suppress(TimeoutError):  # not wait_for: in 3.11 it can swallow a cancellation
                async with asyncio.timeout(max(0.01, min(wait, beat_at - now))):
                    await self._wake.wait()

    def _next(self, terms: wire.Welcome) -> Cut | None:
        if self._loaded:
            return self._loaded.popleft()
        return self.outbox.cut(wall_ms(), max_frames=terms.max_frames, max_bytes=terms.max_batch_bytes)

    def _take(self, message: wire.CollectorMessage) -> None:
        match message.body:
            case wire.Ack() as ack:
                self._acknowledged(ack)
            case wire.Pushback() as pushback:
                self.figures.pushbacks += 1
                if pushback.credit_bytes == 0:
                    self._held_until = time.monotonic() + pushback.retry_after_ms / 1000
            case wire.HeartbeatReply() as reply:
                self._checkpoint = reply.checkpoint or self._checkpoint
            case wire.PolicyAvailable() as available:
                self._offer(available)
            case wire.Goodbye() as goodbye:
                raise SentAway(f"device {self.number}: {goodbye.reason} ({goodbye.remedy})")
            case _:
                pass
        self._wake.set()

    def _offer(self, available: wire.PolicyAvailable) -> None:
        self.offers.append((time.monotonic(), available))
        if self.offered is not None:
            self.offered()

    def _acknowledged(self, ack: wire.Ack) -> None:
        cut = self.outbox.settle(ack)
        began, message = self._began.pop(ack.batch_number, (0.0, b""))
        self._checkpoint = ack.checkpoint or self._checkpoint
        if cut is None:
            return
        done = [item for item in ack.ranges if item.disposition in DONE]
        self.figures.acknowledged += sum(item.count for item in done)
        if len(done) < len(ack.ranges):  # it is cut anew, and has waited since its first cut
            self._refused_since = min(self._refused_since, began)
        else:
            self.figures.latencies.append(time.monotonic() - min(began, self._refused_since))
            self._refused_since = math.inf
        if self._verify_every and cut.number % self._verify_every == 0 and ack.inclusion is not None:
            self._verify(ack, message)
        if self.settled is not None:
            self.settled(cut)
        if not self.outbox.pending_events:
            self.drained.set()

    def _verify(self, ack: wire.Ack, message: bytes) -> None:
        """Raises SentAway when the proof does not lead from the batch to the signed checkpoint."""
        body = decode(wire.DeviceMessage, message).body
        assert isinstance(body, wire.Batch)
        assert ack.inclusion is not None
        signature = wire.Signature(key_id=self.enrolled.sender.signer.key_id, signature=body.signature)
        leaf = statements.leaf_bytes(statements.batch_entry(body.statement, signature))
        keys = tuple(key.public_key for key in self.enrolled.statement.ledger_keys)
        point = checkpoint.verify(ack.checkpoint, keys)
        proof = ack.inclusion
        path = list(proof.path)
        if not merkle.verify_inclusion(
            merkle.leaf_hash(leaf), proof.leaf_index, proof.tree_size, path, point.root
        ):
            raise SentAway(f"device {self.number}: the proof does not lead to the checkpoint")
        self.figures.proofs += 1
