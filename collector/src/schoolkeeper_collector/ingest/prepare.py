"""From a batch's bytes to what may be stored: signature, agreement of statement and frames, opening, decoding.

No database and no clock. Runs on one thread of its own, so that the writer can wait for the disk meanwhile.
A fault of the statement concerns the whole batch (``BatchFault``); a fault of one frame concerns that frame alone.
A frame that only we cannot open (its ingest key is missing here) is not at fault: it is asked for again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_collector.ingest.claims import BatchFault, Claim, claims_of, evictions_of
from schoolkeeper_collector.ingest.packing import Pack, pack_frames
from schoolkeeper_proto import model, sealing, statements, wire
from schoolkeeper_proto.codec import WireFormatError, decode, kind_number, summarise

MAX_OPENED_BYTES = 32 << 20
"""Of one batch after decompression; frames beyond it are asked for again."""
_MAX_MS = (1 << 62) - 1
_MAX_SIGNERS = 1_024
_TOLD = frozenset(
    {
        "posture",
        "heartbeat",
        "policy.applied",
        "command.result",
        "grant.applied",
        "grant.ended",
        "exception.requested",
    }
)
SEVERITIES = {severity.value: number for number, severity in enumerate(model.Severity)}


@dataclass(slots=True)
class OpenedFrame:
    """One frame after opening: columns, one entry per event. With a ``refusal`` or ``again`` there are none.

    ``missing_key``: the ingest key (its id's beginning, in hexadecimal) for want of which it is asked for again.
    """

    claim: Claim
    previous: bytes = b""
    chain: bytes = b""
    refusal: str = ""
    again: str = ""
    missing_key: str = ""
    salts: list[bytes] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    severities: list[int] = field(default_factory=list)
    told: list[model.Event] = field(default_factory=list)


@dataclass(slots=True)
class PreparedBatch:
    """A batch whose statement holds. ``packs`` are for the usual case that every frame is new."""

    number: int
    epoch: bytes
    entry: bytes
    frames: list[OpenedFrame]
    evictions: list[wire.EvictionRecord]
    packs: list[Pack]
    size: int


@dataclass(frozen=True, slots=True)
class _Signer:
    """A device's public key, loaded; ``key_id`` as in ``wire.Signature``."""

    key: EllipticCurvePublicKey
    key_id: bytes


class _KeyMissing(Exception):
    """The frame may be good; the key that opens it is not here."""

    def __init__(self, key_id: bytes) -> None:
        self.key = key_id.hex()[:16]
        super().__init__(
            f"the frame is sealed to the ingest key {self.key}, which this collector does not hold: "
            "bring it back from escrow or, if it was published just now, restart the collector"
        )


class Preparer:
    """Keeps the keys of open segments, a bounded number of them. Not thread-safe."""

    def __init__(
        self,
        school_id: str,
        ingest_keys: Mapping[bytes, X25519PrivateKey],
        *,
        max_frames: int,
        openers: int = 8192,
    ) -> None:
        self._school_id = school_id
        self._keys = ingest_keys
        self._max_frames = max_frames
        self._openers: OrderedDict[tuple[bytes, bytes, bytes], sealing.SegmentOpener] = OrderedDict()
        self._max_openers = openers
        self._signers: OrderedDict[bytes, _Signer] = OrderedDict()

    def prepare(
        self, batch: wire.Batch, device_id: bytes, certificate_keys: Mapping[bytes, bytes]
    ) -> PreparedBatch:
        """``certificate_keys``: certificate hash -> public key (DER) of this device's own certificates.

        Raises ``BatchFault`` when nothing of the batch can be attributed.
        """
        statement, signer = self._statement(batch, device_id, certificate_keys)
        claims = claims_of(statement, len(batch.frames), self._max_frames)
        segments = {segment.segment_id: segment for segment in batch.segments}
        binding = sealing.Binding(school_id=self._school_id, device_id=device_id, epoch=statement.epoch)
        opened_bytes = 0
        frames = []
        for claim, frame in zip(claims, batch.frames, strict=True):
            found = OpenedFrame(claim)
            frames.append(found)
            try:
                header = _agreeing_header(claim, frame)
            except sealing.SealingError as error:
                found.refusal = str(error)
                continue
            found.previous, found.chain = header.previous, statements.chain_value(frame.header)
            opened_bytes += header.plain_size
            if opened_bytes > MAX_OPENED_BYTES:
                found.again = (
                    f"the batch opens to more than {MAX_OPENED_BYTES} bytes: send fewer frames at once"
                )
                continue
            try:
                self._open(found, frame, header, segments, binding)
            except _KeyMissing as missing:
                found.again, found.missing_key = str(missing), missing.key
            except (sealing.SealingError, WireFormatError) as error:
                found.refusal = str(error)
        return PreparedBatch(
            number=batch.number,
            epoch=statement.epoch,
            entry=statements.leaf_bytes(_entry(batch, signer)),
            frames=frames,
            evictions=evictions_of(statement),
            packs=pack_frames(statement.epoch, [f for f in frames if not (f.refusal or f.again)]),
            size=len(batch.statement) + sum(len(f.header) + len(f.ciphertext) for f in batch.frames),
        )

    def _statement(
        self, batch: wire.Batch, device_id: bytes, certificate_keys: Mapping[bytes, bytes]
    ) -> tuple[wire.BatchStatement, _Signer]:
        try:
            statement = decode(wire.BatchStatement, batch.statement)
        except WireFormatError as error:
            raise BatchFault(f"the batch statement cannot be read: {error}") from error
        if statement.school_id != self._school_id:
            raise BatchFault(
                f"the statement is of the school {statement.school_id!r}, not {self._school_id!r}"
            )
        if statement.device_id != device_id:
            raise BatchFault("the statement names another device than the stream's certificate")
        if len(statement.epoch) != 16:
            raise BatchFault(f"the statement's epoch has {len(statement.epoch)} bytes, not 16")
        encoded = certificate_keys.get(statement.certificate_hash)
        if encoded is None:
            raise BatchFault(
                "the statement is signed under a certificate that is not this device's, or is revoked"
            )
        signer = self._signer(encoded)
        try:
            statements.verify(statements.BATCH, batch.statement, batch.signature, signer.key)
        except statements.StatementError as error:
            raise BatchFault(str(error)) from error
        return statement, signer

    def _signer(self, encoded: bytes) -> _Signer:
        signer = self._signers.get(encoded)
        if signer is None:
            key = serialization.load_der_public_key(encoded)
            assert isinstance(key, EllipticCurvePublicKey)
            signer = self._signers[encoded] = _Signer(key, hashlib.sha256(encoded).digest())
            if len(self._signers) > _MAX_SIGNERS:
                self._signers.popitem(last=False)
        else:
            self._signers.move_to_end(encoded)
        return signer

    def _open(
        self,
        found: OpenedFrame,
        frame: wire.Frame,
        header: wire.FrameHeader,
        segments: Mapping[bytes, wire.Segment],
        binding: sealing.Binding,
    ) -> None:
        opened = self._opener(header.segment_id, segments, binding).open(frame, header)
        salts, events = zip(*opened.events, strict=True)
        for event in events:
            summary = summarise(event)
            kind = summary.kind
            found.kinds.append(kind_number(kind))
            found.times.append(max(0, min(_MAX_MS, summary.wall_unix_ms - (summary.skew_ms or 0))))
            found.severities.append(summary.severity)
            if kind in _TOLD:
                found.told.append(decode(model.Event, event))
        found.salts, found.events, found.leaves = list(salts), list(events), opened.leaves

    def _opener(
        self, segment_id: bytes, segments: Mapping[bytes, wire.Segment], binding: sealing.Binding
    ) -> sealing.SegmentOpener:
        place = (binding.device_id, binding.epoch, segment_id)
        opener = self._openers.get(place)
        if opener is not None:
            self._openers.move_to_end(place)
            return opener
        segment = segments.get(segment_id)
        if segment is None:
            raise sealing.SealingError("the frame's segment was not sent with it")
        key = self._keys.get(segment.ingest_key_id)
        if key is None:
            raise _KeyMissing(segment.ingest_key_id)
        opener = self._openers[place] = sealing.SegmentOpener(segment, binding, key)
        if len(self._openers) > self._max_openers:
            self._openers.popitem(last=False)
        return opener


def _agreeing_header(claim: Claim, frame: wire.Frame) -> wire.FrameHeader:
    """The frame's header, if it says what the signed statement says of it."""
    header = sealing.read_header(frame)
    said = (header.lane, header.first_sequence, header.count, header.root)
    if said != (claim.lane, claim.first, claim.count, claim.root):
        raise sealing.SealingError("the frame is not the one that the signed statement names at its place")
    return header


def _entry(batch: wire.Batch, signer: _Signer) -> wire.LedgerEntry:
    signature = wire.Signature(key_id=signer.key_id, signature=batch.signature)
    return statements.batch_entry(batch.statement, signature)
