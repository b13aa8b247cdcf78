"""``schoolkeeper-officer open-report``: what a person wrote in a report that is sealed to officers alone (T-28).

It reads the proof of the event, which the report's page on the console saves: the words are in it as the device sealed
them. They are shown only if the event is the one that the device signed into the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_policies.officer.asking import guarded, open_keys
from schoolkeeper_policies.reasons import ReasonError
from schoolkeeper_proto import model, wire
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.proof import EventProof, ProofError, check
from schoolkeeper_proto.sealing import Binding, FieldContext, SealingError, open_field, unwrap_key

_OF_THE_DEVICE = 2
"""Steps of a proof that need no key of the ledger: the event is in the statement, and the device signed that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    number: str
    urgent: bool
    words: str
    who: str


def open_report_(
    file: Annotated[
        Path, typer.Argument(help="The event's proof, saved from the report's page (proof-N.json).")
    ],
    key: Annotated[Path, typer.Option(help="The officer's key file.")],
) -> None:
    """Read what a person wrote, if they chose you: nobody else's key opens it."""
    keys = open_keys(key)
    opened = guarded(lambda: opened_report(file.read_text(encoding="utf-8", errors="replace"), keys.sealing))
    typer.echo(f"Number {opened.number}{', marked as urgent' if opened.urgent else ''}")
    if opened.who:
        typer.echo(f"They say that they are: {opened.who}. Nobody checked it.")
    typer.echo(f"\n{opened.words}")


def opened_report(text: str, private_key: X25519PrivateKey) -> Opened:
    """Raises ``ReasonError`` that says what is wrong and the remedy."""
    try:
        proof = EventProof.from_json(text)
        steps = check(proof, ())
        event = decode(model.Event, proof.event)
        statement = decode(wire.BatchStatement, decode(wire.LedgerEntry, proof.entry).statement)
    except (ProofError, WireFormatError) as error:
        raise ReasonError(f"{error}: save the proof of the report's event again, from its page") from error
    failed = next((step for step in steps[:_OF_THE_DEVICE] if not step.holds), None)
    if failed is not None:
        raise ReasonError(f"this is not what the device signed: {failed.name}: {failed.detail}")
    if not isinstance(event.body, model.PersonReport):
        raise ReasonError("this proof is of another event: save the one of the report, from its page")
    binding = Binding(school_id=statement.school_id, device_id=statement.device_id, epoch=statement.epoch)

    def opened(field: model.SealedField | None) -> str:
        if field is None:
            return ""
        context = FieldContext(binding=binding, event_id=event.id, category=field.category)
        try:
            return open_field(field, context, unwrap_key(field, context, private_key)).decode(
                "utf-8", "replace"
            )
        except SealingError as error:
            who = ", ".join(field.recipients) or "nobody"
            raise ReasonError(f"it does not open with this key: {error}; it is sealed to: {who}") from error

    body = event.body
    return Opened(number=body.reference, urgent=body.urgent, words=opened(body.words), who=opened(body.who))
