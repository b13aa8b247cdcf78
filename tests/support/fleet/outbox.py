"""What a simulated device holds until it is acknowledged: sealed frames per lane, cut into signed batches.

The same seals, statements and chains as an agent's, made by the same code in `proto`; only the spool is in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from schoolkeeper_proto import sealing, statements, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import LANES, Disposition, Lane

DONE = frozenset({Disposition.STORED, Disposition.DUPLICATE, Disposition.REFUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who signs, and to which ingest key frames are sealed."""

    school_id: str
    device_id: bytes
    certificate_hash: bytes
    signer: statements.Signer
    ingest_key: X25519PublicKey
    ingest_key_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A batch on its way: its bytes as a ``DeviceMessage``, and what it carries."""

    number: int
    message: bytes
    events: int
    frames: dict[Lane, tuple[int, int]]
    """Lane -> sequences from the first up to, not including, the second."""


@dataclass(slots=True)
class _LaneBox:
    next_sequence: int = 0
    chain: bytes = wire.CHAIN_START
    frames: list[sealing.SealedFrame] = field(default_factory=list)
    sent: int = 0
    """How many of ``frames`` are in a batch that was cut."""

    def drop(self, end: int, done: Callable[[int], bool]) -> bool:
        """Forget the frames before ``end`` that are done; whether all were. Acknowledgements come in order."""
        count = 0
        while count < self.sent and self.frames[count].header.first_sequence < end:
            count += 1
        kept = [f for f in self.frames[:count] if not done(f.header.first_sequence)]
        self.frames[:count] = kept
        self.sent -= count - len(kept)
        return not kept


class Outbox:
    """One epoch of one device. ``counts`` tells what became of the events."""

    def __init__(self, sender: Sender, now_ms: int) -> None:
        self.epoch = os.urandom(16)
        self._sender = sender
        binding = sealing.Binding(school_id=sender.school_id, device_id=sender.device_id, epoch=self.epoch)
        self._sealer = sealing.SegmentSealer(binding, sender.ingest_key, sender.ingest_key_id, now_ms)
        self._boxes = {lane: _LaneBox() for lane in LANES}
        self._number = 0
        self._cuts: dict[int, Cut] = {}
        self.counts: dict[Disposition, int] = dict.fromkeys(Disposition, 0)

    def put(self, lane: Lane, events: list[bytes]) -> None:
        """Seal serialised events as one frame."""
        box = self._boxes[lane]
        sealed = self._sealer.seal(lane, box.next_sequence, box.chain, events)
        box.next_sequence += len(events)
        box.chain = sealed.chain
        box.frames.append(sealed)

    @property
    def pending_events(self) -> int:
        return sum(frame.header.count for box in self._boxes.values() for frame in box.frames)

    @property
    def unsent(self) -> int:
        """Frames in no batch yet."""
        return sum(len(box.frames) - box.sent for box in self._boxes.values())

    @property
    def in_flight(self) -> int:
        """Batches cut and not yet settled."""
        return len(self._cuts)

    def cursors(self) -> tuple[wire.LaneCursor, ...]:
        return tuple(
            wire.LaneCursor(
                epoch=self.epoch,
                lane=lane,
                oldest_sequence=box.frames[0].header.first_sequence if box.frames else box.next_sequence,
                next_sequence=box.next_sequence,
                chain=box.chain,
            )
            for lane, box in self._boxes.items()
        )

    def cut(self, now_ms: int, *, max_frames: int = 512, max_bytes: int = 1 << 20) -> Cut | None:
        """The next batch, critical first; None when every frame is in one."""
        runs, frames, places, events, room = [], [], {}, 0, max_bytes
        for lane, box in self._boxes.items():
            taken: list[sealing.SealedFrame] = []
            for sealed in box.frames[box.sent : box.sent + max_frames - len(frames)]:
                size = len(sealed.frame.header) + len(sealed.frame.ciphertext) + 128
                if size > room and (frames or taken):
                    break
                room -= size
                taken.append(sealed)
            if taken:
                last = taken[-1].header
                places[lane] = (taken[0].header.first_sequence, last.first_sequence + last.count)
                box.sent += len(taken)
                frames += [sealed.frame for sealed in taken]
                events += sum(sealed.header.count for sealed in taken)
                runs.append(_run(lane, taken))
        if not frames:
            return None
        sender = self._sender
        statement = encode(
            wire.BatchStatement(
                school_id=sender.school_id,
                device_id=sender.device_id,
                epoch=self.epoch,
                certificate_hash=sender.certificate_hash,
                runs=tuple(runs),
                cut_at_unix_ms=now_ms,
            )
        )
        signature = statements.sign(statements.BATCH, statement, sender.signer)
        self._number += 1
        batch = wire.Batch(
            statement=statement,
            signature=signature.signature,
            segments=(self._sealer.segment,),
            frames=tuple(frames),
            number=self._number,
        )
        message = encode(wire.DeviceMessage(body=batch))
        cut = Cut(number=self._number, message=message, events=events, frames=places)
        self._cuts[self._number] = cut
        return cut

    def settle(self, ack: wire.Ack) -> Cut | None:
        """Take an acknowledgement down; what must be sent again goes back. None for a batch that is not awaited."""
        cut = self._cuts.pop(ack.batch_number, None)
        if cut is None:
            return None
        for found in ack.ranges:
            self.counts[found.disposition] += found.count
        again = False
        for lane, (_, end) in cut.frames.items():
            done = _done(ack, self.epoch, lane)
            again |= not self._boxes[lane].drop(end, done)
        if again:  # everything is cut anew, so that runs stay in order
            self.reconnected()
        return cut

    def reconnected(self) -> None:
        """What was in flight on the old stream may or may not have arrived: all of it is sent again."""
        self._cuts.clear()
        for box in self._boxes.values():
            box.sent = 0


def _run(lane: Lane, taken: list[sealing.SealedFrame]) -> wire.LaneRun:
    return wire.LaneRun(
        lane=lane,
        first_sequence=taken[0].header.first_sequence,
        counts=tuple(sealed.header.count for sealed in taken),
        roots=tuple(sealed.header.root for sealed in taken),
        chain_before=taken[0].header.previous,
        chain_after=taken[-1].chain,
    )


def _done(ack: wire.Ack, epoch: bytes, lane: Lane) -> Callable[[int], bool]:
    spans = [
        (r.first_sequence, r.first_sequence + r.count)
        for r in ack.ranges
        if r.lane is lane and r.epoch == epoch and r.disposition in DONE
    ]
    return lambda sequence: any(first <= sequence < end for first, end in spans)
