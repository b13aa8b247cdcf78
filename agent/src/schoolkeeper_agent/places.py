"""Where an event lies in the spool, and so what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from schoolkeeper_agent.spool.contract import Spool
from schoolkeeper_proto.wire import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Of an event that is durable in the spool."""

    epoch: bytes
    lane: Lane
    sequence: int


def last_place(spool: Spool, lane: Lane) -> Place:
    """Of the lane's newest event. Jobs run after what was handed over before them is written."""
    (at,) = (one for one in spool.cursors() if one.epoch == spool.epoch and one.lane is lane)
    return Place(epoch=at.epoch, lane=lane, sequence=at.next_sequence - 1)
