"""From an acknowledgement to what becomes of each frame; and the guard against a collector that refuses everything."""

from __future__ import annotations

from dataclasses import dataclass, field

from schoolkeeper_agent.spool.contract import StoredFrame
from schoolkeeper_agent.uplink.cutting import CutBatch
from schoolkeeper_proto import wire
from schoolkeeper_proto.wire import Disposition

STORM = 16
"""So many frames refused one after another, and it is not the frames."""
_REST_FIRST_MS, _REST_LONGEST_MS = 60_000, 3_600_000
_TRY_AGAIN_MS = 6 * 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedOut:
    """``held``: stored or held before; each needs the proof. ``again``: to be sent later."""

    held: tuple[StoredFrame, ...] = ()
    refused: tuple[tuple[StoredFrame, str], ...] = ()
    conflicts: tuple[tuple[StoredFrame, str], ...] = ()
    again: tuple[StoredFrame, ...] = ()
    evictions: bool = False

    @property
    def needs_proof(self) -> bool:
        return bool(self.held) or self.evictions


def sort_out(sent: CutBatch, ack: wire.Ack) -> SortedOut:
    """Each frame by the range that covers the whole of it; what no range names is sent again."""
    held, refused, conflicts, again = [], [], [], []
    for frame in sent.frames:
        disposition, reason = _disposition(frame, ack.ranges)
        if disposition in (Disposition.STORED, Disposition.DUPLICATE):
            held.append(frame)
        elif disposition is Disposition.REFUSED:
            refused.append((frame, reason or "refused by the collector"))
        elif disposition is Disposition.CONFLICT:
            conflicts.append((frame, reason or "this place holds another commitment"))
        else:
            again.append(frame)
    return SortedOut(
        held=tuple(held),
        refused=tuple(refused),
        conflicts=tuple(conflicts),
        again=tuple(again),
        evictions=bool(sent.eviction_numbers),
    )


def _disposition(frame: StoredFrame, ranges: tuple[wire.RangeDisposition, ...]) -> tuple[Disposition, str]:
    for span in ranges:
        if (
            span.epoch == frame.epoch
            and span.lane is frame.lane
            and span.first_sequence <= frame.first_sequence
            and frame.first_sequence + frame.count <= span.first_sequence + span.count
        ):
            return span.disposition, span.reason
    return Disposition.RETRY, ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """``bisect``: send the same frames in smaller batches, to find the one that is meant."""

    aside: tuple[tuple[StoredFrame, str], ...] = ()
    later: tuple[StoredFrame, ...] = ()
    wait_ms: int = 0
    bisect: bool = False


@dataclass(slots=True)
class RefusalGuard:
    """A poison frame is found and set aside; a collector that refuses all of them sets none aside any more.

    While it storms, one frame at a time is tried after ever longer rests, each time another one.
    """

    in_a_row: int = 0
    _rest_until: int = field(default=0)
    _rests: int = field(default=0)

    @property
    def storming(self) -> bool:
        return self.in_a_row >= STORM

    def resting(self, now_ms: int) -> bool:
        return self.storming and now_ms < self._rest_until

    def judge(self, sent: CutBatch, found: SortedOut, now_ms: int) -> Judged:
        if found.held:
            self.in_a_row = self._rests = 0
        if not found.refused:
            return Judged()
        if len(sent.frames) > 1 and len(found.refused) == len(sent.frames):
            return Judged(bisect=True)
        if self.storming:
            rest = min(_REST_LONGEST_MS, _REST_FIRST_MS * 2 ** min(self._rests, 10))
            self._rests += 1
            self._rest_until = now_ms + rest
            return Judged(later=tuple(frame for frame, _ in found.refused), wait_ms=_TRY_AGAIN_MS)
        self.in_a_row += len(found.refused)
        return Judged(aside=found.refused)
