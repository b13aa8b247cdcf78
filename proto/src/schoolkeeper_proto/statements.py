"""What is signed, by whom, and what a ledger leaf is. Pure: bytes and keys in, bytes or an error out.

Every signature covers a *domain* and the statement's exact bytes, so that a signature over one kind of statement
can never be shown as one over another. Devices sign with ECDSA P-256 (FIPS 186-5, SHA-256), the school's
services and officers with Ed25519 (RFC 8032).
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from schoolkeeper_proto import merkle, wire
from schoolkeeper_proto.codec import decode, encode

BATCH = "batch"
TIME = "time"
COMMAND = "command"
GRANT = "grant"
RENEWAL = "renewal"
RECOVERY = "recovery"

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class StatementError(ValueError):
    """A statement that does not verify; says which and why."""


class Signer(Protocol):
    """A private key that may live in a file, a TPM or a token: all it does is sign."""

    @property
    def key_id(self) -> bytes:
        """SHA-256 of the public key's SubjectPublicKeyInfo, 32 bytes."""

    @property
    def public_key(self) -> PublicKey: ...

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message`` (ECDSA: DER; Ed25519: 64 bytes)."""


class P256Signer:
    """A device key held in memory."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self._public = key.public_key()
        self._key_id = key_id_of(self._public)

    @property
    def key_id(self) -> bytes:
        return self._key_id

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message, ec.ECDSA(hashes.SHA256()))


class Ed25519Signer:
    """A service's or an officer's key held in memory."""

    def __init__(self, key: ed25519.Ed25519PrivateKey) -> None:
        self._key = key
        self._public = key.public_key()
        self._key_id = key_id_of(self._public)

    @property
    def key_id(self) -> bytes:
        return self._key_id

    @property
    def public_key(self) -> ed25519.Ed25519PublicKey:
        return self._public

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def key_id_of(public_key: PublicKey) -> bytes:
    """SHA-256 over the DER SubjectPublicKeyInfo (RFC 5280), 32 bytes."""
    der = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest()


def ed25519_key_id(raw: bytes) -> bytes:
    """The key id of a raw Ed25519 public key."""
    return key_id_of(ed25519.Ed25519PublicKey.from_public_bytes(raw))


def sign(domain: str, statement: bytes, signer: Signer) -> wire.Signature:
    return wire.Signature(key_id=signer.key_id, signature=signer.sign(signed_bytes(domain, statement)))


def signed_bytes(domain: str, statement: bytes) -> bytes:
    """What a signature of this domain covers."""
    return b"schoolkeeper/" + domain.encode() + b"/v1\x00" + statement


def verify(domain: str, statement: bytes, signature: bytes, public_key: PublicKey) -> None:
    """Raises ``StatementError`` unless ``signature`` is the key's over this domain and statement."""
    message = signed_bytes(domain, statement)
    try:
        if isinstance(public_key, ec.EllipticCurvePublicKey):
            public_key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        else:
            public_key.verify(signature, message)
    except InvalidSignature as error:
        raise StatementError(f"the {domain} statement's signature is not valid for its key") from error


def sign_time(school_id: str, unix_ms: int, signer: Signer) -> wire.SignedTime:
    statement = encode(wire.TimeStatement(school_id=school_id, unix_ms=unix_ms))
    signature = sign(TIME, statement, signer)
    return wire.SignedTime(statement=statement, key_id=signature.key_id, signature=signature.signature)


def verify_time(time: wire.SignedTime, school_id: str, command_keys: dict[bytes, bytes]) -> int:
    """The signed Unix time in milliseconds; ``command_keys`` maps key id to raw Ed25519 key."""
    raw = command_keys.get(time.key_id)
    if raw is None:
        raise StatementError("the time is not signed by a known command key")
    verify(TIME, time.statement, time.signature, ed25519.Ed25519PublicKey.from_public_bytes(raw))
    statement = decode(wire.TimeStatement, time.statement)
    if statement.school_id != school_id:
        raise StatementError(f"the time is of another school: {statement.school_id!r}")
    return statement.unix_ms


def leaf_bytes(entry: wire.LedgerEntry) -> bytes:
    """The RFC 6962 leaf data of a ledger entry."""
    return encode(entry)


def batch_entry(statement: bytes, signature: wire.Signature) -> wire.LedgerEntry:
    return wire.LedgerEntry(type=wire.StatementType.BATCH, statement=statement, signatures=(signature,))


def event_leaf(salt: bytes, event: bytes) -> bytes:
    """The commitment of one event within its frame: RFC 6962 leaf hash of salt and event bytes."""
    return merkle.leaf_hash(salt + event)


def chain_value(header: bytes) -> bytes:
    """A lane's chain after the frame with this header; the header holds the value before."""
    return hashlib.sha256(b"schoolkeeper/chain/v1\x00" + header).digest()
