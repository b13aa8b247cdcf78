"""A spool in memory: real frames, no disk. It passes the spool's contract suite."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool import room
from schoolkeeper_agent.spool.contract import (
    Appended,
    FrameState,
    IngestTarget,
    LaneUsage,
    Owner,
    Reading,
    Settlement,
    SpoolRefused,
    SpoolUnwritable,
    StoredEviction,
    StoredFrame,
    Usage,
    Wanted,
)
from schoolkeeper_agent.spool.framing import check_events, cut_into_frames
from schoolkeeper_agent.spool.intervals import Intervals
from schoolkeeper_agent.spool.keys import SegmentKeeper
from schoolkeeper_proto import wire
from schoolkeeper_proto.wire import LANES, Lane


@dataclass
class _Held:
    stored: StoredFrame
    written_ms: int
    state: FrameState = FrameState.PENDING
    settled_ms: int = 0

    @property
    def cost(self) -> int:
        return room.cost(self.stored.frame.header, self.stored.frame.ciphertext)


@dataclass
class _Eviction:
    epoch: bytes
    record: wire.EvictionRecord
    open: bool = True
    reported: bool = False


class MemorySpool:
    """See ``contract.Spool``."""

    def __init__(self, owner: Owner, target: IngestTarget, *, room_bytes: int = room.DEFAULT_ROOM) -> None:
        self._owner = owner
        self._room = room_bytes
        self._keeper = SegmentKeeper(owner, target)
        self._heads: dict[tuple[bytes, Lane], tuple[int, bytes]] = {}
        self._epochs: list[tuple[bytes, str]] = []
        self._frames: dict[int, _Held] = {}
        self._segments: dict[bytes, wire.Segment] = {}
        self._evictions: dict[int, _Eviction] = {}
        self._notes: dict[str, bytes] = {}
        self._counters = {"evicted": 0, "set_aside": 0, "lost": 0}
        self._next = 1
        self._pinned = Intervals()
        self.new_epoch("new spool", Moment(wall_ms=0, monotonic_ms=0))

    @property
    def epoch(self) -> bytes:
        return self._epochs[-1][0]

    @property
    def epoch_because(self) -> str:
        return self._epochs[-1][1]

    @property
    def doubt(self) -> None:
        """Memory is sure of what it holds."""
        return None

    def append(
        self, lane: Lane, events: Sequence[bytes], now: Moment, notes: Mapping[str, bytes] | None = None
    ) -> Appended:
        check_events(lane, events)
        sealer = self._keeper.sealer(self.epoch, now)
        first, chain = self._heads[self.epoch, lane]
        sequence, frames = first, []
        for part in cut_into_frames(events):
            sealed = sealer.seal(lane, sequence, chain, part)
            frames.append((sealed, chain))
            sequence, chain = sequence + len(part), sealed.chain
        needed = sum(room.cost(s.frame.header, s.frame.ciphertext) for s, _ in frames)
        if needed > self._room:
            raise SpoolRefused("too large for the spool's room")
        evicted = self._make_room(lane, needed, now)
        self._segments[sealer.segment.segment_id] = sealer.segment
        for sealed, previous in frames:
            stored = StoredFrame(
                number=self._number(),
                epoch=self.epoch,
                lane=lane,
                first_sequence=sealed.header.first_sequence,
                count=sealed.header.count,
                root=sealed.header.root,
                previous=previous,
                chain=sealed.chain,
                segment_id=sealer.segment.segment_id,
                frame=sealed.frame,
            )
            self._frames[stored.number] = _Held(stored, now.wall_ms)
        self._heads[self.epoch, lane] = (sequence, chain)
        self._notes.update(notes or {})
        return Appended(
            lane=lane, first_sequence=first, events=len(events), frames=len(frames), evicted=evicted
        )

    def read(self, wanted: Wanted) -> Reading | None:
        self._pinned = wanted.skip
        chosen: list[StoredFrame] = []
        budget = wanted.max_bytes
        for held in self._in_order(wanted):
            if chosen and held.stored.epoch != chosen[0].epoch:
                continue
            if chosen and (held.cost > budget or len(chosen) >= wanted.max_frames):
                break
            chosen.append(held.stored)
            budget -= held.cost
        waiting = [
            (number, item)
            for number, item in self._evictions.items()
            if not item.reported and number not in wanted.skip_evictions
        ]
        if not chosen and not waiting:
            return None
        epoch = chosen[0].epoch if chosen else waiting[0][1].epoch
        evictions = []
        for number, item in waiting[:64]:
            if item.epoch == epoch:
                item.open = False
                evictions.append(StoredEviction(number=number, record=item.record))
        self._pinned = self._pinned.union(Intervals.of(frame.number for frame in chosen))
        return Reading(
            epoch=epoch,
            school_id=self._owner.school_id,
            device_id=self._owner.device_id,
            frames=tuple(sorted(chosen, key=lambda f: (LANES.index(f.lane), f.first_sequence))),
            segments=tuple({f.segment_id: self._segments[f.segment_id] for f in chosen}.values()),
            evictions=tuple(evictions),
        )

    def settle(self, settlement: Settlement, now: Moment) -> None:
        for number in settlement.delivered:
            self._move(number, FrameState.DELIVERED, now)
        for number, _ in settlement.set_aside:
            if self._move(number, FrameState.SET_ASIDE, now):
                self._counters["set_aside"] += self._frames[number].stored.count
        for number in settlement.evictions_reported:
            if number in self._evictions:
                self._evictions[number].reported = True
        self._notes.update(settlement.notes)

    def note(self, name: str) -> bytes:
        return self._notes.get(name, b"")

    def cursors(self) -> tuple[wire.LaneCursor, ...]:
        found = []
        for (epoch, lane), (following, chain) in self._heads.items():
            oldest = [h.stored.first_sequence for h in self._pending(lane) if h.stored.epoch == epoch]
            if epoch == self.epoch or any(h.stored.epoch == epoch for ln in LANES for h in self._pending(ln)):
                found.append(
                    wire.LaneCursor(
                        epoch=epoch,
                        lane=lane,
                        oldest_sequence=min(oldest, default=following),
                        next_sequence=following,
                        chain=chain,
                    )
                )
        return tuple(found)

    def fate(self, epoch: bytes, lane: Lane, sequence: int) -> FrameState | None:
        for held in self._frames.values():
            at = held.stored
            if at.epoch == epoch and at.lane is lane and 0 <= sequence - at.first_sequence < at.count:
                return held.state
        return None

    def usage(self) -> Usage:
        delivered = [h for h in self._frames.values() if h.state is FrameState.DELIVERED]
        return Usage(
            room_bytes=self._room,
            used_bytes=self._used(),
            lanes=tuple(self._lane_usage(lane) for lane in LANES),
            delivered_frames=len(delivered),
            delivered_bytes=sum(h.cost for h in delivered),
            set_aside_frames=sum(h.state is FrameState.SET_ASIDE for h in self._frames.values()),
            evicted_events=self._counters["evicted"],
            set_aside_events=self._counters["set_aside"],
            lost_events=self._counters["lost"],
            epochs=len(self._epochs),
        )

    def new_epoch(self, because: str, now: Moment) -> bytes:
        epoch = os.urandom(16)
        self._epochs.append((epoch, because))
        for lane in LANES:
            self._heads[epoch, lane] = (0, wire.CHAIN_START)
        self._keeper.forget()
        return epoch

    def send_again(self, held: Sequence[wire.HeldRange]) -> int:
        events = 0
        for item in self._frames.values():
            stored = item.stored
            covered = any(
                span.epoch == stored.epoch
                and span.lane is stored.lane
                and span.first_sequence <= stored.first_sequence
                and stored.first_sequence + stored.count <= span.end_sequence
                for span in held
            )
            if item.state is FrameState.DELIVERED and not covered:
                item.state = FrameState.PENDING
                events += stored.count
        for eviction in self._evictions.values():
            eviction.reported = False
        return events

    def count_lost(self, events: int) -> None:
        self._counters["lost"] += events

    def tidy(self, now: Moment) -> None:
        self._keeper.forget_old(now)
        limit = now.wall_ms - room.KEEP_DELIVERED_MS
        for number, item in list(self._frames.items()):
            if item.state is FrameState.DELIVERED and item.settled_ms < limit:
                del self._frames[number]

    def retarget(self, target: IngestTarget) -> None:
        self._keeper.retarget(target)

    def close(self) -> None:
        self._keeper.forget()

    # ---- inside ----

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def _used(self) -> int:
        return sum(item.cost for item in self._frames.values())

    def _pending(self, lane: Lane) -> list[_Held]:
        return [h for h in self._frames.values() if h.state is FrameState.PENDING and h.stored.lane is lane]

    def _in_order(self, wanted: Wanted) -> list[_Held]:
        lanes = [lane for lane in LANES if lane in wanted.lanes]
        return [h for lane in lanes for h in self._pending(lane) if h.stored.number not in wanted.skip]

    def _move(self, number: int, state: FrameState, now: Moment) -> bool:
        item = self._frames.get(number)
        if item is None or item.state is not FrameState.PENDING:
            return False
        item.state, item.settled_ms = state, now.wall_ms
        return True

    def _lane_usage(self, lane: Lane) -> LaneUsage:
        pending = self._pending(lane)
        return LaneUsage(
            lane=lane,
            pending_frames=len(pending),
            pending_events=sum(h.stored.count for h in pending),
            pending_bytes=sum(h.cost for h in pending),
            oldest_unix_ms=pending[0].written_ms if pending else None,
        )

    def _make_room(self, lane: Lane, needed: int, now: Moment) -> tuple[wire.EvictionRecord, ...]:
        must = self._used() + needed - self._room
        if must <= 0:
            return ()
        victims, freed = [], 0
        order = [h for h in self._frames.values() if h.state is FrameState.DELIVERED]
        order += [h for h in self._frames.values() if h.state is FrameState.SET_ASIDE]
        lanes = [ln for ln in reversed(LANES) if LANES.index(ln) >= LANES.index(lane)]
        order += [h for ln in lanes for h in self._pending(ln) if h.stored.number not in self._pinned]
        order += [h for ln in lanes for h in self._pending(ln) if h.stored.number in self._pinned]
        for item in order:
            if freed >= must:
                break
            victims.append(item)
            freed += item.cost
        if freed < must:
            raise SpoolUnwritable("full of more important events: raise spool.room_bytes")
        records = [self._evict(item, now) for item in victims]
        return tuple(record for record in records if record is not None)

    def _evict(self, item: _Held, now: Moment) -> wire.EvictionRecord | None:
        stored = item.stored
        del self._frames[stored.number]
        if item.state is not FrameState.PENDING:
            return None
        self._counters["evicted"] += stored.count
        record = wire.EvictionRecord(
            lane=stored.lane,
            first_sequence=stored.first_sequence,
            events=stored.count,
            frames=1,
            chain_before=stored.previous,
            chain_after=stored.chain,
            reason="no room",
            evicted_at_unix_ms=max(0, now.wall_ms),
        )
        for eviction in self._evictions.values():
            last = eviction.record
            follows = last.lane is record.lane and last.first_sequence + last.events == record.first_sequence
            if eviction.open and eviction.epoch == stored.epoch and follows:
                eviction.record = replace(
                    last, events=last.events + record.events, frames=last.frames + 1, chain_after=stored.chain
                )
                return record
        self._evictions[self._number()] = _Eviction(stored.epoch, record)
        return record
