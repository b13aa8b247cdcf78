"""The uplink as a state machine: inputs in, effects out. No socket, no disk, no clock, no thread.

A frame is delivered only when the collector's ledger proves that it holds our signed statement, under a checkpoint
that extends the last one this device believed. While proofs fail it goes on sending new frames, deletes nothing and
says so. Nothing the collector answers, or does not answer, stops it for good. Here is the stream's life; batches are
``delivery.py``'s, belief is ``proofs.py``'s, and what both need is in ``standing.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.spool.contract import Usage
from schoolkeeper_agent.uplink import orders, pacing
from schoolkeeper_agent.uplink.cutting import DeviceIdentity
from schoolkeeper_agent.uplink.delivery import ACK_TIMEOUT_MS, Delivery
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
    PolicyOffered,
    Received,
    Send,
    SpoolSeen,
    TakeGrant,
    Tick,
)
from schoolkeeper_agent.uplink.standing import NOTE_EVERY_MS, InForce, Memory, Standing
from schoolkeeper_proto import wire
from schoolkeeper_proto.policy import KeyStatement

GREETING_TIMEOUT_MS = 30_000
_REVOKED_MS = 3_600_000


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
        self.standing = Standing(identity=identity, keys=keys, group=group, in_force=in_force, memory=memory)
        self.last_contact_ms = 0
        self.heard = 0
        """Messages of the collector so far."""
        self._chance = chance
        self._delivery = Delivery(self.standing, chance)
        self._proofs = self._delivery.proofs
        self._attempt = 0
        self._open = False
        self._opened_ms = 0
        self._heard_ms = 0
        self._beat_ms = 0
        self._heartbeat_ms = 60_000
        self._usage: Usage | None = None
        self._cursors: tuple[wire.LaneCursor, ...] = ()

    # ---- what it says of itself -----------------------------------------------------------------------

    @property
    def memory(self) -> Memory:
        return self.standing.memory

    @property
    def connected(self) -> bool:
        return self.standing.welcomed

    @property
    def last_problem(self) -> str:
        return self.standing.last_problem

    @property
    def proof_failure(self) -> str:
        """Why proofs cannot be verified now; empty while they can."""
        return self._proofs.failure

    def start(self) -> list[Effect]:
        """The first order: connect soon, with jitter, so that a power cut's end brings no storm."""
        return [Connect(after_ms=int(self._chance() * 2_000))]

    def believed_ms(self, now: Moment) -> int:
        return self.standing.believed_ms(now)

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
                self.heard += 1
                return self._received(given.body, now)
            case FramesRead():
                return self._delivery.frames_read(given.reading, now)
            case FramesWritten():
                self._delivery.written()
                return self._delivery.read_more(now)
            case EpochOpened():
                self.standing.epoch = given.epoch
                self._delivery.look_again()
                return self._delivery.read_more(now)
            case Tick():
                return self.standing.carry_time(now) + self._mind_the_stream(now)
            case _:
                assert_never(given)

    def _closed(self, closed: Closed, now: Moment) -> list[Effect]:
        standing = self.standing
        standing.last_problem = closed.reason
        self._delivery.lost(too_large=closed.too_large)
        self._open = standing.welcomed = False
        standing.beat_wanted = standing.beat_out = False
        wait = max(pacing.jittered(self._attempt, self._chance), self._delivery.wait_asked(now))
        self._attempt += 1
        return [Connect(after_ms=wait)]

    def _spool_seen(self, seen: SpoolSeen, now: Moment) -> list[Effect]:
        self._usage, self.standing.epoch, self._cursors = seen.usage, seen.epoch, seen.cursors
        if not self._open:
            return []
        if self.standing.welcomed:
            return self._beat(now)
        told, kept = self.standing.in_force, self.memory.witness
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
                self._delivery.pushed_back(body, now)
                return self._delivery.read_more(now)
            case wire.PolicyAvailable():
                return [PolicyOffered(available=body)]
            case wire.Grant():
                return [TakeGrant(grant=body)]
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
        standing = self.standing
        standing.welcomed, standing.epoch_asked, self._beat_ms = True, False, now.monotonic_ms
        self._delivery.offered(welcome)
        self._heartbeat_ms = 1_000 * max(1, welcome.heartbeat_seconds)
        standing.learn_time(welcome.time, now)
        effects = self._proofs.greeting(welcome)
        because = welcome.new_epoch_because or self._set_back(welcome)
        if because:
            effects += standing.ask_epoch(because)
        if welcome.policy is not None:
            effects.append(PolicyOffered(available=welcome.policy))
        effects.append(standing.note())
        return effects + self._delivery.read_more(now)

    def _set_back(self, welcome: wire.Welcome) -> str:
        """Whether the collector holds more of the current epoch than the spool ever gave out: a restored copy."""
        ends = {(cursor.epoch, cursor.lane): cursor.next_sequence for cursor in self._cursors}
        for held in welcome.held:
            following = ends.get((held.epoch, held.lane))
            if held.epoch == self.standing.epoch and following is not None and held.end_sequence > following:
                return (
                    f"the collector holds the {held.lane.value} lane up to {held.end_sequence}, this spool goes on at"
                    f" {following}: it was set back"
                )
        return ""

    def _beat(self, now: Moment) -> list[Effect]:
        """Waits until nothing is under way: the answer's proof begins at the checkpoint that the heartbeat shows,
        and an acknowledgement that crosses it would begin at another.
        """
        standing = self.standing
        standing.beat_wanted = self._delivery.under_way
        if standing.beat_wanted or standing.beat_out:
            return []
        standing.beat_out, self._beat_ms = True, now.monotonic_ms
        usage = self._usage
        beat = wire.StreamHeartbeat(
            checkpoint=self.memory.witness.note,
            wall_unix_ms=max(0, now.wall_ms),
            spool_pending_events=usage.pending_events if usage else 0,
            proof_failure=self.proof_failure,
        )
        return [Send(message=wire.DeviceMessage(body=beat))]

    def _answered(self, reply: wire.HeartbeatReply, now: Moment) -> list[Effect]:
        standing = self.standing
        standing.learn_time(reply.time, now)
        self._attempt, standing.beat_out = 0, False
        effects = self._proofs.heartbeat(reply)
        if now.monotonic_ms - standing.noted_ms >= NOTE_EVERY_MS:
            standing.noted_ms = now.monotonic_ms
            effects.append(standing.note())
        return effects + self._delivery.read_more(now)

    def _acknowledged(self, ack: wire.Ack, now: Moment) -> list[Effect]:
        self.standing.learn_time(ack.time, now)
        effects = self._delivery.acknowledged(ack, now)
        if effects is None:
            return []
        self._attempt = 0
        if self.standing.beat_wanted:
            effects += self._beat(now)
        return effects + self._delivery.read_more(now)

    # ---- what the collector asks ------------------------------------------------------------------------

    def _commanded(self, sent: wire.Command, now: Moment) -> list[Effect]:
        standing = self.standing
        try:
            command = orders.command(sent, standing.keys, standing.identity.device_id, self.believed_ms(now))
        except orders.OrderRefused as error:
            standing.last_problem = f"a command was not obeyed: {error}"
            return []
        if command.command_id in standing.memory.obeyed:
            return [answer(command.command_id, succeeded=True, detail="obeyed before")]
        obeyed = (*standing.memory.obeyed, command.command_id)[-orders.REMEMBERED :]
        standing.memory = replace(standing.memory, obeyed=obeyed)
        effects: list[Effect] = [standing.note()]
        assert command.order is not None
        if isinstance(command.order, wire.NewEpoch):
            because = command.order.reason or "the collector's command"
            return [*effects, *standing.ask_epoch(because), answer(command.command_id, succeeded=True)]
        return [*effects, Obey(command_id=command.command_id, order=command.order)]

    def _dismissed(self, goodbye: wire.Goodbye, now: Moment) -> list[Effect]:
        reason = f"the collector ended the stream ({goodbye.reason}): {goodbye.remedy}".rstrip(": ")
        wait = max(goodbye.retry_after_ms, _REVOKED_MS if goodbye.reason == "revoked" else 0)
        if wait:
            self._delivery.pushed_back(wire.Pushback(retry_after_ms=wait), now)
        effects: list[Effect] = [Disconnect(reason=reason)]
        if goodbye.reason == "expired":
            effects.insert(0, Obey(command_id=b"", order=wire.RenewCertificate()))
        return effects

    # ---- time -------------------------------------------------------------------------------------------

    def _mind_the_stream(self, now: Moment) -> list[Effect]:
        if not self._open:
            return []
        standing = self.standing
        if not standing.welcomed:
            if now.monotonic_ms - self._opened_ms > GREETING_TIMEOUT_MS:
                return [Disconnect(reason="the collector did not answer the greeting")]
            return []
        if self._delivery.overdue(now):
            return [Disconnect(reason="the collector did not acknowledge a batch in time")]
        if standing.beat_out and now.monotonic_ms - self._beat_ms > ACK_TIMEOUT_MS:
            return [Disconnect(reason="the collector did not answer a heartbeat in time")]
        if now.monotonic_ms - self._heard_ms > 5 * self._heartbeat_ms // 2:
            return [Disconnect(reason="the collector has gone silent")]
        if now.monotonic_ms - self._beat_ms >= self._heartbeat_ms:
            self._beat_ms = now.monotonic_ms
            return [LookAtSpool()]
        return self._delivery.tick(now)


def answer(command_id: bytes, *, succeeded: bool, detail: str = "") -> Send:
    """What became of a command, for the collector."""
    return Send(
        message=wire.DeviceMessage(
            body=wire.CommandAcknowledged(command_id=command_id, succeeded=succeeded, detail=detail)
        )
    )
