"""A simulated device: real keys, real frames, real statements, and every proof it is given is checked.

`SimulatedDevice` does no I/O: `record` seals events into frames, `cut` makes a signed batch of those that wait, `take`
reads what the collector answers. `Uplink` carries one over gRPC. For tests and benches; the agent has its own.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.x509.oid import NameOID

from schoolkeeper_proto import checkpoint, merkle, model, sealing, statements, wire
from schoolkeeper_proto.codec import decode, encode
from schoolkeeper_proto.names import device_uri
from schoolkeeper_proto.wire import CHAIN_START, Disposition, Lane

NOW_MS = 1_795_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolPins:
    """What a device knows of its school."""

    school_id: str
    ingest_key: X25519PublicKey
    ingest_key_id: bytes
    ledger_key: bytes
    command_keys: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """A device's key and certificate; `issued` signs with a CA, `self_signed` needs none."""

    device_id: bytes
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    chain_pem: bytes

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def certificate_hash(self) -> bytes:
        return hashlib.sha256(self.der).digest()

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @classmethod
    def issued(
        cls,
        school_id: str,
        ca_key: ec.EllipticCurvePrivateKey | None = None,
        ca: x509.Certificate | None = None,
        device_id: bytes | None = None,
        days: int = 7,
    ) -> DeviceIdentity:
        device_id = device_id or os.urandom(16)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id.hex())])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca.subject if ca else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier(device_uri(school_id, device_id))]
                ),
                critical=False,
            )
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(ca_key or key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        if ca is not None:
            pem += ca.public_bytes(serialization.Encoding.PEM)
        return cls(device_id=device_id, key=key, certificate=certificate, chain_pem=pem)


@dataclass(frozen=True, slots=True)
class WaitingFrame:
    header: wire.FrameHeader
    frame: wire.Frame
    epoch: bytes


@dataclass(slots=True)
class _Lane:
    next: int = 0
    chain: bytes = CHAIN_START


class ProofFailed(AssertionError):
    """The collector's answer does not prove what it says."""


class SimulatedDevice:
    """Counts what it sent and what became of it; `settled` is True when every event has its fate."""

    def __init__(
        self, identity: DeviceIdentity, pins: SchoolPins, *, machine_hash: bytes = b"m" * 16
    ) -> None:
        self.identity = identity
        self.pins = pins
        self.machine_hash = machine_hash
        self.boot_id = os.urandom(16)
        self.waiting: list[WaitingFrame] = []
        self.evictions: list[wire.EvictionRecord] = []
        self.flying: dict[int, tuple[wire.Batch, list[WaitingFrame]]] = {}
        self.numbers = itertools.count(1)
        self.checkpoint = ""
        self.welcome: wire.Welcome | None = None
        self.goodbye: wire.Goodbye | None = None
        self.answers: list[wire.CollectorBody] = []
        self.recorded = self.stored = self.duplicate = self.refused = self.conflicts = self.evicted = 0
        self.reasons: list[str] = []
        self._signer = statements.P256Signer(identity.key)
        self.new_epoch()

    def new_epoch(self) -> None:
        self.epoch = os.urandom(16)
        self.lanes = {lane: _Lane() for lane in wire.LANES}
        self.new_segment()

    def new_segment(self) -> None:
        binding = sealing.Binding(
            school_id=self.pins.school_id, device_id=self.identity.device_id, epoch=self.epoch
        )
        self._sealer = sealing.SegmentSealer(binding, self.pins.ingest_key, self.pins.ingest_key_id, NOW_MS)
        self.segments = {self._sealer.segment.segment_id: self._sealer.segment} | getattr(
            self, "segments", {}
        )

    # ---- recording ------------------------------------------------------------------------------------

    def record(self, events: Sequence[bytes | model.Body], lane: Lane = Lane.NORMAL) -> WaitingFrame:
        """Seals events as one frame, which then waits to be sent."""
        encoded = [item if isinstance(item, bytes) else encode(event(item)) for item in events]
        at = self.lanes[lane]
        sealed = self._sealer.seal(lane, at.next, at.chain, encoded)
        at.next += len(encoded)
        at.chain = sealed.chain
        self.recorded += len(encoded)
        waiting = WaitingFrame(sealed.header, sealed.frame, self.epoch)
        self.waiting.append(waiting)
        return waiting

    def evict(self, frames: Iterable[WaitingFrame], reason: str = "no room") -> wire.EvictionRecord:
        """Drops consecutive waiting frames of one lane and writes the record that says so."""
        dropped = list(frames)
        first, last = dropped[0], dropped[-1]
        self.waiting = [frame for frame in self.waiting if frame not in dropped]
        record = wire.EvictionRecord(
            lane=first.header.lane,
            first_sequence=first.header.first_sequence,
            events=sum(frame.header.count for frame in dropped),
            frames=len(dropped),
            chain_before=first.header.previous,
            chain_after=statements.chain_value(last.frame.header),
            reason=reason,
            evicted_at_unix_ms=NOW_MS,
        )
        self.evictions.append(record)
        self.evicted += record.events
        return record

    # ---- sending --------------------------------------------------------------------------------------

    def hello(self, **changes: Any) -> wire.Hello:
        values: dict[str, Any] = {
            "version": wire.WireVersion(),
            "epoch": self.epoch,
            "cursors": tuple(
                wire.LaneCursor(
                    epoch=self.epoch, lane=lane, oldest_sequence=0, next_sequence=at.next, chain=at.chain
                )
                for lane, at in self.lanes.items()
            ),
            "checkpoint": self.checkpoint,
            "agent_version": "0.1.0",
            "platform": "linux",
            "boot_id": self.boot_id,
            "machine_hash": self.machine_hash,
            "wall_unix_ms": NOW_MS,
        }
        return wire.Hello(**(values | changes))

    def cut(self, max_frames: int = 512, **changes: Any) -> wire.Batch:
        """A signed batch of waiting frames of one epoch (the oldest first), by lane."""
        epoch = self.waiting[0].epoch if self.waiting else self.epoch
        chosen = [frame for frame in self.waiting if frame.epoch == epoch][:max_frames]
        chosen.sort(key=lambda f: (wire.LANES.index(f.header.lane), f.header.first_sequence))
        self.waiting = [frame for frame in self.waiting if frame not in chosen]
        batch = self.sign(chosen, self.evictions, **changes)
        self.evictions = []
        self.flying[batch.number] = (batch, chosen)
        return batch

    def sign(
        self, frames: Sequence[WaitingFrame], evictions: Sequence[wire.EvictionRecord] = (), **changes: Any
    ) -> wire.Batch:
        """A batch of exactly these frames; `changes` alter the statement before it is signed."""
        epoch = frames[0].epoch if frames else self.epoch
        values: dict[str, Any] = {
            "school_id": self.pins.school_id,
            "device_id": self.identity.device_id,
            "epoch": epoch,
            "certificate_hash": self.identity.certificate_hash,
            "runs": runs_of([frame.header for frame in frames], [f.frame.header for f in frames]),
            "evictions": tuple(evictions),
            "cut_at_unix_ms": NOW_MS,
        }
        statement = encode(wire.BatchStatement(**(values | changes)))
        wanted = {frame.header.segment_id for frame in frames}
        return wire.Batch(
            statement=statement,
            signature=statements.sign(statements.BATCH, statement, self._signer).signature,
            segments=tuple(segment for key, segment in self.segments.items() if key in wanted),
            frames=tuple(frame.frame for frame in frames),
            number=next(self.numbers),
        )

    def lost(self) -> None:
        """The stream broke: what was not answered waits again, in its old order."""
        self.waiting = [f for _batch, frames in self.flying.values() for f in frames] + self.waiting
        self.flying.clear()

    # ---- answers --------------------------------------------------------------------------------------

    def take(self, body: wire.CollectorBody | None) -> None:
        """Checks every proof; raises `ProofFailed`."""
        assert body is not None
        self.answers.append(body)
        match body:
            case wire.Welcome():
                self.welcome = body
                self._advance(body.checkpoint, body.consistency)
            case wire.HeartbeatReply():
                self._advance(body.checkpoint, body.consistency)
            case wire.Ack():
                self._ack(body)
            case wire.Goodbye():
                self.goodbye = body
            case _:
                pass

    def _ack(self, ack: wire.Ack) -> None:
        batch, frames = self.flying.pop(ack.batch_number)
        if ack.inclusion is not None:
            point = self._advance(ack.checkpoint, ack.consistency)
            signature = wire.Signature(key_id=self._signer.key_id, signature=batch.signature)
            leaf = merkle.leaf_hash(statements.leaf_bytes(statements.batch_entry(batch.statement, signature)))
            proof = ack.inclusion
            if point is None or point.size != proof.tree_size:
                raise ProofFailed("the proof is for another tree than the checkpoint")
            if not merkle.verify_inclusion(
                leaf, proof.leaf_index, proof.tree_size, list(proof.path), point.root
            ):
                raise ProofFailed(f"batch {ack.batch_number} is not proved")
        for item in ack.ranges:
            if item.reason:
                self.reasons.append(item.reason)
            self._settle(item, frames, proved=ack.inclusion is not None)

    def _settle(self, item: wire.RangeDisposition, frames: list[WaitingFrame], *, proved: bool) -> None:
        end = item.first_sequence + item.count
        mine = [
            f
            for f in frames
            if f.header.lane is item.lane and item.first_sequence <= f.header.first_sequence < end
        ]
        events = sum(frame.header.count for frame in mine)
        match item.disposition:
            case Disposition.RETRY:
                self.waiting = mine + self.waiting
                return
            case Disposition.STORED:
                self.stored += events
            case Disposition.DUPLICATE:
                self.duplicate += events
            case Disposition.REFUSED:
                self.refused += events
            case Disposition.CONFLICT:
                self.conflicts += events
            case Disposition.UNSPECIFIED:
                raise ProofFailed("a range without a disposition")
        if not proved:
            raise ProofFailed(f"{item.disposition} without a proof")

    def _advance(self, note: str, consistency: wire.ConsistencyProof | None) -> checkpoint.Checkpoint | None:
        if not note:
            return None
        point = checkpoint.verify(note, [self.pins.ledger_key])
        if self.checkpoint:
            old = checkpoint.parse(self.checkpoint)
            if old.origin == point.origin:
                if consistency is None or (consistency.old_size, consistency.new_size) != (
                    old.size,
                    point.size,
                ):
                    raise ProofFailed(f"no proof from {old.size} to {point.size}: {consistency}")
                path = list(consistency.path)
                if not merkle.verify_consistency(old.size, old.root, point.size, point.root, path):
                    raise ProofFailed(f"the tree of {point.size} does not extend that of {old.size}")
        self.checkpoint = note
        return point


def runs_of(headers: Sequence[wire.FrameHeader], encoded: Sequence[bytes]) -> tuple[wire.LaneRun, ...]:
    """The fewest runs that name these frames in order."""
    runs: list[dict[str, Any]] = []
    for header, data in zip(headers, encoded, strict=True):
        last = runs[-1] if runs else None
        if last is None or last["lane"] is not header.lane or last["end"] != header.first_sequence:
            last = {
                "lane": header.lane,
                "first_sequence": header.first_sequence,
                "counts": [],
                "roots": [],
                "chain_before": header.previous,
            }
            runs.append(last)
        last["counts"].append(header.count)
        last["roots"].append(header.root)
        last["end"] = header.first_sequence + header.count
        last["chain_after"] = statements.chain_value(data)
    return tuple(
        wire.LaneRun(
            lane=run["lane"],
            first_sequence=run["first_sequence"],
            counts=tuple(run["counts"]),
            roots=tuple(run["roots"]),
            chain_before=run["chain_before"],
            chain_after=run["chain_after"],
        )
        for run in runs
    )


def event(
    body: model.Body, *, wall_ms: int = NOW_MS, severity: model.Severity = model.Severity.LOW
) -> model.Event:
    return model.Event(
        id=model.EventId(os.urandom(16)),
        wall_unix_ms=wall_ms,
        monotonic_ms=1_000,
        boot_id=b"b" * 16,
        body=body,
        user=model.UserRef(pseudonym=b"u" * 16, kind=model.UserKind.PERSON),
        severity=severity,
    )


def started(name: str = "/usr/bin/program") -> model.ApplicationStarted:
    """An ordinary event of about 250 bytes."""
    application = model.Application(
        path=name,
        sha256=os.urandom(32),
        name="A program of the school",
        package="program-bin",
        identity="program",
    )
    return model.ApplicationStarted(
        application=application,
        process_id=4711,
        parent_process_id=1,
        rule=model.RuleRef(rule_id="applications/programs-allowed", source="T-U21"),
    )


class Uplink:
    """One open stream of a simulated device over gRPC."""

    def __init__(self, device: SimulatedDevice, address: str, ca_pem: bytes, name: str = "localhost") -> None:
        self.device = device
        credentials = grpc.ssl_channel_credentials(ca_pem, device.identity.key_pem, device.identity.chain_pem)
        options = [("grpc.ssl_target_name_override", name), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.aio.secure_channel(address, credentials, options=options)
        self._connect = self.channel.stream_stream(
            "/schoolkeeper_proto.v1.Uplink/Connect",
            request_serializer=None,
            response_deserializer=functools.partial(decode, wire.CollectorMessage),
        )
        self._fetch = self.channel.unary_stream(
            "/schoolkeeper_proto.v1.Uplink/Fetch",
            request_serializer=encode,
            response_deserializer=functools.partial(decode, wire.FetchChunk),
        )
        self.call: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self.call is not None:
            self.call.cancel()
        await self.channel.close()

    async def connect(self, **hello: Any) -> wire.CollectorBody | None:
        """Greets and returns the first answer."""
        self.call = self._connect()
        await self.send(self.device.hello(**hello))
        return await self.receive()

    async def send(
        self, body: wire.Hello | wire.Batch | wire.StreamHeartbeat | wire.CommandAcknowledged
    ) -> None:
        await self.call.write(encode(wire.DeviceMessage(body=body)))

    async def send_bytes(self, data: bytes) -> None:
        await self.call.write(data)

    async def receive(self) -> wire.CollectorBody | None:
        """The next answer, taken by the device; None at the end of the stream."""
        message = await self.call.read()
        if not isinstance(message, wire.CollectorMessage):
            return None
        self.device.take(message.body)
        return message.body

    async def deliver(self, window: int = 4, max_frames: int = 512) -> None:
        """Sends what waits until every frame has its fate."""
        device = self.device
        while device.waiting or device.evictions or device.flying:
            while (device.waiting or device.evictions) and len(device.flying) < window:
                await self.send(device.cut(max_frames))
            body = await self.receive()
            if body is None or isinstance(body, wire.Goodbye):
                raise ConnectionError(f"the stream ended: {body}")

    async def fetch(self, name: str) -> bytes:
        return b"".join([chunk.data async for chunk in self._fetch(wire.FetchRequest(name=name))])
