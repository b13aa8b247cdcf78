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
from schoolkeeper_policies.officer.signed_event import signed_event
from schoolkeeper_policies.reasons import ReasonError
from schoolkeeper_proto import model


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
    signed = signed_event(text, "save the proof of the report's event again, from its page")
    body = signed.event.body
    if not isinstance(body, model.PersonReport):
        raise ReasonError("this proof is of another event: save the one of the report, from its page")
    words, who = (
        "" if field is None else signed.opened(field, private_key) for field in (body.words, body.who)
    )
    return Opened(number=body.reference, urgent=body.urgent, words=words, who=who)
