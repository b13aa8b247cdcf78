"""Commands from the collector: verified, for this device, in time, and each obeyed once. Pure."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.policy import KeyStatement

REMEMBERED = 256


class OrderRefused(Exception):
    """A command that is not obeyed; the message says why."""


def command(
    sent: wire.Command, keys: KeyStatement, device_id: bytes, believed_ms: int
) -> wire.CommandStatement:
    """The statement of a command that is to be obeyed; ``believed_ms`` is Unix time as far as it can be trusted."""
    raw = next((key.public_key for key in keys.command_keys if key.key_id == sent.key_id), None)
    if raw is None:
        raise OrderRefused("the command is not signed by a known command key")
    try:
        statements.verify(
            statements.COMMAND, sent.statement, sent.signature, Ed25519PublicKey.from_public_bytes(raw)
        )
        statement = decode(wire.CommandStatement, sent.statement)
    except (statements.StatementError, WireFormatError, ValueError) as error:
        raise OrderRefused(str(error)) from error
    if statement.school_id != keys.school_id or statement.device_id != device_id:
        raise OrderRefused("the command is for another school or device")
    if believed_ms >= statement.expires_unix_ms:
        raise OrderRefused("the command has expired")
    if statement.order is None:
        raise OrderRefused("the command is of a kind that this agent does not know: update the agent")
    return statement
