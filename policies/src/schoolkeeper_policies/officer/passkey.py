"""A passkey that opens a key file: what a browser brings back, checked (W3C Web Authentication Level 3). Pure.

The secret comes from the PRF extension (§10.1.4; FIDO's hmac-secret): a passkey answers 32 bytes for a salt, the same
each time, and only after it has verified the person. HKDF (RFC 5869) makes the key of it that wraps the file's key.
Everything else that is checked here (challenge, origin, signature) keeps an answer that was overheard, or given to
another page, from being used a second time; without the secret no check would help, and with it none is needed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import assert_never

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_der_public_key

RP_ID = "localhost"
"""Passkeys belong to a name; every loopback page of this machine has this one, whatever its port."""
SECRET_BYTES = 32
MAX_NAME = 60
_MAX_SAID = 1 << 14
_USER_PRESENT, _USER_VERIFIED, _CREDENTIAL_INCLUDED = 0x01, 0x04, 0x40
_PURPOSE = b"schoolkeeper officer key file, passkey"

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


class PasskeyError(ValueError):
    """What the browser brought is not taken; nothing was opened or changed. Says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passkey:
    """What a key file says of a passkey, in clear. ``public_key``: SubjectPublicKeyInfo, DER."""

    credential_id: bytes
    public_key: bytes
    salt: bytes
    name: str

    @property
    def way_id(self) -> str:
        """Short and the same each time: for people and forms."""
        return hashlib.sha256(self.credential_id).hexdigest()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """``navigator.credentials.create``: a new passkey."""

    credential_id: bytes
    client_data: bytes
    authenticator_data: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``navigator.credentials.get``: a passkey's signature, and the secret that the PRF extension gave."""

    credential_id: bytes
    client_data: bytes
    authenticator_data: bytes
    signature: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"Answer({self.credential_id.hex()[:12]}, <hidden>)"


def read_answer(text: str) -> Answer:
    """The ``got`` part of what the page's script put into the form. Raises ``PasskeyError``."""
    fields = _fields(text, "got", ("id", "clientData", "authenticatorData", "signature", "secret"))
    if len(fields["secret"]) != SECRET_BYTES:
        raise PasskeyError("the passkey gave no secret of the right length: use the passphrase")
    return Answer(
        credential_id=fields["id"],
        client_data=fields["clientData"],
        authenticator_data=fields["authenticatorData"],
        signature=fields["signature"],
        secret=fields["secret"],
    )


def read_created(text: str) -> Created:
    """The ``created`` part. Raises ``PasskeyError``."""
    fields = _fields(text, "created", ("id", "clientData", "authenticatorData", "publicKey"))
    return Created(
        credential_id=fields["id"],
        client_data=fields["clientData"],
        authenticator_data=fields["authenticatorData"],
        public_key=fields["publicKey"],
    )


def check_created(found: Created, *, challenge: bytes, origin: str) -> None:
    """§7.1, without attestation: who made the key does not matter here. Raises ``PasskeyError``."""
    _check_client(found.client_data, "webauthn.create", challenge, origin)
    data = found.authenticator_data
    _check_authenticator(data)
    if not data[32] & _CREDENTIAL_INCLUDED or len(data) < 55:
        raise PasskeyError("the browser brought no new passkey: try again")
    size = int.from_bytes(data[53:55], "big")
    if not 0 < size <= 1023 or data[55 : 55 + size] != found.credential_id:
        raise PasskeyError("the browser brought the data of another passkey: try again")
    _public_key(found.public_key)


def check_answer(found: Answer, passkey: Passkey, *, challenge: bytes, origin: str) -> bytes:
    """The secret, once everything about the answer was verified (§7.2). Raises ``PasskeyError``."""
    if found.credential_id != passkey.credential_id:
        raise PasskeyError("this passkey is not one of this key file: use another, or the passphrase")
    _check_client(found.client_data, "webauthn.get", challenge, origin)
    _check_authenticator(found.authenticator_data)
    signed = found.authenticator_data + hashlib.sha256(found.client_data).digest()
    try:
        _verify(_public_key(passkey.public_key), found.signature, signed)
    except InvalidSignature as error:
        raise PasskeyError("the passkey's signature is not valid: use the passphrase") from error
    return found.secret


def wrapping_key(secret: bytes, passkey: Passkey, key_id: bytes) -> bytes:
    """The AES-256 key that wraps this key file's own key, for this passkey alone."""
    info = b"".join(len(part).to_bytes(2, "big") + part for part in (_PURPOSE, key_id, passkey.credential_id))
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=passkey.salt, info=info).derive(secret)


def salt_for(challenge: bytes) -> bytes:
    """The salt that a passkey is asked for from now on, made of the question at which it was added."""
    return hashlib.sha256(b"schoolkeeper officer passkey salt" + challenge).digest()


def challenge_in(client_data: bytes) -> bytes:
    """Which question is answered; empty where none can be read, which is then none of ours."""
    try:
        return to_bytes(str(json.loads(client_data)["challenge"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return b""


def to_text(raw: bytes) -> str:
    """base64url without padding, as WebAuthn writes bytes."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def to_bytes(text: str) -> bytes:
    """Raises ``ValueError``."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def check_name(name: str) -> str:
    """How people will know the passkey again. Raises ``PasskeyError``."""
    said = " ".join(name.split())
    if not said or len(said) > MAX_NAME or not said.isprintable():
        raise PasskeyError(f"name the passkey, with 1 to {MAX_NAME} characters: 'blue key', 'my laptop'")
    return said


def _fields(text: str, part: str, names: tuple[str, ...]) -> dict[str, bytes]:
    if not text:
        raise PasskeyError(
            "no passkey was asked for: this needs JavaScript and a browser with passkeys; the passphrase works without"
        )
    try:
        if len(text) > _MAX_SAID:
            raise ValueError("it is too long")
        said = json.loads(text)[part]
        return {name: to_bytes(str(said[name])) for name in names}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PasskeyError(
            f"what the browser brought is no passkey's answer ({error!r}): try again"
        ) from error


def _check_client(data: bytes, kind: str, challenge: bytes, origin: str) -> None:
    """§5.8.1: the browser's own word on who asked for what."""
    try:
        said = json.loads(data)
        given = (said["type"], said["origin"], bool(said.get("crossOrigin")))
        answered = to_bytes(str(said["challenge"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PasskeyError("what the browser says about its question cannot be read: try again") from error
    if given[0] != kind:
        raise PasskeyError(f"the browser answered another question ({str(given[0])[:40]!r}): try again")
    if not hmac.compare_digest(answered, challenge):
        raise PasskeyError("the answer is to an older question: load the page again and repeat")
    if given[1] != origin or given[2]:
        raise PasskeyError(
            f"the passkey was asked by {str(given[1])[:80]!r} and not by this page: nothing was opened"
        )


def _check_authenticator(data: bytes) -> None:
    """§6.1: for this name, with the person present and verified."""
    if len(data) < 37 or data[:32] != hashlib.sha256(RP_ID.encode()).digest():
        raise PasskeyError(f"the passkey answered for another name than {RP_ID}: try again")
    if not data[32] & _USER_PRESENT or not data[32] & _USER_VERIFIED:
        raise PasskeyError(
            "the passkey did not verify who you are: set a PIN or a fingerprint on it, or use the passphrase"
        )


def _public_key(der: bytes) -> PublicKey:
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PasskeyError("the passkey's public key cannot be read: use another passkey") from error
    if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        return key
    raise PasskeyError("this kind of passkey is not known here: use another, or the passphrase")


def _verify(key: PublicKey, signature: bytes, signed: bytes) -> None:
    """ES256, EdDSA or RS256, the three that the page asks for. Raises ``InvalidSignature``."""
    match key:
        case ec.EllipticCurvePublicKey():
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
        case ed25519.Ed25519PublicKey():
            key.verify(signature, signed)
        case rsa.RSAPublicKey():
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        case _:
            assert_never(key)
