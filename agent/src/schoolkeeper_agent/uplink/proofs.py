"""Whether the collector's ledger is the one this device knows: believed, doubted, and said when either begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from schoolkeeper_agent.uplink import witness
from schoolkeeper_agent.uplink.cutting import CutBatch
from schoolkeeper_agent.uplink.messages import Effect, LookAtSpool, Report, SendAgain
from schoolkeeper_agent.uplink.standing import Standing
from schoolkeeper_agent.uplink.witness import ProofFailure, Witness
from schoolkeeper_proto import model, wire


class Proofs:
    """``held_again`` is called when, after a failure, everything is proved again."""

    def __init__(self, standing: Standing, held_again: Callable[[], None]) -> None:
        self._standing = standing
        self._held_again = held_again

    @property
    def failure(self) -> str:
        """Why proofs cannot be verified now; empty while they can."""
        memory = self._standing.memory
        return memory.witness.failure or memory.unproven_because

    def greeting(self, welcome: wire.Welcome) -> list[Effect]:
        """The welcome's checkpoint: it extends the last one, or two officers signed that it need not."""
        if not welcome.checkpoint:
            return []
        standing = self._standing
        kept = standing.memory.witness
        try:
            if welcome.recovery_entry and witness.is_new_generation(kept, welcome.checkpoint):
                self._set_witness(
                    witness.recover(kept, standing.keys, welcome.checkpoint, welcome.recovery_entry)
                )
                return [SendAgain(held=welcome.held)]
            return self._believed(
                witness.advance(kept, standing.keys, welcome.checkpoint, welcome.consistency)
            )
        except ProofFailure as failure:
            return self._doubted(failure)

    def heartbeat(self, reply: wire.HeartbeatReply) -> list[Effect]:
        if not reply.checkpoint:
            return []
        standing = self._standing
        try:
            return self._believed(
                witness.advance(standing.memory.witness, standing.keys, reply.checkpoint, reply.consistency)
            )
        except ProofFailure as failure:
            return self._doubted(failure, keep_reason=True)

    def batch(self, sent: CutBatch, ack: wire.Ack) -> tuple[bool, list[Effect]]:
        """Whether our statement is in the ledger, and the ledger the one we know."""
        standing = self._standing
        try:
            witness.prove_batch(standing.keys, ack, sent.batch.statement, sent.signature)
        except ProofFailure as failure:
            return False, self._doubted(failure, batch=True)
        try:
            changed = witness.advance(standing.memory.witness, standing.keys, ack.checkpoint, ack.consistency)
        except ProofFailure as failure:
            return False, self._doubted(failure)
        return True, self._believed(changed) + self._batch_proved()

    def _set_witness(self, changed: Witness) -> None:
        self._standing.memory = replace(self._standing.memory, witness=changed)

    def _believed(self, changed: Witness) -> list[Effect]:
        """The ledger's history holds (again)."""
        failed = self.failure
        self._set_witness(changed)
        return self._hold(failed)

    def _batch_proved(self) -> list[Effect]:
        failed = self.failure
        self._standing.memory = replace(self._standing.memory, unproven_because="")
        return self._hold(failed)

    def _hold(self, failed: str) -> list[Effect]:
        """After everything is proved again, what was acknowledged without a proof is sent once more to get it."""
        if not failed or self.failure:
            return []
        self._held_again()
        told = model.AgentTampered(what="ledger proof", detail=f"proofs hold again; before: {failed}")
        return [Report(body=told)]

    def _doubted(
        self, failure: ProofFailure, *, batch: bool = False, keep_reason: bool = False
    ) -> list[Effect]:
        """Keep sending, delete nothing, say so: here, in hello and heartbeat, and in an event when it begins."""
        standing = self._standing
        why, before = str(failure), self.failure
        if batch:
            standing.memory = replace(standing.memory, unproven_because=why)
        elif not (keep_reason and standing.memory.witness.failure):
            self._set_witness(replace(standing.memory.witness, failure=why))
        if before:
            return []
        told = model.AgentTampered(what="ledger proof", detail=f"the collector's proof fails: {why}")
        effects: list[Effect] = [standing.note(), Report(body=told, severity=model.Severity.HIGH)]
        # A heartbeat with our checkpoint: it says so at once, and its answer's proof begins where we are.
        return [*effects, LookAtSpool()] if standing.welcomed else effects
