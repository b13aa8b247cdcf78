"""An event from its proof file, as the device signed it into the log, and what in it is sealed to officers.

The proof comes from the console or from ``schoolkeeper-collector``; nothing of it is believed that the device did not
sign.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_policies.reasons import ReasonError
from schoolkeeper_proto import model, wire
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.proof import EventProof, ProofError, check
from schoolkeeper_proto.sealing import Binding, FieldContext, SealingError, open_field, unwrap_key

_OF_THE_DEVICE = 2
"""Steps of a proof that need no key of the ledger: the event is in the statement, and the device signed that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedEvent:
    event: model.Event
    binding: Binding

    def opened(self, field: model.SealedField, private_key: X25519PrivateKey) -> str:
        """The text in a sealed field of this event. Raises ``ReasonError``, which names who can open it."""
        context = FieldContext(binding=self.binding, event_id=self.event.id, category=field.category)
        try:
            return open_field(field, context, unwrap_key(field, context, private_key)).decode(
                "utf-8", "replace"
            )
        except SealingError as error:
            who = ", ".join(field.recipients) or "nobody"
            raise ReasonError(f"it does not open with this key: {error}; it is sealed to: {who}") from error


def signed_event(proof_text: str, again: str) -> SignedEvent:
    """``again``: how to get the right file. Raises ``ReasonError`` that says what is wrong, and that."""
    try:
        proof = EventProof.from_json(proof_text)
        steps = check(proof, ())
        event = decode(model.Event, proof.event)
        statement = decode(wire.BatchStatement, decode(wire.LedgerEntry, proof.entry).statement)
    except (ProofError, WireFormatError) as error:
        raise ReasonError(f"{error}: {again}") from error
    failed = next((step for step in steps[:_OF_THE_DEVICE] if not step.holds), None)
    if failed is not None:
        raise ReasonError(f"this is not what the device signed: {failed.name}: {failed.detail}")
    binding = Binding(school_id=statement.school_id, device_id=statement.device_id, epoch=statement.epoch)
    return SignedEvent(event=event, binding=binding)
