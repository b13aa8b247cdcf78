"""What a spool promises; ``tests/contracts/test_spool_contract.py`` holds every implementation to it.

Promise: every event handed to ``append`` is either kept until it is settled, or counted in an eviction record, or
refused by an exception. A spool is used by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool.intervals import Intervals
from schoolkeeper_proto import wire
from schoolkeeper_proto.wire import Lane


class SpoolError(Exception):
    """The spool cannot do what was asked; nothing was changed unless the message says so."""


class SpoolUnwritable(SpoolError):
    """Nothing was kept: the disk is full or failing. May pass by itself; try again later."""


class SpoolDamaged(SpoolError):
    """The database is damaged: it must be opened anew, which moves it aside and saves what is readable."""


class SpoolRefused(SpoolError):
    """These events can never be kept (too large, or none): the caller's mistake, to be counted and said."""


class FrameState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    SET_ASIDE = "set-aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose spool this is. Another school, device or machine means a new epoch: sequences must never meet."""

    school_id: str
    device_id: bytes
    machine_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestTarget:
    """The collector's X25519 public key (raw, 32 bytes) that new segments are wrapped to."""

    key_id: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFrame:
    """``number`` is the spool's own and never used again; ``chain`` is the lane's value after this frame."""

    number: int
    epoch: bytes
    lane: Lane
    first_sequence: int
    count: int
    root: bytes
    previous: bytes
    chain: bytes
    segment_id: bytes
    frame: wire.Frame

    @property
    def size(self) -> int:
        return len(self.frame.header) + len(self.frame.ciphertext)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEviction:
    number: int
    record: wire.EvictionRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Frames for one batch: pending, not in ``skip``, in the order of lanes and then of writing."""

    max_bytes: int
    max_frames: int
    skip: Intervals = field(default_factory=Intervals)
    skip_evictions: Intervals = field(default_factory=Intervals)
    lanes: tuple[Lane, ...] = wire.LANES


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All of one epoch, sealed under one identity: what one signed statement can cover."""

    epoch: bytes
    school_id: str
    device_id: bytes
    frames: tuple[StoredFrame, ...]
    segments: tuple[wire.Segment, ...]
    evictions: tuple[StoredEviction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of frames that were sent, and the notes that must be durable with it (a checkpoint, a time)."""

    delivered: tuple[int, ...] = ()
    set_aside: tuple[tuple[int, str], ...] = ()
    evictions_reported: tuple[int, ...] = ()
    notes: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """What one append wrote, and what it had to evict to make room."""

    lane: Lane
    first_sequence: int
    events: int
    frames: int
    evicted: tuple[wire.EvictionRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a lane ends: the sequence that its next event gets, and the chain's value up to there."""

    next_sequence: int
    chain: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """An append whose commit failed with an unknown outcome; the caller was told that nothing was kept."""

    epoch_no: int
    lane: Lane
    before: Head
    after: Head


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneUsage:
    lane: Lane
    pending_frames: int
    pending_events: int
    pending_bytes: int
    oldest_unix_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Bytes are those of frames with ``FRAME_OVERHEAD`` each; counters live as long as the device's state."""

    room_bytes: int
    used_bytes: int
    lanes: tuple[LaneUsage, ...]
    delivered_frames: int
    delivered_bytes: int
    set_aside_frames: int
    evicted_events: int
    set_aside_events: int
    lost_events: int
    epochs: int
    counts_forgotten: int = 0
    """How often damage took a count: if ever, lost, evicted and set aside are the least that is sure."""

    @property
    def pending_events(self) -> int:
        return sum(lane.pending_events for lane in self.lanes)

    @property
    def pending_frames(self) -> int:
        return sum(lane.pending_frames for lane in self.lanes)

    @property
    def pending_bytes(self) -> int:
        return sum(lane.pending_bytes for lane in self.lanes)

    @property
    def oldest_unix_ms(self) -> int | None:
        return min(
            (lane.oldest_unix_ms for lane in self.lanes if lane.oldest_unix_ms is not None), default=None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What opening the spool found: told once, as an event. ``lost_events`` counts what is known to be lost."""

    reason: str
    salvaged_frames: int = 0
    salvaged_events: int = 0
    lost_events: int = 0
    lost_count_known: bool = False
    moved_to: str = ""
    also_lost: tuple[str, ...] = ()
    """What else was not as it was written, in words: notes, counts, records."""


class Spool(Protocol):
    @property
    def epoch(self) -> bytes: ...

    @property
    def epoch_because(self) -> str:
        """Why this epoch was opened."""

    @property
    def doubt(self) -> Doubt | None:
        """An append of which nobody knows yet whether the disk kept it; whoever opens the spool anew hands it over."""

    def append(
        self, lane: Lane, events: Sequence[bytes], now: Moment, notes: Mapping[str, bytes] | None = None
    ) -> Appended:
        """Seals the events and returns when they are durable, and the notes with them: both, or neither.

        Raises ``SpoolUnwritable`` (nothing kept), ``SpoolDamaged``, ``SpoolRefused`` (nothing kept).
        """

    def read(self, wanted: Wanted) -> Reading | None:
        """Frames and eviction records for one batch; None when there is nothing to send."""

    def settle(self, settlement: Settlement, now: Moment) -> None:
        """Writes down what became of frames, durably and all at once. Numbers it does not hold are ignored."""

    def note(self, name: str) -> bytes:
        """A note that a settlement or an append wrote; empty when there is none."""

    def cursors(self) -> tuple[wire.LaneCursor, ...]: ...

    def usage(self) -> Usage: ...

    def fate(self, epoch: bytes, lane: Lane, sequence: int) -> FrameState | None:
        """What became of the event at this place; None for one that is not held: evicted, or long delivered."""

    def new_epoch(self, because: str, now: Moment) -> bytes:
        """From now on frames are of a new epoch; those of earlier ones are still sent."""

    def send_again(self, held: Sequence[wire.HeldRange]) -> int:
        """After the collector was restored: delivered frames outside ``held`` are pending again. Returns events."""

    def count_lost(self, events: int) -> None:
        """Adds to the counter of events that never reached the spool."""

    def tidy(self, now: Moment) -> None:
        """Drops what was delivered more than 14 days ago."""

    def retarget(self, target: IngestTarget) -> None:
        """New segments are wrapped to this key from now on."""

    def close(self) -> None: ...
