"""The ways that open a key file: each wraps the file's one key, under a passphrase or a passkey's secret.

scrypt (RFC 7914) or HKDF makes the wrapping key, AES-256-GCM wraps. What a way says in clear, and whose file it is in,
is the associated data: a way that was edited, or taken from another file, opens nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from schoolkeeper_policies.officer import passkey
from schoolkeeper_policies.officer.passkey import Passkey

LOG_N = 17
MAX_LOG_N = 20
MAX_WAYS = 12
Clear = dict[str, object]


class WayError(ValueError):
    """A way that cannot be read or used; the key file's own error names the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassphraseWay:
    """``log_n``: scrypt's cost as a power of two, with r = 8, p = 1."""

    log_n: int
    salt: bytes
    nonce: bytes
    wrapped: bytes

    def clear(self) -> Clear:
        return {"kind": "passphrase", "log_n": self.log_n, "salt": self.salt.hex(), "nonce": self.nonce.hex()}

    def open(self, owner: Clear, passphrase: str) -> bytes:
        """The file's key. Raises ``InvalidTag``, or ``WayError`` for a cost that no file of ours has."""
        return _unwrap(derive(passphrase, self.salt, self.log_n), self, owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class PasskeyWay:
    """``added``: the day, for people."""

    passkey: Passkey
    added: str
    nonce: bytes
    wrapped: bytes

    def clear(self) -> Clear:
        return {
            "kind": "passkey",
            "name": self.passkey.name,
            "added": self.added,
            "credential_id": self.passkey.credential_id.hex(),
            "public_key": self.passkey.public_key.hex(),
            "salt": self.passkey.salt.hex(),
            "nonce": self.nonce.hex(),
        }

    def open(self, owner: Clear, secret: bytes) -> bytes:
        """The file's key, for the secret that ``passkey.check_answer`` gave. Raises ``InvalidTag``."""
        return _unwrap(passkey.wrapping_key(secret, self.passkey, _key_id(owner)), self, owner)


Way = PassphraseWay | PasskeyWay


def new_file_key() -> bytes:
    return os.urandom(32)


def derive(passphrase: str, salt: bytes, log_n: int) -> bytes:
    if not 1 <= log_n <= MAX_LOG_N:
        raise WayError("asks for more memory than any key file needs")
    return Scrypt(salt=salt, length=32, n=1 << log_n, r=8, p=1).derive(passphrase.encode())


def by_passphrase(owner: Clear, file_key: bytes, passphrase: str) -> PassphraseWay:
    bare = PassphraseWay(log_n=LOG_N, salt=os.urandom(16), nonce=os.urandom(12), wrapped=b"")
    wrapping = derive(passphrase, bare.salt, bare.log_n)
    sealed = AESGCM(wrapping).encrypt(bare.nonce, file_key, _bound(bare, owner))
    return PassphraseWay(log_n=bare.log_n, salt=bare.salt, nonce=bare.nonce, wrapped=sealed)


def by_passkey(owner: Clear, file_key: bytes, held: Passkey, secret: bytes, added: str) -> PasskeyWay:
    bare = PasskeyWay(passkey=held, added=added, nonce=os.urandom(12), wrapped=b"")
    wrapping = passkey.wrapping_key(secret, held, _key_id(owner))
    sealed = AESGCM(wrapping).encrypt(bare.nonce, file_key, _bound(bare, owner))
    return PasskeyWay(passkey=held, added=added, nonce=bare.nonce, wrapped=sealed)


def written(ways: Iterable[Way]) -> list[Clear]:
    return [{**way.clear(), "wrapped": way.wrapped.hex()} for way in ways]


def read(said: object) -> tuple[Way, ...]:
    """Raises ``WayError``."""
    if not isinstance(said, list) or not 0 < len(said) <= MAX_WAYS:
        raise WayError("does not say how it opens")
    try:
        return tuple(_read(one) for one in said)
    except (KeyError, ValueError, TypeError) as error:
        raise WayError(f"says in a way that is not known how it opens ({error})") from error


def _read(one: dict[str, object]) -> Way:
    def raw(name: str) -> bytes:
        return bytes.fromhex(str(one[name]))

    if one["kind"] == "passphrase":
        return PassphraseWay(
            log_n=int(str(one["log_n"])), salt=raw("salt"), nonce=raw("nonce"), wrapped=raw("wrapped")
        )
    if one["kind"] != "passkey":
        raise ValueError(f"{str(one['kind'])[:40]!r} needs a newer version of this program")
    held = Passkey(
        credential_id=raw("credential_id"),
        public_key=raw("public_key"),
        salt=raw("salt"),
        name=str(one["name"]),
    )
    return PasskeyWay(passkey=held, added=str(one["added"]), nonce=raw("nonce"), wrapped=raw("wrapped"))


def _unwrap(wrapping: bytes, way: Way, owner: Clear) -> bytes:
    return AESGCM(wrapping).decrypt(way.nonce, way.wrapped, _bound(way, owner))


def _bound(way: Way, owner: Clear) -> bytes:
    return json.dumps([owner, way.clear()], sort_keys=True).encode()


def _key_id(owner: Clear) -> bytes:
    return bytes.fromhex(str(owner["key_id"]))
