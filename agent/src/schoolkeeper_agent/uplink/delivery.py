"""Batches: which frames go next, what is under way, and what becomes of each when it is answered.

A frame is delivered only when the collector's ledger proves that it holds our signed statement. What was stored
without a proof is sent again later; what is refused for good is set aside and said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool.contract import Reading, Settlement, Wanted
from schoolkeeper_agent.spool.intervals import Intervals
from schoolkeeper_agent.uplink import pacing, settling
from schoolkeeper_agent.uplink.cutting import CutBatch, cut
from schoolkeeper_agent.uplink.messages import Effect, ReadFrames, Report, Send, Settle
from schoolkeeper_agent.uplink.proofs import Proofs
from schoolkeeper_agent.uplink.standing import Standing
from schoolkeeper_proto import model, wire

ACK_TIMEOUT_MS = 60_000
_RETRY_FIRST_MS, _RETRY_LONGEST_MS = 5_000, 15 * 60_000
_UNPROVEN_AGAIN_MS = 3_600_000
_LOOK_AGAIN_MS = 30_000


@dataclass(slots=True)
class _InFlight:
    cut: CutBatch
    sent_ms: int


class Delivery:
    """While a heartbeat is due or out no new batch is read: see ``Standing``."""

    def __init__(self, standing: Standing, chance: Callable[[], float]) -> None:
        self._standing = standing
        self._chance = chance
        self.proofs = Proofs(standing, self._send_unproven)
        self._limits = pacing.BatchLimits()
        self._restraint = pacing.Restraint()
        self._refusals = settling.RefusalGuard()
        self._in_flight: dict[int, _InFlight] = {}
        self._unproven = Intervals()
        self._unproven_until = 0
        self._deferred: list[tuple[int, Intervals]] = []
        self._retries = 0
        self._number = 0
        self._window = 4
        self._reading = False
        self._more = True
        self._written = False
        self._looked_ms = 0

    # ---- what it is told ------------------------------------------------------------------------------

    def offered(self, welcome: wire.Welcome) -> None:
        """The collector's limits."""
        self._limits.offered(welcome.max_batch_bytes, welcome.max_frames)
        self._window = max(1, welcome.window_batches)

    def pushed_back(self, pushback: wire.Pushback, now: Moment) -> None:
        self._restraint.pushed_back(pushback, now.monotonic_ms)

    def wait_asked(self, now: Moment) -> int:
        """Milliseconds until the collector takes anything at all again."""
        at = self._restraint.next_ms(now.monotonic_ms)
        return 0 if at is None or self._restraint.lanes(now.monotonic_ms) else at - now.monotonic_ms

    def written(self) -> None:
        """There is something new in the spool."""
        self._more = self._written = True

    def look_again(self) -> None:
        self._more = True

    def _send_unproven(self) -> None:
        self._unproven, self._more = Intervals(), True

    @property
    def under_way(self) -> bool:
        return bool(self._in_flight)

    def lost(self, *, too_large: bool) -> None:
        """The stream is gone, and with it every answer that was to come."""
        if too_large:
            self._halve()
        self._in_flight.clear()
        self._reading, self._more = False, True

    def overdue(self, now: Moment) -> bool:
        """Whether a batch has waited too long; smaller ones are sent from then on."""
        if not any(now.monotonic_ms - f.sent_ms > ACK_TIMEOUT_MS for f in self._in_flight.values()):
            return False
        self._halve(now.monotonic_ms - ACK_TIMEOUT_MS)
        return True

    def _halve(self, sent_before_ms: int | None = None) -> None:
        for flight in self._in_flight.values():
            if sent_before_ms is None or flight.sent_ms < sent_before_ms:
                self._limits.halve(flight.cut.size, len(flight.cut.frames))

    def tick(self, now: Moment) -> list[Effect]:
        if self._deferred or now.monotonic_ms - self._looked_ms >= _LOOK_AGAIN_MS:
            self._more = True  # what was deferred or held back may be due
        return self.read_more(now)

    # ---- out ------------------------------------------------------------------------------------------

    def read_more(self, now: Moment) -> list[Effect]:
        if not self._standing.welcomed or self._reading or not self._more or not self._standing.epoch:
            return []
        if self._standing.beat_wanted or self._standing.beat_out:
            return []
        if len(self._in_flight) >= (1 if self._limits.reduced else self._window):
            return []
        lanes = self._restraint.lanes(now.monotonic_ms)
        if not lanes or self._refusals.resting(now.monotonic_ms):
            return []
        most = self._restraint.allowed_bytes(lanes, now.monotonic_ms, self._limits.bytes)
        frames = 1 if self._refusals.storming else self._limits.frames
        self._reading, self._written, self._looked_ms = True, False, now.monotonic_ms
        wanted = Wanted(
            max_bytes=most,
            max_frames=frames,
            skip=self._skipped(now),
            skip_evictions=Intervals.of(
                number for flight in self._in_flight.values() for number in flight.cut.eviction_numbers
            ),
            lanes=lanes,
        )
        return [ReadFrames(wanted=wanted)]

    def _skipped(self, now: Moment) -> Intervals:
        if now.monotonic_ms >= self._unproven_until:
            self._unproven = Intervals()
        self._deferred = [item for item in self._deferred if item[0] > now.monotonic_ms]
        skip = self._unproven
        for _, numbers in self._deferred:
            skip = skip.union(numbers)
        under_way = Intervals.of(f.number for flight in self._in_flight.values() for f in flight.cut.frames)
        return skip.union(under_way)

    def frames_read(self, reading: Reading | None, now: Moment) -> list[Effect]:
        self._reading = False
        if reading is None or not (reading.frames or reading.evictions):
            self._more = self._written
            return self.read_more(now)
        identity = self._standing.identity
        if (reading.school_id, reading.device_id) != (identity.school_id, identity.device_id):
            return self._of_another_enrolment(reading) + self.read_more(now)
        if not self._standing.welcomed:
            return []
        self._number += 1
        cut_batch = cut(reading, identity, self._number, now.wall_ms)
        self._in_flight[self._number] = _InFlight(cut_batch, now.monotonic_ms)
        for frame in cut_batch.frames:
            self._restraint.sent(frame.lane, frame.size)
        return [Send(message=wire.DeviceMessage(body=cut_batch.batch)), *self.read_more(now)]

    def _of_another_enrolment(self, reading: Reading) -> list[Effect]:
        reason = "sealed under an earlier enrolment of this device, whose certificate is gone"
        events = sum(frame.count for frame in reading.frames)
        settlement = Settlement(
            set_aside=tuple((frame.number, reason) for frame in reading.frames),
            evictions_reported=tuple(item.number for item in reading.evictions),
        )
        told = model.SetAside(lane="", first_sequence=0, events=events, reason=reason)
        return [Settle(settlement=settlement), Report(body=told, severity=model.Severity.MEDIUM)]

    # ---- back -----------------------------------------------------------------------------------------

    def acknowledged(self, ack: wire.Ack, now: Moment) -> list[Effect] | None:
        """What an acknowledgement settles; None for a batch that was given up, or said twice."""
        flight = self._in_flight.pop(ack.batch_number, None)
        if flight is None:
            return None
        sorted_out = settling.sort_out(flight.cut, ack)
        effects: list[Effect] = []
        proven = not sorted_out.needs_proof
        if sorted_out.needs_proof:
            proven, told = self.proofs.batch(flight.cut, ack)
            effects += told
        effects += self._settle(flight.cut, sorted_out, proven=proven, now=now)
        self._more = True
        return effects

    def _settle(
        self, sent: CutBatch, found: settling.SortedOut, *, proven: bool, now: Moment
    ) -> list[Effect]:
        refused = self._refusals.judge(sent, found, now.monotonic_ms)
        if refused.bisect:
            self._limits.halve(sent.size, len(sent.frames))
        elif found.held:
            self._limits.grow()
        delivered: tuple[int, ...] = ()
        if found.held and proven:
            delivered = tuple(frame.number for frame in found.held)
            self._retries = 0
        elif found.held:
            self._unproven = self._unproven.union(Intervals.of(frame.number for frame in found.held))
            self._unproven_until = now.monotonic_ms + _UNPROVEN_AGAIN_MS
        later = [*found.again, *refused.later]
        if later:
            self._retries += 1
            wait = min(_RETRY_LONGEST_MS, _RETRY_FIRST_MS * 2 ** min(self._retries, 20))
            until = now.monotonic_ms + max(refused.wait_ms, int(wait * (0.5 + self._chance() / 2)))
            self._deferred.append((until, Intervals.of(frame.number for frame in later)))
        aside = [*((f, reason) for f, reason in found.conflicts), *refused.aside]
        effects: list[Effect] = []
        reported = sent.eviction_numbers if proven and not found.again and not refused.bisect else ()
        if delivered or aside or reported:
            notes = self._standing.memory.notes()
            self._standing.noted_ms = now.monotonic_ms
            effects.append(
                Settle(
                    settlement=Settlement(
                        delivered=delivered,
                        set_aside=tuple((frame.number, reason) for frame, reason in aside),
                        evictions_reported=reported,
                        notes=notes,
                    )
                )
            )
        effects += [
            Report(
                body=model.SetAside(
                    lane=frame.lane.value,
                    first_sequence=frame.first_sequence,
                    events=frame.count,
                    reason=reason,
                ),
                severity=model.Severity.MEDIUM,
            )
            for frame, reason in aside
        ]
        if any(frame.epoch == self._standing.epoch for frame, _ in found.conflicts):
            effects += self._standing.ask_epoch(
                "another spool used this epoch's sequences: a clone or a restored copy"
            )
        return effects
