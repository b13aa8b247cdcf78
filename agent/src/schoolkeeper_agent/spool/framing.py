"""Cuts a run of events into frames that fit, whatever their number and size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schoolkeeper_agent.spool import room
from schoolkeeper_agent.spool.contract import SpoolRefused
from schoolkeeper_proto.sealing import MAX_EVENT_BYTES
from schoolkeeper_proto.wire import LANES, Lane


def check_events(lane: Lane, events: Sequence[bytes]) -> None:
    """Raises ``SpoolRefused`` for what no frame can hold."""
    if lane not in LANES:
        raise SpoolRefused(f"{lane.value!r} is not a lane")
    if not events:
        raise SpoolRefused("there are no events to keep")
    for position, event in enumerate(events):
        if not 0 < len(event) <= MAX_EVENT_BYTES:
            raise SpoolRefused(
                f"event {position} has {len(event)} bytes, 1 to {MAX_EVENT_BYTES} are allowed: shorten its fields"
            )


def cut_into_frames(events: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Runs in order, each within ``MAX_FRAME_EVENTS`` and ``MAX_FRAME_PAYLOAD``."""
    part: list[bytes] = []
    size = 0
    for event in events:
        if part and (len(part) == room.MAX_FRAME_EVENTS or size + len(event) > room.MAX_FRAME_PAYLOAD):
            yield part
            part, size = [], 0
        part.append(event)
        size += len(event)
    if part:
        yield part
