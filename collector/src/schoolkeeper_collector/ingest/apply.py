"""One prepared batch against what is held: a disposition for every frame, and the rows that follow from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from schoolkeeper_collector.ingest.changes import Changes
from schoolkeeper_collector.ingest.device_words import clean
from schoolkeeper_collector.ingest.evicting import evict, no_longer_evicted
from schoolkeeper_collector.ingest.lanes import LaneCache, LaneKey
from schoolkeeper_collector.ingest.packing import is_mixed, pack_frames
from schoolkeeper_collector.ingest.prepare import OpenedFrame, PreparedBatch
from schoolkeeper_collector.ingest.telling import tell
from schoolkeeper_collector.ingest.where import Where
from schoolkeeper_collector.store.tables import conflicts, frames, set_aside
from schoolkeeper_proto import wire
from schoolkeeper_proto.wire import Disposition, Lane

Admit = Callable[[Lane, int], str]
"""(lane, bytes) -> why not today; empty when admitted."""


@dataclass(slots=True)
class Applied:
    """What became of a batch. ``leaf_index`` is set by the writer once the statement has its place, else -1;
    ``missing_keys`` counts events by the ingest key for want of which they are asked for again.
    """

    ranges: list[wire.RangeDisposition] = field(default_factory=list)
    stored: list[OpenedFrame] = field(default_factory=list)
    all_new: bool = True
    conflict: bool = False
    over_budget: set[Lane] = field(default_factory=set)
    missing_keys: dict[str, int] = field(default_factory=dict)
    leaf_index: int = -1

    @property
    def settles_nothing(self) -> bool:
        """Every frame is asked for again: then there is nothing to prove yet."""
        return all(item.disposition is Disposition.RETRY for item in self.ranges)


class Applier:
    """Places batches within one transaction. Never raises for what a device sent."""

    def __init__(self, school_id: str, lanes: LaneCache) -> None:
        self._school_id = school_id
        self._lanes = lanes

    def place(
        self,
        connection: Connection,
        changes: Changes,
        batch: PreparedBatch,
        device_no: int,
        admit: Admit,
        now_ms: int,
    ) -> Applied:
        """Decides on every frame and eviction record; the rows wait in ``changes`` for ``record``."""
        applied = Applied()
        lanes = self._lanes.lanes(connection, device_no, batch.epoch)
        for frame in batch.frames:
            key = LaneKey(device_no, batch.epoch, frame.claim.lane)
            where = Where(self._school_id, connection, changes, key, lanes[frame.claim.lane], now_ms)
            disposition, reason = self._place_frame(where, frame, admit, applied)
            if disposition is not Disposition.STORED:
                applied.all_new = False
            _add_range(applied.ranges, batch.epoch, frame, disposition, reason)
        return applied

    def record(
        self,
        connection: Connection,
        changes: Changes,
        batch: PreparedBatch,
        applied: Applied,
        device_no: int,
        leaf_index: int,
        now_ms: int,
    ) -> None:
        """Stages rows of what was stored, now that the statement has its leaf."""
        school = self._school_id
        lanes = self._lanes.lanes(connection, device_no, batch.epoch)
        for frame in applied.stored:
            claim = frame.claim
            leaves = b"".join(frame.leaves) if is_mixed(frame) else None
            changes.frames.append(
                (
                    school,
                    device_no,
                    batch.epoch,
                    claim.lane.value,
                    claim.first,
                    claim.count,
                    claim.root,
                    frame.previous,
                    frame.chain,
                    leaf_index,
                    leaves,
                )
            )
            for event in frame.told:
                tell(connection, changes, device_no, event, now_ms)
        for row in changes.set_aside:
            if row["leaf_index"] is None:
                row["leaf_index"] = leaf_index
        for record in batch.evictions:
            key = LaneKey(device_no, batch.epoch, record.lane)
            evict(
                Where(self._school_id, connection, changes, key, lanes[record.lane], now_ms),
                record,
                leaf_index,
            )
        packs = batch.packs if applied.all_new else pack_frames(batch.epoch, applied.stored)
        changes.packs += [(device_no, leaf_index, pack) for pack in packs]

    # ---- frames -----------------------------------------------------------------------------------------

    def _place_frame(
        self, where: Where, frame: OpenedFrame, admit: Admit, applied: Applied
    ) -> tuple[Disposition, str]:
        claim, state = frame.claim, where.state
        if state.held.overlaps(claim.first, claim.end) or state.aside.overlaps(claim.first, claim.end):
            return self._place_again(where, frame, applied)
        if frame.missing_key:
            missing = applied.missing_keys
            missing[frame.missing_key] = missing.get(frame.missing_key, 0) + claim.count
        if frame.again:
            return Disposition.RETRY, frame.again
        if frame.refusal:
            return self._set_aside(where, frame)
        refusal = admit(claim.lane, sum(map(len, frame.events)))
        if refusal:
            applied.over_budget.add(claim.lane)
            return Disposition.RETRY, refusal
        where.check_chain(claim.first, claim.end, frame.previous, frame.chain)
        no_longer_evicted(where, claim.first, claim.end)
        state.held.add(claim.first, claim.end)
        state.remember_tail(claim.end, frame.chain)
        where.changes.touched[where.key] = state
        where.changes.frame_places[where.key, claim.first] = (claim.count, claim.root)
        applied.stored.append(frame)
        return Disposition.STORED, ""

    def _place_again(self, where: Where, frame: OpenedFrame, applied: Applied) -> tuple[Disposition, str]:
        """The place is taken: by the same frame (a repetition), or by another (a conflict)."""
        claim = frame.claim
        held = self._held_at(where, claim.first)
        if held == (claim.count, claim.root):
            return Disposition.DUPLICATE, ""
        aside = self._aside_at(where, claim.first, claim.root)
        if aside is not None:
            return Disposition.REFUSED, aside
        applied.conflict = True
        held_root = held[1] if held else b""
        self._conflict(where, frame, held_root)
        return Disposition.CONFLICT, "this place holds another commitment: open a new epoch"

    def _held_at(self, where: Where, first: int) -> tuple[int, bytes] | None:
        staged = where.changes.frame_places.get((where.key, first))
        if staged is not None:
            return staged
        row = where.connection.execute(
            select(frames.c.count.label("events"), frames.c.root).where(*where.place(frames.c, first))
        ).first()
        return None if row is None else (row.events, bytes(row.root))

    def _aside_at(self, where: Where, first: int, root: bytes) -> str | None:
        for row in where.changes.set_aside:
            same = (row["device_no"], row["epoch"], row["lane"]) == where.key_values()
            if same and (row["first_sequence"], row["root"]) == (first, root):
                return str(row["reason"])
        found = where.connection.execute(
            select(set_aside.c.reason).where(*where.place(set_aside.c, first), set_aside.c.root == root)
        ).scalar()
        return None if found is None else str(found)

    def _set_aside(self, where: Where, frame: OpenedFrame) -> tuple[Disposition, str]:
        claim, reason = frame.claim, clean(frame.refusal)
        no_longer_evicted(where, claim.first, claim.end)
        where.state.aside.add(claim.first, claim.end)
        where.changes.touched[where.key] = where.state
        where.changes.closed_because[where.key] = "set-aside"
        where.changes.count(where.key.device_no, aside=claim.count)
        where.changes.set_aside.append(
            where.row(claim.first)
            | {
                "events": claim.count,
                "root": claim.root,
                "reason": reason,
                "at_ms": where.now_ms,
                "leaf_index": None,
            }
        )
        where.fact("frame.refused", claim.first, claim.end, reason=reason)
        return Disposition.REFUSED, reason

    def _conflict(self, where: Where, frame: OpenedFrame, held_root: bytes) -> None:
        claim = frame.claim
        place = ((where.key, claim.first), claim.root)
        known = (
            place in where.changes.conflicts
            or where.connection.execute(
                select(conflicts.c.conflict_no).where(
                    *where.place(conflicts.c, claim.first),
                    conflicts.c.claimed_root == claim.root,
                )
            ).first()
        )
        if known:
            return
        where.changes.conflicts[place] = where.row(claim.first) | {
            "count": claim.count,
            "held_root": held_root,
            "claimed_root": claim.root,
            "at_ms": where.now_ms,
        }
        where.fact("conflict", claim.first, claim.end)


def _add_range(
    ranges: list[wire.RangeDisposition],
    epoch: bytes,
    frame: OpenedFrame,
    disposition: Disposition,
    reason: str,
) -> None:
    """Neighbours with the same fate are told as one range."""
    claim = frame.claim
    if ranges:
        last = ranges[-1]
        joins = last.lane is claim.lane and last.first_sequence + last.count == claim.first
        if joins and (last.disposition, last.reason) == (disposition, reason):
            ranges[-1] = wire.RangeDisposition(
                epoch=epoch,
                lane=claim.lane,
                first_sequence=last.first_sequence,
                count=last.count + claim.count,
                disposition=disposition,
                reason=reason,
            )
            return
    ranges.append(
        wire.RangeDisposition(
            epoch=epoch,
            lane=claim.lane,
            first_sequence=claim.first,
            count=claim.count,
            disposition=disposition,
            reason=reason,
        )
    )
