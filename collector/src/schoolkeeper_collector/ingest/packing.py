"""Opened frames to blobs by retention class and narrow rows, column by column: the hot path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schoolkeeper_collector.store import blobs
from schoolkeeper_collector.store.retention import Retention, retention_of

if TYPE_CHECKING:
    from schoolkeeper_collector.ingest.prepare import OpenedFrame

Narrow = tuple[int, int, int, int]
"""(position in the blob, kind, event time in ms, severity)"""


@dataclass(frozen=True, slots=True)
class Pack:
    """One class's records of a batch: the blob's packed bytes and its narrow rows."""

    retention: Retention
    packed: bytes
    rows: list[Narrow]


def pack_frames(epoch: bytes, frames: list[OpenedFrame]) -> list[Pack]:
    by_class: dict[Retention, _Columns] = {}
    for frame in frames:
        classes = [retention_of(kind) for kind in frame.kinds]
        if len(set(classes)) == 1:
            _columns(by_class, classes[0]).take_all(frame)
        else:
            for position, retention in enumerate(classes):
                _columns(by_class, retention).take_one(frame, position)
    return [columns.pack(retention, epoch) for retention, columns in by_class.items()]


def is_mixed(frame: OpenedFrame) -> bool:
    """Whether the frame's events lie in several blobs: then the frame's row keeps their commitments."""
    return len({retention_of(kind) for kind in frame.kinds}) > 1


class _Columns:
    __slots__ = ("events", "kinds", "lanes", "salts", "sequences", "severities", "times")

    def __init__(self) -> None:
        self.lanes = bytearray()
        self.sequences: list[int] = []
        self.salts: list[bytes] = []
        self.events: list[bytes] = []
        self.kinds: list[int] = []
        self.times: list[int] = []
        self.severities: list[int] = []

    def take_all(self, frame: OpenedFrame) -> None:
        claim = frame.claim
        self.lanes += bytes((blobs.lane_number(claim.lane),)) * claim.count
        self.sequences.extend(range(claim.first, claim.end))
        self.salts += frame.salts
        self.events += frame.events
        self.kinds += frame.kinds
        self.times += frame.times
        self.severities += frame.severities

    def take_one(self, frame: OpenedFrame, position: int) -> None:
        self.lanes.append(blobs.lane_number(frame.claim.lane))
        self.sequences.append(frame.claim.first + position)
        self.salts.append(frame.salts[position])
        self.events.append(frame.events[position])
        self.kinds.append(frame.kinds[position])
        self.times.append(frame.times[position])
        self.severities.append(frame.severities[position])

    def pack(self, retention: Retention, epoch: bytes) -> Pack:
        rows = list(zip(range(len(self.kinds)), self.kinds, self.times, self.severities, strict=True))
        packed = blobs.pack(epoch, bytes(self.lanes), self.sequences, self.salts, self.events)
        return Pack(retention, packed, rows)


def _columns(by_class: dict[Retention, _Columns], retention: Retention) -> _Columns:
    found = by_class.get(retention)
    if found is None:
        found = by_class[retention] = _Columns()
    return found
