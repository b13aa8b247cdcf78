"""A passkey in a few lines, written from W3C WebAuthn Level 3 (§5.8.1, §6.1, §6.5): what a test's browser brings.

Every part can be made wrong by name, which a real authenticator would not do.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from schoolkeeper_policies.officer.passkey import to_text

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
UP, UV, AT = 1, 4, 64


def _p256() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Authenticator:
    origin: str
    key: PrivateKey = field(default_factory=_p256)
    credential_id: bytes = field(default_factory=lambda: os.urandom(32))
    prf_seed: bytes = field(default_factory=lambda: os.urandom(32))
    rp_id: str = "localhost"
    flags: int = UP | UV
    cross_origin: bool = False

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def create(self, challenge: bytes, **wrong: str) -> dict[str, str]:
        attested = bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + b"\xa0"
        made = {
            "id": to_text(self.credential_id),
            "clientData": to_text(self._client("webauthn.create", challenge)),
            "authenticatorData": to_text(self._data(self.flags | AT) + attested),
            "publicKey": to_text(self.public_key),
        }
        return {**made, **wrong}

    def get(self, challenge: bytes, salt: bytes, **wrong: str) -> dict[str, str]:
        client, data = self._client("webauthn.get", challenge), self._data(self.flags)
        answered = {
            "id": to_text(self.credential_id),
            "clientData": to_text(client),
            "authenticatorData": to_text(data),
            "signature": to_text(self._sign(data + hashlib.sha256(client).digest())),
            # §10.1.4: the salt is hashed with a prefix first; CTAP's hmac-secret answers an HMAC.
            "secret": to_text(hmac.digest(self.prf_seed, b"WebAuthn PRF\x00" + salt, "sha256")),
        }
        return {**answered, **wrong}

    def added(self, challenge: bytes, salt: bytes) -> str:
        """What the page's script puts into the form that adds a passkey."""
        return json.dumps({"created": self.create(challenge), "got": self.get(challenge, salt)})

    def answer(self, challenge: bytes, salt: bytes, **wrong: str) -> str:
        """The same for a form that a passkey opens."""
        return json.dumps({"got": self.get(challenge, salt, **wrong)})

    def _client(self, kind: str, challenge: bytes) -> bytes:
        said = {
            "type": kind,
            "challenge": to_text(challenge),
            "origin": self.origin,
            "crossOrigin": self.cross_origin,
        }
        return json.dumps(said).encode()

    def _data(self, flags: int) -> bytes:
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + bytes(4)

    def _sign(self, data: bytes) -> bytes:
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(data, ec.ECDSA(hashes.SHA256()))
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(data)
