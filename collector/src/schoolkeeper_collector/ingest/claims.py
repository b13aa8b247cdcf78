"""What a signed statement claims, frame by frame, with every bound checked. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from schoolkeeper_proto import wire
from schoolkeeper_proto.sealing import MAX_FRAME_EVENTS
from schoolkeeper_proto.wire import Lane

_MAX_SEQUENCE = 1 << 62
_MAX_EVICTIONS = 4_096


class BatchFault(Exception):
    """The batch as a whole cannot be taken; nothing of it was stored."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One frame as its statement names it."""

    lane: Lane
    first: int
    count: int
    root: bytes

    @property
    def end(self) -> int:
        return self.first + self.count


def claims_of(statement: wire.BatchStatement, frames: int, max_frames: int) -> list[Claim]:
    """The claims in the order of the batch's frames; raises ``BatchFault`` where they cannot be meant."""
    if frames > max_frames:
        raise BatchFault(f"the batch holds {frames} frames, at most {max_frames} are taken at once")
    if frames == 0 and not statement.evictions:
        raise BatchFault("the batch holds neither a frame nor an eviction record")
    if sum(len(run.counts) for run in statement.runs) != frames:
        raise BatchFault(f"the statement does not name as many frames as the batch holds ({frames})")
    found: list[Claim] = []
    reached: dict[Lane, int] = {}
    for run in statement.runs:
        if run.lane not in wire.LANES or len(run.roots) != len(run.counts):
            raise BatchFault("a run of the statement names no lane, or not one root per frame")
        first = run.first_sequence
        if first < reached.get(run.lane, 0):
            raise BatchFault(f"the statement's runs of the {run.lane} lane overlap or are out of order")
        for count, root in zip(run.counts, run.roots, strict=True):
            if not 0 < count <= MAX_FRAME_EVENTS or len(root) != 32 or first + count > _MAX_SEQUENCE:
                raise BatchFault(
                    f"the statement claims a frame of {count} events at {first}, which cannot be"
                )
            found.append(Claim(run.lane, first, count, root))
            first += count
        reached[run.lane] = first
    return found


def evictions_of(statement: wire.BatchStatement) -> list[wire.EvictionRecord]:
    """The eviction records; raises ``BatchFault`` where they cannot be meant."""
    if len(statement.evictions) > _MAX_EVICTIONS:
        raise BatchFault(f"the statement holds {len(statement.evictions)} eviction records")
    for record in statement.evictions:
        if record.lane not in wire.LANES or record.events < 1:
            raise BatchFault("an eviction record names no lane or no events")
        if record.first_sequence + record.events > _MAX_SEQUENCE:
            raise BatchFault("an eviction record's range cannot be")
        if len(record.chain_before) != 32 or len(record.chain_after) != 32:
            raise BatchFault("an eviction record's chain values must have 32 bytes")
    return list(statement.evictions)
