"""A blob: the records of one batch that are kept for the same time, packed by column, compressed, encrypted.

Layout before compression (little-endian): ``SKB1``, epoch (16 bytes), count, then per record a lane byte, a sequence
(u64) and a length (u32), then the salts (16 bytes each), then the events. An erased record has the length
``ERASED`` and, instead of salt and event, its 32-byte commitment at the end. AES-256-GCM with a random nonce in
front; the associated data names school, device, leaf and class, so that a blob cannot stand in for another.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schoolkeeper_proto.wire import LANES, Lane

ERASED = 0xFFFF_FFFF
_MAGIC = b"SKB1"
_LANE_NUMBER = {lane: number for number, lane in enumerate(LANES)}
_MAX_BYTES = 64 << 20


class BlobDamaged(Exception):
    """A blob that does not open or does not hold what it should; says which and what was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One event of a blob; after its erasure salt and event are empty and only the commitment is left."""

    lane: Lane
    sequence: int
    salt: bytes
    event: bytes
    commitment: bytes = b""


@dataclass(frozen=True, slots=True)
class BlobContext:
    """What a blob is bound to."""

    school_id: str
    device_no: int
    leaf_index: int
    retention: str

    def bound(self) -> bytes:
        return f"blob/1|{self.school_id}|{self.device_no}|{self.leaf_index}|{self.retention}".encode()


def pack(epoch: bytes, lanes: bytes, sequences: list[int], salts: list[bytes], events: list[bytes]) -> bytes:
    """Compressed columns; ``lanes`` holds one ``lane_number`` per record. The hot path's form."""
    count = len(events)
    head = struct.pack(f"<4s16sI{count}s{count}Q{count}I", *_columns(epoch, lanes, sequences, events))
    return _compress(b"".join((head, *salts, *events)))


def pack_records(epoch: bytes, records: Sequence[Record]) -> bytes:
    """The same from records, erased ones among them."""
    count = len(records)
    lanes = bytes(_LANE_NUMBER[record.lane] for record in records)
    kept = [record for record in records if not record.commitment]
    lengths = [ERASED if record.commitment else len(record.event) for record in records]
    sequences = [record.sequence for record in records]
    head = struct.pack(f"<4s16sI{count}s{count}Q{count}I", _MAGIC, epoch, count, lanes, *sequences, *lengths)
    salts, bodies = (record.salt for record in kept), (record.event for record in kept)
    commitments = (record.commitment for record in records if record.commitment)
    return _compress(b"".join((head, *salts, *bodies, *commitments)))


def _columns(epoch: bytes, lanes: bytes, sequences: list[int], events: list[bytes]) -> Iterable[object]:
    return (_MAGIC, epoch, len(events), lanes, *sequences, *map(len, events))


def lane_number(lane: Lane) -> int:
    return _LANE_NUMBER[lane]


def seal(packed: bytes, key: bytes, context: BlobContext) -> bytes:
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, packed, context.bound())


def open_blob(data: bytes, key: bytes, context: BlobContext) -> tuple[bytes, list[Record]]:
    """(epoch, records in order); raises ``BlobDamaged``."""
    try:
        packed = AESGCM(key).decrypt(data[:12], data[12:], context.bound())
        plain = zstandard.ZstdDecompressor().decompress(packed, max_output_size=_MAX_BYTES)
        return _unpack(plain)
    except (InvalidTag, ValueError, struct.error, zstandard.ZstdError) as error:
        raise BlobDamaged(
            f"the blob of leaf {context.leaf_index}, class {context.retention}, device {context.device_no} "
            f"does not open: altered, or another key ({type(error).__name__})"
        ) from error


def _unpack(plain: bytes) -> tuple[bytes, list[Record]]:
    magic, epoch, count = struct.unpack_from("<4s16sI", plain)
    if magic != _MAGIC:
        raise ValueError("not a blob")
    columns = struct.unpack_from(f"<{count}s{count}Q{count}I", plain, 24)
    lanes, sequences, lengths = columns[0], columns[1 : 1 + count], columns[1 + count :]
    kept = [length for length in lengths if length != ERASED]
    salt_at = 24 + 13 * count
    event_at = salt_at + 16 * len(kept)
    erased_at = event_at + sum(kept)
    if len(plain) != erased_at + 32 * (count - len(kept)):
        raise ValueError("its length does not fit its columns")
    records: list[Record] = []
    for lane, sequence, length in zip(lanes, sequences, lengths, strict=True):
        salt = event = commitment = b""
        if length == ERASED:
            commitment = plain[erased_at : erased_at + 32]
            erased_at += 32
        else:
            salt, event = plain[salt_at : salt_at + 16], plain[event_at : event_at + length]
            salt_at += 16
            event_at += length
        records.append(
            Record(lane=LANES[lane], sequence=sequence, salt=salt, event=event, commitment=commitment)
        )
    return epoch, records


def _compress(plain: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_content_size=True).compress(plain)
