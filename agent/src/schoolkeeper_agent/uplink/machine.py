"""The uplink as a state machine: inputs in, effects out. No socket, no disk, no clock, no thread.

A frame is delivered only when the collector's ledger proves that it holds our signed statement, under a checkpoint
that extends the last one this device believed. While proofs fail it goes on sending new frames, deletes nothing and
says so. Nothing the collector answers, or does not answer, stops it for good.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from schoolkeeper_agent.clock import Moment, TimeFloor, believed_ms
from schoolkeeper_agent.spool.contract import Reading, Settlement, Usage, Wanted
from schoolkeeper_agent.spool.intervals import Intervals
from schoolkeeper_agent.uplink import orders, pacing, settling, witness
from schoolkeeper_agent.uplink.cutting import CutBatch, DeviceIdentity, cut
from schoolkeeper_agent.uplink.messages import (
    Closed,
    Connect,
    Disconnect,
    Effect,
    EpochOpened,
    FramesRead,
    FramesWritten,
    Input,
    LookAtSpool,
    Obey,
    Opened,
    OpenEpoch,
    PolicyOffered,
    ReadFrames,
    Received,
    Report,
    Send,
    SendAgain,
    Settle,
    SpoolSeen,
    TakeGrant,
    Tick,
)
from schoolkeeper_agent.uplink.witness import ProofFailure, Witness
from schoolkeeper_proto import model, statements, wire
from schoolkeeper_proto.policy import KeyStatement

ACK_TIMEOUT_MS = 60_000
GREETING_TIMEOUT_MS = 30_000
_RETRY_FIRST_MS, _RETRY_LONGEST_MS = 5_000, 15 * 60_000
_UNPROVEN_AGAIN_MS = 3_600_000
_NOTE_EVERY_MS = 10 * 60_000
_REVOKED_MS = 3_600_000
_LOOK_AGAIN_MS = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What the device tells in its hello: filled anew by the runtime when policy or trust changes."""

    bundle_hash: bytes = b""
    bundle_version: int = 0
    key_statement_hash: bytes = b""
    root_version: int = 0
    agent_version: str = ""
    platform: str = ""
    capabilities: tuple[str, ...] = ()
    boot_id: bytes = b""
    machine_hash: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What survives a restart, as notes in the spool."""

    witness: Witness = Witness()  # noqa: RUF009 - frozen
    floor: TimeFloor = TimeFloor()  # noqa: RUF009 - frozen
    obeyed: tuple[bytes, ...] = ()
    unproven_because: str = ""
    """Why the last batch was not proved to be in the ledger; only a batch that is clears it."""

    def notes(self) -> dict[str, bytes]:
        return {
            "checkpoint": self.witness.note.encode(),
            "previous-checkpoint": self.witness.previous_note.encode(),
            "proof-failure": self.witness.failure.encode(),
            "unproven": self.unproven_because.encode(),
            "time": self.floor.encode(),
            "obeyed": json.dumps([item.hex() for item in self.obeyed]).encode(),
        }

    @classmethod
    def from_notes(cls, note: Callable[[str], bytes]) -> Memory:
        try:
            obeyed = tuple(bytes.fromhex(item) for item in json.loads(note("obeyed") or b"[]"))
        except (ValueError, TypeError):
            obeyed = ()
        return cls(
            witness=Witness(
                note=witness.readable(note("checkpoint")),
                previous_note=witness.readable(note("previous-checkpoint")),
                failure=note("proof-failure").decode(errors="replace"),
            ),
            floor=TimeFloor.decode(note("time")),
            obeyed=obeyed,
            unproven_because=note("unproven").decode(errors="replace"),
        )


@dataclass(slots=True)
class _InFlight:
    cut: CutBatch
    sent_ms: int


class Uplink:
    """Feed every input to ``handle`` with the time; perform the effects in order. Not thread-safe."""

    def __init__(
        self,
        identity: DeviceIdentity,
        keys: KeyStatement,
        group: str,
        in_force: InForce,
        memory: Memory,
        chance: Callable[[], float],
    ) -> None:
        self.identity = identity
        self.keys = keys
        self.group = group
        self.in_force = in_force
        self.memory = memory
        self.last_contact_ms = 0
        self.last_problem = ""
        self._chance = chance
        self._limits = pacing.BatchLimits()
        self._restraint = pacing.Restraint()
        self._refusals = settling.RefusalGuard()
        self._in_flight: dict[int, _InFlight] = {}
        self._unproven = Intervals()
        self._unproven_until = 0
        self._deferred: list[tuple[int, Intervals]] = []
        self._retries = 0
        self._attempt = 0
        self._number = 0
        self._open = False
        self._welcomed = False
        self._opened_ms = 0
        self._heard_ms = 0
        self._beat_ms = 0
        self._beat_wanted = False
        self._beat_out = False
        self._noted_ms = 0
        self._heartbeat_ms = 60_000
        self._window = 4
        self._reading = False
        self._more = True
        self._written = False
        self._looked_ms = 0
        self._epoch = b""
        self._epoch_asked = False
        self._usage: Usage | None = None
        self._cursors: tuple[wire.LaneCursor, ...] = ()

    # ---- what it says of itself -----------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._welcomed

    @property
    def proof_failure(self) -> str:
        """Why proofs cannot be verified now; empty while they can."""
        return self.memory.witness.failure or self.memory.unproven_because

    @property
    def checkpoint_hash(self) -> bytes:
        """SHA-256 of the last believed checkpoint's note; empty before the first."""
        note = self.memory.witness.note
        return hashlib.sha256(note.encode()).digest() if note else b""

    def start(self) -> list[Effect]:
        """The first order: connect soon, with jitter, so that a power cut's end brings no storm."""
        return [Connect(after_ms=int(self._chance() * 2_000))]

    def believed_ms(self, now: Moment) -> int:
        return believed_ms(self.memory.floor, now, self.in_force.boot_id)

    # ---- inputs ---------------------------------------------------------------------------------------

    def handle(self, given: Input, now: Moment) -> list[Effect]:
        match given:
            case Opened():
                self._open, self._opened_ms, self._heard_ms = True, now.monotonic_ms, now.monotonic_ms
                return [LookAtSpool()]
            case Closed():
                return self._closed(given, now)
            case SpoolSeen():
                return self._spool_seen(given, now)
            case Received():
                self._heard_ms, self.last_contact_ms = now.monotonic_ms, now.wall_ms
                return self._received(given.body, now)
            case FramesRead():
                return self._frames_read(given.reading, now)
            case FramesWritten():
                self._more = self._written = True
                return self._read_more(now)
            case EpochOpened():
                self._epoch, self._more = given.epoch, True
                return self._read_more(now)
            case Tick():
                return self._tick(now)
            case _:
                assert_never(given)

    def _closed(self, closed: Closed, now: Moment) -> list[Effect]:
        self.last_problem = closed.reason
        if closed.too_large:
            for flight in self._in_flight.values():
                self._limits.halve(flight.cut.size, len(flight.cut.frames))
        self._in_flight.clear()
        self._open = self._welcomed = self._reading = False
        self._beat_wanted = self._beat_out = False
        self._more = True
        wait = max(pacing.jittered(self._attempt, self._chance), self._wait_asked(now))
        self._attempt += 1
        return [Connect(after_ms=wait)]

    def _wait_asked(self, now: Moment) -> int:
        at = self._restraint.next_ms(now.monotonic_ms)
        return 0 if at is None or self._restraint.lanes(now.monotonic_ms) else at - now.monotonic_ms

    def _spool_seen(self, seen: SpoolSeen, now: Moment) -> list[Effect]:
        self._usage, self._epoch, self._cursors = seen.usage, seen.epoch, seen.cursors
        if not self._open:
            return []
        if self._welcomed:
            return self._beat(now)
        told, kept = self.in_force, self.memory.witness
        hello = wire.Hello(
            version=wire.WireVersion(),
            epoch=seen.epoch,
            cursors=seen.cursors,
            checkpoint=kept.note,
            previous_generation_checkpoint=kept.previous_note,
            bundle_hash=told.bundle_hash,
            bundle_version=told.bundle_version,
            key_statement_hash=told.key_statement_hash,
            root_version=told.root_version,
            agent_version=told.agent_version,
            platform=told.platform,
            capabilities=told.capabilities,
            boot_id=told.boot_id,
            machine_hash=told.machine_hash,
            wall_unix_ms=max(0, now.wall_ms),
            spool_pending_events=seen.usage.pending_events,
            evicted_events=seen.usage.evicted_events,
            set_aside_events=seen.usage.set_aside_events,
            proof_failure=self.proof_failure,
        )
        return [Send(message=wire.DeviceMessage(body=hello))]

    def _received(self, body: wire.CollectorBody | None, now: Moment) -> list[Effect]:
        match body:
            case wire.Welcome():
                return self._greeted(body, now)
            case wire.Ack():
                return self._acknowledged(body, now)
            case wire.HeartbeatReply():
                return self._answered(body, now)
            case wire.Pushback():
                self._restraint.pushed_back(body, now.monotonic_ms)
                return self._read_more(now)
            case wire.PolicyAvailable():
                return [PolicyOffered(available=body)]
            case wire.Grant():
                return self._granted(body, now)
            case wire.Command():
                return self._commanded(body, now)
            case wire.Goodbye():
                return self._dismissed(body, now)
            case None:
                return []  # a kind of message that a newer collector has
            case _:
                assert_never(body)

    # ---- greeting and heartbeat -------------------------------------------------------------------------

    def _greeted(self, welcome: wire.Welcome, now: Moment) -> list[Effect]:
        if welcome.version.major != wire.WIRE_MAJOR:
            reason = f"the collector speaks version {welcome.version.major} of the wire, this agent {wire.WIRE_MAJOR}"
            return [Disconnect(reason=f"{reason}: update the older of the two")]
        self._welcomed, self._epoch_asked, self._beat_ms = True, False, now.monotonic_ms
        self._limits.offered(welcome.max_batch_bytes, welcome.max_frames)
        self._window = max(1, welcome.window_batches)
        self._heartbeat_ms = 1_000 * max(1, welcome.heartbeat_seconds)
        self._learn_time(welcome.time, now)
        effects: list[Effect] = self._believe_greeting(welcome)
        because = welcome.new_epoch_because or self._set_back(welcome)
        if because:
            effects += self._ask_epoch(because)
        if welcome.policy is not None:
            effects.append(PolicyOffered(available=welcome.policy))
        effects.append(Settle(settlement=Settlement(notes=self.memory.notes())))
        return effects + self._read_more(now)

    def _believe_greeting(self, welcome: wire.Welcome) -> list[Effect]:
        if not welcome.checkpoint:
            return []
        kept = self.memory.witness
        try:
            if welcome.recovery_entry and witness.is_new_generation(kept, welcome.checkpoint):
                self._set_witness(
                    witness.recover(kept, self.keys, welcome.checkpoint, welcome.recovery_entry)
                )
                return [SendAgain(held=welcome.held)]
            return self._believed(witness.advance(kept, self.keys, welcome.checkpoint, welcome.consistency))
        except ProofFailure as failure:
            return self._doubted(failure)

    def _set_back(self, welcome: wire.Welcome) -> str:
        """Whether the collector holds more of the current epoch than the spool ever gave out: a restored copy."""
        ends = {(cursor.epoch, cursor.lane): cursor.next_sequence for cursor in self._cursors}
        for held in welcome.held:
            following = ends.get((held.epoch, held.lane))
            if held.epoch == self._epoch and following is not None and held.end_sequence > following:
                return (
                    f"the collector holds the {held.lane.value} lane up to {held.end_sequence}, this spool goes on at"
                    f" {following}: it was set back"
                )
        return ""

    def _ask_epoch(self, because: str) -> list[Effect]:
        """At most once per stream: no collector can make a device burn through epochs."""
        if self._epoch_asked:
            return []
        self._epoch_asked = True
        return [OpenEpoch(because=because)]

    def _beat(self, now: Moment) -> list[Effect]:
        """Waits until nothing is under way: the answer's proof begins at the checkpoint that the heartbeat shows,
        and an acknowledgement that crosses it would begin at another.
        """
        self._beat_wanted = bool(self._in_flight)
        if self._beat_wanted or self._beat_out:
            return []
        self._beat_out, self._beat_ms = True, now.monotonic_ms
        usage = self._usage
        beat = wire.StreamHeartbeat(
            checkpoint=self.memory.witness.note,
            wall_unix_ms=max(0, now.wall_ms),
            spool_pending_events=usage.pending_events if usage else 0,
            proof_failure=self.proof_failure,
        )
        return [Send(message=wire.DeviceMessage(body=beat))]

    def _answered(self, reply: wire.HeartbeatReply, now: Moment) -> list[Effect]:
        self._learn_time(reply.time, now)
        self._attempt, self._beat_out = 0, False
        effects: list[Effect] = []
        if reply.checkpoint:
            try:
                effects += self._believed(
                    witness.advance(self.memory.witness, self.keys, reply.checkpoint, reply.consistency)
                )
            except ProofFailure as failure:
                effects += self._doubted(failure, keep_reason=True)
        if now.monotonic_ms - self._noted_ms >= _NOTE_EVERY_MS:
            self._noted_ms = now.monotonic_ms
            effects.append(Settle(settlement=Settlement(notes=self.memory.notes())))
        return effects + self._read_more(now)

    def _learn_time(self, signed: wire.SignedTime | None, now: Moment) -> None:
        """Signed time raises the floor; time that does not verify is no time, and changes nothing."""
        if signed is None:
            return
        keys = {key.key_id: key.public_key for key in self.keys.command_keys}
        try:
            at = statements.verify_time(signed, self.identity.school_id, keys)
        except ValueError as error:
            self.last_problem = f"the collector's time is not believed: {error}"
            return
        floor = self.memory.floor.raised(at, now, self.in_force.boot_id)
        self.memory = replace(self.memory, floor=floor)

    # ---- proofs ---------------------------------------------------------------------------------------

    def _set_witness(self, changed: Witness) -> None:
        self.memory = replace(self.memory, witness=changed)

    def _believed(self, changed: Witness) -> list[Effect]:
        """The ledger's history holds (again)."""
        failed = self.proof_failure
        self._set_witness(changed)
        return self._proofs_hold(failed)

    def _batch_proved(self) -> list[Effect]:
        failed = self.proof_failure
        self.memory = replace(self.memory, unproven_because="")
        return self._proofs_hold(failed)

    def _proofs_hold(self, failed: str) -> list[Effect]:
        """After everything is proved again, what was acknowledged without a proof is sent once more to get it."""
        if not failed or self.proof_failure:
            return []
        self._unproven, self._more = Intervals(), True
        told = model.AgentTampered(what="ledger proof", detail=f"proofs hold again; before: {failed}")
        return [Report(body=told)]

    def _doubted(
        self, failure: ProofFailure, *, batch: bool = False, keep_reason: bool = False
    ) -> list[Effect]:
        """Keep sending, delete nothing, say so: here, in hello and heartbeat, and in an event when it begins."""
        why, before = str(failure), self.proof_failure
        if batch:
            self.memory = replace(self.memory, unproven_because=why)
        elif not (keep_reason and self.memory.witness.failure):
            self._set_witness(replace(self.memory.witness, failure=why))
        if before:
            return []
        told = model.AgentTampered(what="ledger proof", detail=f"the collector's proof fails: {why}")
        effects: list[Effect] = [
            Settle(settlement=Settlement(notes=self.memory.notes())),
            Report(body=told, severity=model.Severity.HIGH),
        ]
        # A heartbeat with our checkpoint: it says so at once, and its answer's proof begins where we are.
        return [*effects, LookAtSpool()] if self._welcomed else effects

    # ---- batches --------------------------------------------------------------------------------------

    def _read_more(self, now: Moment) -> list[Effect]:
        if not self._welcomed or self._reading or not self._more or not self._epoch:
            return []
        if self._beat_wanted or self._beat_out:
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

    def _frames_read(self, reading: Reading | None, now: Moment) -> list[Effect]:
        self._reading = False
        if reading is None or not (reading.frames or reading.evictions):
            self._more = self._written
            return self._read_more(now)
        if (reading.school_id, reading.device_id) != (self.identity.school_id, self.identity.device_id):
            return self._of_another_enrolment(reading) + self._read_more(now)
        if not self._welcomed:
            return []
        self._number += 1
        cut_batch = cut(reading, self.identity, self._number, now.wall_ms)
        self._in_flight[self._number] = _InFlight(cut_batch, now.monotonic_ms)
        for frame in cut_batch.frames:
            self._restraint.sent(frame.lane, frame.size)
        return [Send(message=wire.DeviceMessage(body=cut_batch.batch)), *self._read_more(now)]

    def _of_another_enrolment(self, reading: Reading) -> list[Effect]:
        reason = "sealed under an earlier enrolment of this device, whose certificate is gone"
        events = sum(frame.count for frame in reading.frames)
        settlement = Settlement(
            set_aside=tuple((frame.number, reason) for frame in reading.frames),
            evictions_reported=tuple(item.number for item in reading.evictions),
        )
        told = model.SetAside(lane="", first_sequence=0, events=events, reason=reason)
        return [Settle(settlement=settlement), Report(body=told, severity=model.Severity.MEDIUM)]

    def _acknowledged(self, ack: wire.Ack, now: Moment) -> list[Effect]:
        self._learn_time(ack.time, now)
        flight = self._in_flight.pop(ack.batch_number, None)
        if flight is None:
            return []  # of a batch that was given up, or said twice
        sorted_out = settling.sort_out(flight.cut, ack)
        effects: list[Effect] = []
        proven = not sorted_out.needs_proof
        if sorted_out.needs_proof:
            proven, told = self._prove(flight.cut, ack)
            effects += told
        effects += self._settle(flight.cut, sorted_out, proven=proven, now=now)
        self._attempt = 0
        self._more = True
        if self._beat_wanted:
            effects += self._beat(now)
        return effects + self._read_more(now)

    def _prove(self, sent: CutBatch, ack: wire.Ack) -> tuple[bool, list[Effect]]:
        """Whether our statement is in the ledger, and the ledger the one we know."""
        try:
            witness.prove_batch(self.keys, ack, sent.batch.statement, sent.signature)
        except ProofFailure as failure:
            return False, self._doubted(failure, batch=True)
        try:
            changed = witness.advance(self.memory.witness, self.keys, ack.checkpoint, ack.consistency)
        except ProofFailure as failure:
            return False, self._doubted(failure)
        return True, self._believed(changed) + self._batch_proved()

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
            notes = self.memory.notes()
            self._noted_ms = now.monotonic_ms
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
        if any(frame.epoch == self._epoch for frame, _ in found.conflicts):
            effects += self._ask_epoch(
                "another spool used this epoch's sequences: a clone or a restored copy"
            )
        return effects

    # ---- what the collector asks ------------------------------------------------------------------------

    def _commanded(self, sent: wire.Command, now: Moment) -> list[Effect]:
        try:
            command = orders.command(sent, self.keys, self.identity.device_id, self.believed_ms(now))
        except orders.OrderRefused as error:
            self.last_problem = f"a command was not obeyed: {error}"
            return []
        if command.command_id in self.memory.obeyed:
            return [answer(command.command_id, succeeded=True, detail="obeyed before")]
        obeyed = (*self.memory.obeyed, command.command_id)[-orders.REMEMBERED :]
        self.memory = replace(self.memory, obeyed=obeyed)
        effects: list[Effect] = [Settle(settlement=Settlement(notes=self.memory.notes()))]
        assert command.order is not None
        if isinstance(command.order, wire.NewEpoch):
            because = command.order.reason or "the collector's command"
            return [*effects, *self._ask_epoch(because), answer(command.command_id, succeeded=True)]
        return [*effects, Obey(command_id=command.command_id, order=command.order)]

    def _granted(self, sent: wire.Grant, now: Moment) -> list[Effect]:
        try:
            statement, officers = orders.grant(
                sent, self.keys, self.identity.device_id, self.group, self.believed_ms(now)
            )
        except orders.OrderRefused as error:
            self.last_problem = f"a grant was not taken: {error}"
            return []
        return [TakeGrant(statement=statement, officers=officers)]

    def _dismissed(self, goodbye: wire.Goodbye, now: Moment) -> list[Effect]:
        reason = f"the collector ended the stream ({goodbye.reason}): {goodbye.remedy}".rstrip(": ")
        wait = max(goodbye.retry_after_ms, _REVOKED_MS if goodbye.reason == "revoked" else 0)
        if wait:
            stop = wire.Pushback(retry_after_ms=wait)
            self._restraint.pushed_back(stop, now.monotonic_ms)
        effects: list[Effect] = [Disconnect(reason=reason)]
        if goodbye.reason == "expired":
            effects.insert(0, Obey(command_id=b"", order=wire.RenewCertificate()))
        return effects

    # ---- time -------------------------------------------------------------------------------------------

    def _tick(self, now: Moment) -> list[Effect]:
        return self._carry_time(now) + self._mind_the_stream(now)

    def _carry_time(self, now: Moment) -> list[Effect]:
        """Writes the floor of time down now and then, also offline: a power cut then costs minutes of it, not weeks."""
        floor = self.memory.floor.carried(now, self.in_force.boot_id)
        if floor.at_monotonic_ms - self.memory.floor.at_monotonic_ms < _NOTE_EVERY_MS:
            return []
        self.memory = replace(self.memory, floor=floor)
        self._noted_ms = now.monotonic_ms
        return [Settle(settlement=Settlement(notes=self.memory.notes()))]

    def _mind_the_stream(self, now: Moment) -> list[Effect]:
        if not self._open:
            return []
        if not self._welcomed:
            if now.monotonic_ms - self._opened_ms > GREETING_TIMEOUT_MS:
                return [Disconnect(reason="the collector did not answer the greeting")]
            return []
        late = [f for f in self._in_flight.values() if now.monotonic_ms - f.sent_ms > ACK_TIMEOUT_MS]
        if late:
            for flight in late:
                self._limits.halve(flight.cut.size, len(flight.cut.frames))
            return [Disconnect(reason="the collector did not acknowledge a batch in time")]
        if self._beat_out and now.monotonic_ms - self._beat_ms > ACK_TIMEOUT_MS:
            return [Disconnect(reason="the collector did not answer a heartbeat in time")]
        if now.monotonic_ms - self._heard_ms > 5 * self._heartbeat_ms // 2:
            return [Disconnect(reason="the collector has gone silent")]
        if now.monotonic_ms - self._beat_ms >= self._heartbeat_ms:
            self._beat_ms = now.monotonic_ms
            return [LookAtSpool()]
        if self._deferred or now.monotonic_ms - self._looked_ms >= _LOOK_AGAIN_MS:
            self._more = True  # what was deferred or held back may be due
        return self._read_more(now)


def answer(command_id: bytes, *, succeeded: bool, detail: str = "") -> Send:
    """What became of a command, for the collector."""
    return Send(
        message=wire.DeviceMessage(
            body=wire.CommandAcknowledged(command_id=command_id, succeeded=succeeded, detail=detail)
        )
    )
