"""``schoolkeeper-officer open-recovery-key``: the key of a stick that somebody encrypted on a school's device (T-44).

It is sealed to the technicians, and to nobody who protects children; the server that keeps it cannot read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_policies.officer.asking import guarded, open_keys
from schoolkeeper_policies.officer.signed_event import signed_event
from schoolkeeper_policies.reasons import ReasonError
from schoolkeeper_proto import model

_AGAIN = "write it again with `schoolkeeper-collector recovery-key NUMBER`"


def open_recovery_key_(
    file: Annotated[Path, typer.Argument(help="What `schoolkeeper-collector recovery-key NUMBER` wrote.")],
    key: Annotated[Path, typer.Option(help="The technician's key file.")],
) -> None:
    """Show the recovery key of an encrypted stick, for `cryptsetup open` or the desktop's own question."""
    keys = open_keys(key)
    number, found = guarded(
        lambda: recovery_key(file.read_text(encoding="utf-8", errors="replace"), keys.sealing)
    )
    typer.echo(
        f"The recovery key number {number}; it opens the stick as its owner's passphrase does:\n\n    {found}"
    )


def recovery_key(text: str, private_key: X25519PrivateKey) -> tuple[str, str]:
    """(number, key). Raises ``ReasonError`` that says what is wrong and the remedy."""
    signed = signed_event(text, _AGAIN)
    body = signed.event.body
    if not isinstance(body, model.MediumEncrypted) or body.recovery_key is None:
        raise ReasonError(f"this proof is of another event: {_AGAIN}")
    return body.reference, signed.opened(body.recovery_key, private_key)
