"""How fast: back-off with full jitter, batch sizes that shrink when something is too much, and what was asked for.

Times are monotonic milliseconds. ``chance`` is any source of uniform numbers in [0, 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from schoolkeeper_proto import wire
from schoolkeeper_proto.wire import LANES, Lane

FIRST_BACKOFF_MS = 1_000
LONGEST_BACKOFF_MS = 5 * 60_000
LEAST_BATCH_BYTES = 4_096


def jittered(attempt: int, chance: Callable[[], float], *, cap_ms: int = LONGEST_BACKOFF_MS) -> int:
    """Full jitter: anything from nothing to the doubled step, so that a school's laptops do not return as one."""
    return int(chance() * min(cap_ms, FIRST_BACKOFF_MS * 2 ** min(attempt, 20)))


@dataclass(slots=True)
class BatchLimits:
    """Halves on a time-out, a size that was not taken or a refusal of many; doubles back on success."""

    most_bytes: int = 1 << 20
    most_frames: int = 512
    bytes: int = 1 << 20
    frames: int = 512

    def offered(self, max_bytes: int, max_frames: int) -> None:
        """The collector's own limits, in its welcome."""
        self.most_bytes = max(LEAST_BATCH_BYTES, max_bytes)
        self.most_frames = max(1, max_frames)
        self.bytes = min(self.bytes, self.most_bytes)
        self.frames = min(self.frames, self.most_frames)

    def halve(self, sent_bytes: int, sent_frames: int) -> None:
        self.bytes = max(LEAST_BATCH_BYTES, min(self.bytes, sent_bytes) // 2)
        self.frames = max(1, min(self.frames, sent_frames) // 2)

    def grow(self) -> None:
        self.bytes = min(self.most_bytes, self.bytes * 2)
        self.frames = min(self.most_frames, self.frames * 2)

    @property
    def reduced(self) -> bool:
        return self.frames < self.most_frames and self.frames < 16


@dataclass(slots=True)
class Restraint:
    """What the collector asked for: per lane, nothing before a time, save for some bytes of credit."""

    until_ms: dict[Lane, int] = field(default_factory=dict)
    credit: dict[Lane, int] = field(default_factory=dict)

    def pushed_back(self, pushback: wire.Pushback, now_ms: int) -> None:
        wait = min(pushback.retry_after_ms, 24 * 3_600_000)
        for lane in pushback.lanes or LANES:
            self.until_ms[lane] = now_ms + wait
            self.credit[lane] = pushback.credit_bytes

    def lanes(self, now_ms: int) -> tuple[Lane, ...]:
        """Lanes that may be sent now."""
        return tuple(
            lane for lane in LANES if now_ms >= self.until_ms.get(lane, 0) or self.credit.get(lane, 0) > 0
        )

    def allowed_bytes(self, lanes: tuple[Lane, ...], now_ms: int, most: int) -> int:
        held_back = [self.credit.get(lane, 0) for lane in lanes if now_ms < self.until_ms.get(lane, 0)]
        return min([most, *held_back])

    def sent(self, lane: Lane, size: int) -> None:
        if lane in self.credit:
            self.credit[lane] = max(0, self.credit[lane] - size)

    def next_ms(self, now_ms: int) -> int | None:
        """When the next lane opens again."""
        return min((at for at in self.until_ms.values() if at > now_ms), default=None)
