"""Ingest keys in escrow: any two officers together can open what devices still hold if the collector is lost."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from schoolkeeper_collector.school.files import write_file
from schoolkeeper_collector.school.keys import ingest_key_id
from schoolkeeper_proto import model, policy, sealing
from schoolkeeper_proto.codec import encode


def escrow_context(school_id: str, key_id: bytes) -> sealing.FieldContext:
    """What an escrowed key is bound to: the school and the key's own id; no device and no epoch."""
    return sealing.FieldContext(
        binding=sealing.Binding(school_id=school_id, device_id=bytes(16), epoch=bytes(16)),
        event_id=key_id[:16],
        category="escrow",
    )


def put_in_escrow(
    folder: Path, school_id: str, key: X25519PrivateKey, officers: Iterable[policy.OfficerKey]
) -> Path:
    """Writes ``ingest-<key id>.sealed`` into ``folder``: a SealedField of the scheme any-two."""
    recipients = [
        sealing.Recipient(name=o.officer_id, public_key=X25519PublicKey.from_public_bytes(o.sealing_key))
        for o in officers
    ]
    key_id = ingest_key_id(key)
    field = sealing.seal_field(
        key.private_bytes_raw(), model.SealingScheme.ANY_TWO, recipients, escrow_context(school_id, key_id)
    )
    path = folder / f"ingest-{key_id.hex()}.sealed"
    write_file(path, encode(field))
    return path
