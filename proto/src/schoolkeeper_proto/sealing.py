"""Segments, frames and sealed fields: what lies on a device's disk and who can open it.

A *segment* is a random AES-256 key, wrapped once to the collector's ingest key by HPKE (RFC 9180: DHKEM(X25519),
HKDF-SHA256, AES-256-GCM) and kept in memory only. A *frame* is one lane's events, sealed under it by AES-GCM with
the frame's number as nonce and the clear header as associated data. HPKE's base mode does not authenticate the
sender: the device's signature over the batch does. ``info`` is length-prefixed, so that no two contexts collide.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from itertools import permutations

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schoolkeeper_proto import merkle, model, wire
from schoolkeeper_proto.codec import WireFormatError, decode, encode, join_payload, split_payload
from schoolkeeper_proto.statements import chain_value, event_leaf

MAX_FRAME_EVENTS = 4_096
MAX_FRAME_BYTES = 1 << 20
"""Of a payload, before compression; one event may be 64 KiB at most."""
MAX_EVENT_BYTES = 1 << 16
SALT_BYTES = 16
MAX_FRAMES_PER_SEGMENT = 1 << 32
_COMPRESS_FROM = 1_024
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class SealingError(ValueError):
    """Something that cannot be sealed or opened; says what and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Whose bytes these are; a segment opens only under the same binding."""

    school_id: str
    device_id: bytes
    epoch: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFrame:
    """A frame as it lies in the spool, with what a statement says about it."""

    header: wire.FrameHeader
    frame: wire.Frame
    chain: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFrame:
    """A frame's (salt, event bytes) pairs, checked against the header's root."""

    header: wire.FrameHeader
    events: list[tuple[bytes, bytes]]
    leaves: list[bytes]


class SegmentSealer:
    """One segment's key and its frame counter. Not thread-safe: one writer per spool."""

    def __init__(self, binding: Binding, ingest_key: X25519PublicKey, ingest_key_id: bytes, now_unix_ms: int):
        key = AESGCM.generate_key(256)
        segment_id = os.urandom(16)
        wrapped = _SUITE.encrypt(key, ingest_key, info=_segment_info(binding, segment_id))
        self._aead = AESGCM(key)
        self._counter = 0
        self.segment = wire.Segment(
            segment_id=segment_id,
            epoch=binding.epoch,
            ingest_key_id=ingest_key_id,
            wrapped_key=wrapped,
            created_unix_ms=now_unix_ms,
        )

    def seal(self, lane: wire.Lane, first_sequence: int, previous: bytes, events: list[bytes]) -> SealedFrame:
        """Seals serialised events as one frame. Raises ``SealingError`` when they do not fit one."""
        if not 0 < len(events) <= MAX_FRAME_EVENTS:
            raise SealingError(f"a frame holds 1 to {MAX_FRAME_EVENTS} events, not {len(events)}")
        if self._counter >= MAX_FRAMES_PER_SEGMENT:
            raise SealingError("the segment is used up: open a new one")
        entropy = os.urandom(SALT_BYTES * len(events))
        records = [(entropy[i * SALT_BYTES : (i + 1) * SALT_BYTES], e) for i, e in enumerate(events)]
        payload = join_payload(records)
        if len(payload) > MAX_FRAME_BYTES:
            raise SealingError(f"a frame holds {MAX_FRAME_BYTES} bytes of events, not {len(payload)}")
        body, compression = _compress(payload)
        header = wire.FrameHeader(
            lane=lane,
            first_sequence=first_sequence,
            count=len(events),
            root=merkle.tree_root([event_leaf(salt, event) for salt, event in records]),
            previous=previous,
            segment_id=self.segment.segment_id,
            segment_counter=self._counter,
            compression=compression,
            plain_size=len(payload),
        )
        clear = encode(header)
        ciphertext = self._aead.encrypt(_nonce(self._counter), body, clear)
        self._counter += 1
        return SealedFrame(
            header=header, frame=wire.Frame(header=clear, ciphertext=ciphertext), chain=chain_value(clear)
        )


class SegmentOpener:
    """The collector's side: a segment's key, unwrapped once, opens that segment's frames."""

    def __init__(self, segment: wire.Segment, binding: Binding, ingest_key: X25519PrivateKey) -> None:
        try:
            key = _SUITE.decrypt(
                segment.wrapped_key, ingest_key, info=_segment_info(binding, segment.segment_id)
            )
        except (InvalidTag, ValueError) as error:
            raise SealingError(
                "the segment key does not open: other device, school, epoch or ingest key"
            ) from error
        self._aead = AESGCM(key)
        self._segment_id = segment.segment_id

    def open(self, frame: wire.Frame, header: wire.FrameHeader) -> OpenFrame:
        """Opens and checks one frame. ``header`` is ``frame.header`` decoded. Raises ``SealingError``."""
        check_header(header)
        if header.segment_id != self._segment_id:
            raise SealingError("the frame belongs to another segment")
        try:
            body = self._aead.decrypt(_nonce(header.segment_counter), frame.ciphertext, frame.header)
        except InvalidTag as error:
            raise SealingError("the frame was altered, or was sealed under another key") from error
        events = _split(_decompress(body, header))
        if len(events) != header.count:
            raise SealingError(f"the frame holds {len(events)} events, its header says {header.count}")
        leaves = [event_leaf(salt, event) for salt, event in events]
        if merkle.tree_root(leaves) != header.root:
            raise SealingError("the events do not match the root in the frame's header")
        return OpenFrame(header=header, events=events, leaves=leaves)


def read_header(frame: wire.Frame) -> wire.FrameHeader:
    """The clear header, bounds checked; raises ``SealingError``."""
    try:
        header = decode(wire.FrameHeader, frame.header)
    except WireFormatError as error:
        raise SealingError(str(error)) from error
    check_header(header)
    return header


def check_header(header: wire.FrameHeader) -> None:
    """Raises ``SealingError`` for a header no honest device writes."""
    if header.lane not in wire.LANES:
        raise SealingError("the frame names no lane")
    if not 0 < header.count <= MAX_FRAME_EVENTS:
        raise SealingError(f"the frame claims {header.count} events")
    if header.plain_size > MAX_FRAME_BYTES:
        raise SealingError(f"the frame claims {header.plain_size} bytes, {MAX_FRAME_BYTES} are allowed")
    if len(header.root) != 32 or len(header.previous) != 32 or len(header.segment_id) != 16:
        raise SealingError("the frame's root, chain or segment id has the wrong length")
    if header.first_sequence + header.count >= 1 << 63 or header.segment_counter >= MAX_FRAMES_PER_SEGMENT:
        raise SealingError("the frame's sequence or counter is out of range")


# ---- sealed fields --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A person or service a field is sealed to; ``key_id`` is SHA-256 of the raw X25519 public key."""

    name: str
    public_key: X25519PublicKey

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.public_key.public_bytes_raw()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldContext:
    """What a sealed field is bound to besides its officer set."""

    binding: Binding
    event_id: bytes
    category: str


def officer_set_hash(recipients: list[Recipient]) -> bytes:
    return hashlib.sha256(b"".join(sorted(r.public_key.public_bytes_raw() for r in recipients))).digest()


def seal_field(
    plaintext: bytes, scheme: model.SealingScheme, recipients: list[Recipient], context: FieldContext
) -> model.SealedField:
    """Seals a field to its recipients. With too few for the scheme, nothing is collected: ``withheld``."""
    needed = 2 if scheme is model.SealingScheme.ANY_TWO else 1
    if len({r.key_id for r in recipients}) < needed:
        return model.SealedField(scheme=scheme, withheld=True, category=context.category)
    set_hash = officer_set_hash(recipients)
    content_key = os.urandom(32)
    info = _field_info(context, set_hash)
    key, commitment = _field_keys(content_key, info)
    nonce = os.urandom(12)
    return model.SealedField(
        scheme=scheme,
        officer_set_hash=set_hash,
        recipients=tuple(r.name for r in recipients),
        wraps=tuple(_wraps(content_key, scheme, recipients, info)),
        nonce=nonce,
        ciphertext=AESGCM(key).encrypt(nonce, plaintext, info + commitment),
        key_commitment=commitment,
        category=context.category,
    )


def unwrap_key(field: model.SealedField, context: FieldContext, private_key: X25519PrivateKey) -> bytes:
    """The content key for COLLECTOR and ANY_ONE; raises ``SealingError`` when this key is no recipient."""
    own = hashlib.sha256(private_key.public_key().public_bytes_raw()).digest()
    info = _field_info(context, field.officer_set_hash)
    for wrap in field.wraps:
        if wrap.key_ids == (own,):
            return _hpke_open(wrap.wrapped, private_key, _wrap_info(b"one", info, own, own))
    raise SealingError("this field is not sealed to this key alone")


def approve(
    field: model.SealedField, context: FieldContext, private_key: X25519PrivateKey, viewer_key_id: bytes
) -> bytes:
    """The approver's half of ANY_TWO: removes the outer layer; what is left only the viewer can open."""
    own = hashlib.sha256(private_key.public_key().public_bytes_raw()).digest()
    info = _field_info(context, field.officer_set_hash)
    for wrap in field.wraps:
        if wrap.key_ids == (own, viewer_key_id):
            return _hpke_open(wrap.wrapped, private_key, _wrap_info(b"approve", info, own, viewer_key_id))
    raise SealingError("this field is not sealed to this approver and that viewer")


def view_key(
    inner: bytes,
    field: model.SealedField,
    context: FieldContext,
    private_key: X25519PrivateKey,
    approver_key_id: bytes,
) -> bytes:
    """The viewer's half of ANY_TWO: the content key from what the approver's half left."""
    own = hashlib.sha256(private_key.public_key().public_bytes_raw()).digest()
    info = _field_info(context, field.officer_set_hash)
    return _hpke_open(inner, private_key, _wrap_info(b"view", info, approver_key_id, own))


def open_field(field: model.SealedField, context: FieldContext, content_key: bytes) -> bytes:
    """The plaintext; raises ``SealingError`` for a wrong key or altered field."""
    info = _field_info(context, field.officer_set_hash)
    key, commitment = _field_keys(content_key, info)
    if commitment != field.key_commitment:
        raise SealingError("the key does not match the field's commitment")
    try:
        return AESGCM(key).decrypt(field.nonce, field.ciphertext, info + commitment)
    except (InvalidTag, ValueError) as error:
        raise SealingError("the sealed field was altered") from error


def _wraps(
    content_key: bytes, scheme: model.SealingScheme, recipients: list[Recipient], info: bytes
) -> list[model.KeyWrap]:
    ordered = sorted({r.key_id: r for r in recipients}.items())
    if scheme is not model.SealingScheme.ANY_TWO:
        return [
            model.KeyWrap(
                key_ids=(kid,),
                wrapped=_SUITE.encrypt(content_key, r.public_key, info=_wrap_info(b"one", info, kid, kid)),
            )
            for kid, r in ordered
        ]
    found = []
    for (a_id, approver), (v_id, viewer) in permutations(ordered, 2):
        inner = _SUITE.encrypt(content_key, viewer.public_key, info=_wrap_info(b"view", info, a_id, v_id))
        outer = _SUITE.encrypt(inner, approver.public_key, info=_wrap_info(b"approve", info, a_id, v_id))
        found.append(model.KeyWrap(key_ids=(a_id, v_id), wrapped=outer))
    return found


def _hpke_open(wrapped: bytes, private_key: X25519PrivateKey, info: bytes) -> bytes:
    try:
        return _SUITE.decrypt(wrapped, private_key, info=info)
    except (InvalidTag, ValueError) as error:
        raise SealingError("the wrapped key does not open: wrong key, role or context") from error


def _field_keys(content_key: bytes, info: bytes) -> tuple[bytes, bytes]:
    material = HKDF(hashes.SHA256(), 64, None, b"schoolkeeper/field-keys/v1" + info).derive(content_key)
    return material[:32], material[32:]


def _prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _segment_info(binding: Binding, segment_id: bytes) -> bytes:
    return _prefixed(
        b"schoolkeeper/segment/v1", binding.school_id.encode(), binding.device_id, binding.epoch, segment_id
    )


def _field_info(context: FieldContext, set_hash: bytes) -> bytes:
    bound = context.binding
    return _prefixed(
        b"schoolkeeper/field/v1",
        bound.school_id.encode(),
        bound.device_id,
        bound.epoch,
        context.event_id,
        context.category.encode(),
        set_hash,
    )


def _wrap_info(role: bytes, info: bytes, approver: bytes, viewer: bytes) -> bytes:
    return _prefixed(b"schoolkeeper/wrap/v1", role, info, approver, viewer)


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")


def _compress(payload: bytes) -> tuple[bytes, wire.Compression]:
    if len(payload) < _COMPRESS_FROM:
        return payload, wire.Compression.NONE
    return zstandard.ZstdCompressor(level=1).compress(payload), wire.Compression.ZSTD


def _decompress(body: bytes, header: wire.FrameHeader) -> bytes:
    """Bounded by the header's claim, which is itself bounded; a bomb ends here."""
    if header.compression is wire.Compression.NONE:
        plain = body
    elif header.compression is wire.Compression.ZSTD:
        try:
            reader = zstandard.ZstdDecompressor(max_window_size=1 << 23).stream_reader(body)
            plain = reader.read(header.plain_size + 1)
        except zstandard.ZstdError as error:
            raise SealingError(f"the frame does not decompress: {error}") from error
    else:
        raise SealingError("the frame's compression is unknown")
    if len(plain) != header.plain_size:
        raise SealingError(f"the frame holds {len(plain)} or more bytes, its header says {header.plain_size}")
    return plain


def _split(payload: bytes) -> list[tuple[bytes, bytes]]:
    try:
        events = split_payload(payload)
    except WireFormatError as error:
        raise SealingError(str(error)) from error
    for position, (salt, event) in enumerate(events):
        if len(salt) != SALT_BYTES or len(event) > MAX_EVENT_BYTES:
            raise SealingError(f"event {position} has a salt of {len(salt)} and {len(event)} bytes")
    return events
