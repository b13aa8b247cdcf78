"""Cuts a batch: a signed statement over any run of frames of one epoch. Pure but for the signer."""

from __future__ import annotations

from dataclasses import dataclass

from schoolkeeper_agent.spool.contract import Reading, StoredFrame
from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.codec import encode


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """Whose certificate signs. ``certificate_hash`` is SHA-256 of its DER."""

    school_id: str
    device_id: bytes
    certificate_hash: bytes
    signer: statements.Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class CutBatch:
    """What was sent, kept until it is acknowledged."""

    batch: wire.Batch
    signature: wire.Signature
    epoch: bytes
    frames: tuple[StoredFrame, ...]
    eviction_numbers: tuple[int, ...]
    size: int


def cut(reading: Reading, identity: DeviceIdentity, number: int, now_ms: int) -> CutBatch:
    """The batch of a reading, which is of one epoch. ``now_ms`` is the wall clock, in Unix milliseconds."""
    statement = encode(
        wire.BatchStatement(
            school_id=identity.school_id,
            device_id=identity.device_id,
            epoch=reading.epoch,
            certificate_hash=identity.certificate_hash,
            runs=runs_of(reading.frames),
            evictions=tuple(item.record for item in reading.evictions),
            cut_at_unix_ms=max(0, now_ms),
        )
    )
    signature = statements.sign(statements.BATCH, statement, identity.signer)
    return CutBatch(
        batch=wire.Batch(
            statement=statement,
            signature=signature.signature,
            segments=reading.segments,
            frames=tuple(frame.frame for frame in reading.frames),
            number=number,
        ),
        signature=signature,
        epoch=reading.epoch,
        frames=reading.frames,
        eviction_numbers=tuple(item.number for item in reading.evictions),
        size=len(statement) + sum(frame.size for frame in reading.frames),
    )


def runs_of(frames: tuple[StoredFrame, ...]) -> tuple[wire.LaneRun, ...]:
    """Frames by lane and sequence, gathered into runs without a gap."""
    groups: list[list[StoredFrame]] = []
    for frame in frames:
        last = groups[-1][-1] if groups else None
        if (
            last is not None
            and last.lane is frame.lane
            and last.first_sequence + last.count == frame.first_sequence
            and last.chain == frame.previous
        ):
            groups[-1].append(frame)
        else:
            groups.append([frame])
    return tuple(
        wire.LaneRun(
            lane=group[0].lane,
            first_sequence=group[0].first_sequence,
            counts=tuple(frame.count for frame in group),
            roots=tuple(frame.root for frame in group),
            chain_before=group[0].previous,
            chain_after=group[-1].chain,
        )
        for group in groups
    )
