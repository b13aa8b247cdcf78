"""One prepared batch against what is held: a disposition for every frame, and the rows that follow from it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, select, update

from schoolkeeper_collector.ingest.changes import Changes
from schoolkeeper_collector.ingest.lanes import LaneKey, LaneState, chain_before, chain_following, load_lanes
from schoolkeeper_collector.ingest.packing import is_mixed, pack_frames
from schoolkeeper_collector.ingest.prepare import OpenedFrame, PreparedBatch
from schoolkeeper_collector.store.tables import commands as commands_table
from schoolkeeper_collector.store.tables import conflicts, devices, evictions, frames, set_aside
from schoolkeeper_proto import model, wire
from schoolkeeper_proto.wire import Disposition, Lane

_MAX_EPOCHS = 8_192
_MAX_TEXT = 2_000

Admit = Callable[[Lane, int], str]
"""(lane, bytes) -> why not today; empty when admitted."""


class LaneCache:
    """Lanes by (device, epoch), the least recently used go first. Cleared after any failed transaction."""

    def __init__(self, school_id: str, size: int = _MAX_EPOCHS) -> None:
        self._school_id = school_id
        self._size = size
        self._epochs: OrderedDict[tuple[int, bytes], dict[Lane, LaneState]] = OrderedDict()

    def lanes(self, connection: Connection, device_no: int, epoch: bytes) -> dict[Lane, LaneState]:
        place = (device_no, epoch)
        found = self._epochs.get(place)
        if found is None:
            found = self._epochs[place] = load_lanes(connection, self._school_id, device_no, epoch)
            if len(self._epochs) > self._size:
                self._epochs.popitem(last=False)
        else:
            self._epochs.move_to_end(place)
        return found

    def clear(self) -> None:
        self._epochs.clear()


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
            where = _Where(connection, changes, key, lanes[frame.claim.lane], now_ms)
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
                self._tell(connection, changes, device_no, event, now_ms)
        for row in changes.set_aside:
            if row["leaf_index"] is None:
                row["leaf_index"] = leaf_index
        for record in batch.evictions:
            key = LaneKey(device_no, batch.epoch, record.lane)
            self._evict(_Where(connection, changes, key, lanes[record.lane], now_ms), record, leaf_index)
        packs = batch.packs if applied.all_new else pack_frames(batch.epoch, applied.stored)
        changes.packs += [(device_no, leaf_index, pack) for pack in packs]

    # ---- frames -----------------------------------------------------------------------------------------

    def _place_frame(
        self, where: _Where, frame: OpenedFrame, admit: Admit, applied: Applied
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
        self._check_chain(where, claim.first, claim.end, frame.previous, frame.chain)
        self._no_longer_evicted(where, claim.first, claim.end)
        state.held.add(claim.first, claim.end)
        state.remember_tail(claim.end, frame.chain)
        where.changes.touched[where.key] = state
        where.changes.frame_places[where.key, claim.first] = (claim.count, claim.root)
        applied.stored.append(frame)
        return Disposition.STORED, ""

    def _place_again(self, where: _Where, frame: OpenedFrame, applied: Applied) -> tuple[Disposition, str]:
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

    def _held_at(self, where: _Where, first: int) -> tuple[int, bytes] | None:
        staged = where.changes.frame_places.get((where.key, first))
        if staged is not None:
            return staged
        row = where.connection.execute(
            select(frames.c.count.label("events"), frames.c.root).where(
                *where.place(frames.c, self._school_id, first)
            )
        ).first()
        return None if row is None else (row.events, bytes(row.root))

    def _aside_at(self, where: _Where, first: int, root: bytes) -> str | None:
        for row in where.changes.set_aside:
            same = (row["device_no"], row["epoch"], row["lane"]) == where.key_values()
            if same and (row["first_sequence"], row["root"]) == (first, root):
                return str(row["reason"])
        found = where.connection.execute(
            select(set_aside.c.reason).where(
                *where.place(set_aside.c, self._school_id, first), set_aside.c.root == root
            )
        ).scalar()
        return None if found is None else str(found)

    def _set_aside(self, where: _Where, frame: OpenedFrame) -> tuple[Disposition, str]:
        claim, reason = frame.claim, clean(frame.refusal)
        self._no_longer_evicted(where, claim.first, claim.end)
        where.state.aside.add(claim.first, claim.end)
        where.changes.touched[where.key] = where.state
        where.changes.closed_because[where.key] = "set-aside"
        where.changes.count(where.key.device_no, aside=claim.count)
        where.changes.set_aside.append(
            where.row(self._school_id, claim.first)
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

    def _conflict(self, where: _Where, frame: OpenedFrame, held_root: bytes) -> None:
        claim = frame.claim
        place = ((where.key, claim.first), claim.root)
        known = (
            place in where.changes.conflicts
            or where.connection.execute(
                select(conflicts.c.conflict_no).where(
                    *where.place(conflicts.c, self._school_id, claim.first),
                    conflicts.c.claimed_root == claim.root,
                )
            ).first()
        )
        if known:
            return
        where.changes.conflicts[place] = where.row(self._school_id, claim.first) | {
            "count": claim.count,
            "held_root": held_root,
            "claimed_root": claim.root,
            "at_ms": where.now_ms,
        }
        where.fact("conflict", claim.first, claim.end)

    # ---- chain and evictions ------------------------------------------------------------------------------

    def _check_chain(self, where: _Where, first: int, end: int, before: bytes, after: bytes) -> None:
        """A break is a fact for the detection; what was sent is stored all the same."""
        state = where.state
        expected = state.tails.get(first)
        if expected is None and state.knows(first - 1):
            expected = chain_before(where.connection, self._school_id, where.key, first)
        if expected is not None and expected != before:
            where.fact("chain.broken", first, end, side="before")
        if state.knows(end):
            following = chain_following(where.connection, self._school_id, where.key, end)
            if following is not None and following != after:
                where.fact("chain.broken", first, end, side="after")

    def _evict(self, where: _Where, record: wire.EvictionRecord, leaf_index: int) -> None:
        """Takes the device's word for what it dropped, but only where nothing is known; repeated words count once."""
        state = where.state
        first, end = record.first_sequence, record.first_sequence + record.events
        parts = state.accounted().missing(first, end)
        if not parts:
            return
        if parts == [(first, end)]:
            self._check_chain(where, first, end, record.chain_before, record.chain_after)
        for part_first, part_end in parts:
            whole = (part_first, part_end) == (first, end)
            where.changes.evictions.append(
                where.row(self._school_id, part_first)
                | {
                    "events": part_end - part_first,
                    "frames": record.frames if whole else 0,
                    "reason": clean(record.reason),
                    "evicted_ms": min(record.evicted_at_unix_ms, (1 << 62) - 1),
                    "chain_before": record.chain_before if part_first == first else b"",
                    "chain_after": record.chain_after if part_end == end else b"",
                    "leaf_index": leaf_index,
                }
            )
            state.evicted.add(part_first, part_end)
        state.remember_tail(end, record.chain_after)
        events = sum(part_end - part_first for part_first, part_end in parts)
        where.changes.count(where.key.device_no, evicted=events)
        where.changes.touched[where.key] = state
        where.changes.closed_because.setdefault(where.key, "evicted")
        where.fact("device.evicted", first, end, reason=clean(record.reason, 200), counted=events)

    def _no_longer_evicted(self, where: _Where, first: int, end: int) -> None:
        """The device said it dropped this and sends it after all: it is stored, and no longer counted as dropped."""
        if not where.state.evicted.overlaps(first, end):
            return
        where.changes.evictions = _insert_now(where.connection, where.changes.evictions)
        before = where.state.evicted.total
        table = evictions.c
        lane = where.lane(table, self._school_id)
        overlapping = (*lane, table.first_sequence < end, table.first_sequence + table.events > first)
        for row in where.connection.execute(select(evictions).where(*overlapping)).all():
            row_end = row.first_sequence + row.events
            where.connection.execute(
                evictions.delete().where(*lane, table.first_sequence == row.first_sequence)
            )
            values = dict(row._asdict())
            for part_first, part_end in (
                (row.first_sequence, min(first, row_end)),
                (max(end, row.first_sequence), row_end),
            ):
                if part_first < part_end:
                    where.connection.execute(
                        insert(evictions).values(
                            values
                            | {"first_sequence": part_first, "events": part_end - part_first, "frames": 0}
                            | {"chain_before": row.chain_before if part_first == row.first_sequence else b""}
                            | {"chain_after": row.chain_after if part_end == row_end else b""}
                        )
                    )
        where.state.evicted.remove(first, end)
        where.changes.count(where.key.device_no, evicted=where.state.evicted.total - before)

    # ---- what some events tell ------------------------------------------------------------------------------

    def _tell(
        self, connection: Connection, changes: Changes, device_no: int, event: model.Event, now_ms: int
    ) -> None:
        """The few kinds whose latest value the technician's page shows."""
        match event.body:
            case model.Posture() as posture:
                changes.posture.append(
                    {
                        "school_id": self._school_id,
                        "device_no": device_no,
                        "check_name": clean(posture.check, 64),
                        "result": posture.result.value,
                        "since_ms": bounded(posture.since_unix_ms),
                        "evaluated_ms": bounded(posture.evaluated_at_unix_ms or event.wall_unix_ms),
                        "evidence": clean(posture.evidence),
                        "unknown_because": clean(posture.unknown_because),
                    }
                )
            case model.Heartbeat() as beat:
                values = {"spool_oldest_seconds": bounded(beat.spool_oldest_seconds)}
                connection.execute(update(devices).where(devices.c.device_no == device_no).values(**values))
            case model.PolicyApplied() as policy:
                connection.execute(
                    update(devices)
                    .where(devices.c.device_no == device_no, devices.c.bundle_hash != policy.bundle_hash)
                    .values(
                        bundle_hash=policy.bundle_hash,
                        bundle_version=bounded(policy.bundle_version),
                        bundle_since_ms=now_ms,
                    )
                )
            case model.CommandResult() as result:
                answer_command(connection, self._school_id, device_no, result, now_ms)
            case _:
                pass


def answer_command(
    connection: Connection,
    school_id: str,
    device_no: int,
    result: model.CommandResult | wire.CommandAcknowledged,
    now_ms: int,
) -> None:
    """Notes a command's outcome, if the command was this device's."""
    own = select(devices.c.device_id).where(devices.c.device_no == device_no).scalar_subquery()
    connection.execute(
        update(commands_table)
        .where(
            commands_table.c.school_id == school_id,
            commands_table.c.command_id == result.command_id,
            commands_table.c.device_id == own,
        )
        .values(
            answered_ms=now_ms,
            succeeded=result.succeeded,
            detail=clean(result.detail),
        )
    )


@dataclass(frozen=True, slots=True)
class _Where:
    """One lane within one transaction."""

    connection: Connection
    changes: Changes
    key: LaneKey
    state: LaneState
    now_ms: int

    def key_values(self) -> tuple[int, bytes, str]:
        return self.key.device_no, self.key.epoch, self.key.lane.value

    def row(self, school_id: str, first: int) -> dict[str, object]:
        return {
            "school_id": school_id,
            "device_no": self.key.device_no,
            "epoch": self.key.epoch,
            "lane": self.key.lane.value,
            "first_sequence": first,
        }

    def lane(self, columns, school_id: str):  # type: ignore[no-untyped-def]
        return (
            columns.school_id == school_id,
            columns.device_no == self.key.device_no,
            columns.epoch == self.key.epoch,
            columns.lane == self.key.lane.value,
        )

    def place(self, columns, school_id: str, first: int):  # type: ignore[no-untyped-def]
        return (*self.lane(columns, school_id), columns.first_sequence == first)

    def fact(self, kind: str, first: int, end: int, **more: object) -> None:
        self.changes.fact(
            kind,
            self.key.device_no,
            self.now_ms,
            lane=self.key.lane.value,
            epoch=self.key.epoch.hex(),
            first_sequence=first,
            end_sequence=end,
            **more,
        )


def _insert_now(connection: Connection, rows: list[dict[str, object]]) -> list[dict[str, object]]:
    if rows:
        connection.execute(insert(evictions), rows)
    return []


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


def clean(words: str, limit: int = _MAX_TEXT) -> str:
    """A device's words as a database takes them: bounded, and without the NUL that PostgreSQL refuses."""
    return words[:limit].replace("\0", "")


def bounded(number: int) -> int:
    """A device's number as a signed 64-bit column takes it."""
    return min(max(number, 0), (1 << 62) - 1)
