"""Spools for tests: real ones with a disk that fails on order, fake ones, and an account of every event."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import schema
from schoolkeeper_agent.spool.contract import IngestTarget, Owner, Reading, Spool, StoredFrame
from schoolkeeper_proto import wire
from schoolkeeper_proto.sealing import Binding, SegmentOpener, read_header
from schoolkeeper_proto.wire import Lane

INGEST = X25519PrivateKey.from_private_bytes(bytes(range(32)))
TARGET = IngestTarget(key_id=b"k" * 32, public_key=INGEST.public_key().public_bytes_raw())
OWNER = Owner(school_id="tests", device_id=b"d" * 16, machine_hash=b"m" * 32)


def moment(milliseconds: int = 0) -> Moment:
    """A time of day in 2026, so many milliseconds on, and as long after boot."""
    return Moment(wall_ms=1_795_000_000_000 + milliseconds, monotonic_ms=1_000_000 + milliseconds)


@dataclass
class Disk:
    """Orders for the next commits: ``full`` keeps nothing; ``unsure`` keeps it and reports an error all the same."""

    orders: list[str] = field(default_factory=list)
    failing: bool = False

    def connect(self, path: Path) -> Any:
        if self.failing:
            raise _error("disk I/O error", sqlite3.SQLITE_IOERR)
        return _Connection(_connect(path), self)


_connect = schema.connect


def _error(text: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_INJECTED"
    return error


class _Connection:
    """A real connection whose commits fail as ordered."""

    def __init__(self, database: sqlite3.Connection, disk: Disk) -> None:
        self._database = database
        self._disk = disk

    def execute(self, statement: str, arguments: Sequence[object] = ()) -> sqlite3.Cursor:
        if statement == "COMMIT" and self._disk.failing:
            raise _error("disk I/O error", sqlite3.SQLITE_IOERR_WRITE)
        if statement == "COMMIT" and self._disk.orders:
            order = self._disk.orders.pop(0)
            if order == "full":
                raise _error("database or disk is full", sqlite3.SQLITE_FULL)
            if order == "unsure":
                self._database.execute("COMMIT")
                raise _error("disk I/O error", sqlite3.SQLITE_IOERR_FSYNC)
            if order == "dies":
                self._database.execute("COMMIT")
                self._disk.failing = True
                raise _error("disk I/O error", sqlite3.SQLITE_IOERR_FSYNC)
        return self._database.execute(statement, arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


@dataclass
class Account:
    """Every event by where it is: opens frames with the collector's key and checks lanes piece by piece."""

    frames: dict[tuple[bytes, Lane, int], StoredFrame] = field(default_factory=dict)
    events: dict[tuple[bytes, Lane, int], bytes] = field(default_factory=dict)
    evicted: dict[tuple[bytes, Lane, int], wire.EvictionRecord] = field(default_factory=dict)

    def take(self, reading: Reading) -> None:
        openers = {
            segment.segment_id: SegmentOpener(
                segment,
                Binding(school_id=reading.school_id, device_id=reading.device_id, epoch=reading.epoch),
                INGEST,
            )
            for segment in reading.segments
        }
        for frame in reading.frames:
            place = (reading.epoch, frame.lane, frame.first_sequence)
            again = self.frames.get(place)
            assert again is None or again.frame == frame.frame, "one place holds two different frames"
            self.frames[place] = frame
            opened = openers[frame.segment_id].open(frame.frame, read_header(frame.frame))
            for offset, (_, event) in enumerate(opened.events):
                self.events[reading.epoch, frame.lane, frame.first_sequence + offset] = event
        for item in reading.evictions:
            place = (reading.epoch, item.record.lane, item.record.first_sequence)
            assert self.evicted.setdefault(place, item.record) == item.record, "a signed record changed"

    def check_lanes(self, spool: Spool) -> None:
        """Frames and eviction records tile each lane from 0 to its end, and the chain runs through both."""
        ends = {(c.epoch, c.lane): (c.next_sequence, c.chain) for c in spool.cursors()}
        for epoch, lane in {(e, ln) for e, ln, _ in [*self.frames, *self.evicted]}:
            position, chain = 0, wire.CHAIN_START
            pieces = [
                *(f for (e, ln, _), f in self.frames.items() if (e, ln) == (epoch, lane)),
                *(r for (e, ln, _), r in self.evicted.items() if (e, ln) == (epoch, lane)),
            ]
            for piece in sorted(pieces, key=lambda p: p.first_sequence):
                if isinstance(piece, StoredFrame):
                    first, count, before, after = (
                        piece.first_sequence,
                        piece.count,
                        piece.previous,
                        piece.chain,
                    )
                else:
                    first, count = piece.first_sequence, piece.events
                    before, after = piece.chain_before, piece.chain_after
                # A record may begin with frames that were seen before they were evicted.
                assert first <= position, f"{lane}: a hole from {position} to {first}"
                assert before == chain or first < position, f"{lane}: the chain is broken at {first}"
                if first + count > position:
                    position, chain = first + count, after
            if (epoch, lane) in ends:
                assert (position, chain) == ends[epoch, lane]
