"""One open stream of a device: its state, and the way out for what it is told. Lives on the event loop."""

from __future__ import annotations

import asyncio

import grpc

from schoolkeeper_collector.ingest.jobs import Peer
from schoolkeeper_collector.ingest.session import Phase, Session
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import encode

Context = grpc.aio.ServicerContext[bytes, bytes]
_LINGER_SECONDS = 1.0


class Stream:
    """What an open stream costs besides gRPC's own: this object, and a task only while there is something to send."""

    __slots__ = (
        "boot_id",
        "closing",
        "context",
        "ending",
        "grants",
        "heard_ms",
        "in_flight",
        "outgoing",
        "parted",
        "peer",
        "policy",
        "room",
        "sending",
        "session",
        "suspect",
        "task",
        "told",
    )  # fmt: skip

    def __init__(self, peer: Peer, context: Context, now_ms: int) -> None:
        self.peer = peer
        self.context = context
        self.session = Session()
        self.heard_ms = now_ms
        self.boot_id = b""
        self.outgoing: list[bytes] = []
        self.sending: asyncio.Task[None] | None = None
        self.in_flight = 0
        self.room: asyncio.Event | None = None
        self.suspect = False
        self.closing = False
        self.parted = False
        self.ending = False
        self.task: asyncio.Task[None] | None = None
        self.told: set[bytes] | None = None
        self.grants: set[bytes] | None = None
        self.policy: wire.PolicyAvailable | None = None

    def send(self, body: wire.CollectorBody) -> None:
        self.outgoing.append(encode(wire.CollectorMessage(body=body)))
        if self.sending is None:
            self.sending = asyncio.ensure_future(self._flush())

    async def _flush(self) -> None:
        """One task per stream while there is something to send: order is kept, idle streams have none."""
        try:
            while self.outgoing:
                await self.context.write(self.outgoing.pop(0))
        except (grpc.RpcError, asyncio.CancelledError, grpc.aio.UsageError, grpc.aio.InternalError):
            self.outgoing.clear()  # the device is gone; it will ask again
        finally:
            self.sending = None
            if self.closing:
                self.end()

    def close(self, goodbye: wire.Goodbye) -> None:
        if self.closing:
            return
        self.closing = self.parted = True
        self.session.phase = Phase.CLOSED
        self.send(goodbye)

    def end(self) -> None:
        if self.task is not None and not self.ending:
            self.ending = True
            self.task.cancel()


async def drain(context: Context) -> None:
    """Reads on without looking, until the device has closed its side."""
    while isinstance(await context.read(), bytes):
        pass


async def linger(reader: asyncio.Future[None]) -> None:
    """After a goodbye the device closes: a stream torn down while it writes would lose it the goodbye."""
    await asyncio.wait((reader,), timeout=_LINGER_SECONDS)
    reader.cancel()
