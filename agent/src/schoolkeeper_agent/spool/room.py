"""How much room the spool takes, and what the numbers come from.

The model school week gives a device in use about 108 events a day, and one that goes home 25 more on 2.8 evenings
a week: 125 events a day at most, so 7,500 in 60 days. At that rate a frame holds one event: about 500 bytes sealed,
and 200 more are reckoned for the row, its indexes and its share of a segment: 5.3 MB. What was delivered stays
14 days while there is room: 1.2 MB more. ``DEFAULT_ROOM`` is ten times that, for days that are no model days.
"""

from __future__ import annotations

MODEL_EVENTS_A_DAY = 125
OFFLINE_DAYS = 60
MODEL_FRAME_BYTES = 500
FRAME_OVERHEAD = 200
"""Bytes reckoned per frame on top of header and ciphertext."""

MODEL_ROOM = MODEL_EVENTS_A_DAY * OFFLINE_DAYS * (MODEL_FRAME_BYTES + FRAME_OVERHEAD)
DEFAULT_ROOM = 64 << 20
LEAST_ROOM = 64 << 10
BALLAST = 4 << 20
"""Of the room, kept back on the disk for critical events when somebody else fills it (``ballast.py``)."""
LEAST_ROOM_WITH_BALLAST = 32 << 20

KEEP_DELIVERED_MS = 14 * 86_400_000
EVICT_DOWN_TO = 0.98
"""Eviction frees a little more than one frame's room, so that not every append writes an eviction record."""

MAX_FRAME_PAYLOAD = 256 << 10
"""Bytes of events per frame: a small device can always send one frame by itself."""
MAX_FRAME_EVENTS = 1_024


def cost(header: bytes, ciphertext: bytes) -> int:
    """Bytes of room that one frame takes."""
    return len(header) + len(ciphertext) + FRAME_OVERHEAD
