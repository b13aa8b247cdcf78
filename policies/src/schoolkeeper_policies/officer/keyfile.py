"""An officer's key file: two private keys of one person under a passphrase.

Text armour around JSON: who, which duty, and the two raw keys under scrypt (RFC 7914) and AES-256-GCM; the clear
part is the associated data, so that a duty cannot be edited in. Without a passphrase the file says so in capitals:
only the demonstration does that.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from schoolkeeper_proto.policy import OfficerKey
from schoolkeeper_proto.statements import Ed25519Signer, ed25519_key_id, key_id_of
from schoolkeeper_proto.trust import Duty

_BEGIN = "-----BEGIN SCHOOLKEEPER OFFICER KEY-----"
_END = "-----END SCHOOLKEEPER OFFICER KEY-----"
ROOT = "root"
"""What stands for a duty in the public part of a root key."""
_LOG_N = 17
_MAX_LOG_N = 20
MIN_PASSPHRASE = 12


class KeyFileError(ValueError):
    """A key file that cannot be read or opened; names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class OfficerKeys:
    """One person's keys. ``duty`` is what the root's map says about the signing key; "root" keys have none."""

    officer: str
    duty: Duty | None
    signing: Ed25519PrivateKey
    sealing: X25519PrivateKey
    root_sha256: bytes = b""
    """Hash of the school's first root, bound to the keys in the file; empty where the officer pins it by hand."""

    @property
    def signer(self) -> Ed25519Signer:
        return Ed25519Signer(self.signing)

    def public(self, duties: tuple[str, ...]) -> OfficerKey:
        """What a key statement says of this officer."""
        return OfficerKey(
            key_id=key_id_of(self.signing.public_key()),
            officer_id=self.officer,
            duties=duties,
            sealing_key=self.sealing.public_key().public_bytes_raw(),
            signing_key=self.signing.public_key().public_bytes_raw(),
        )

    def __repr__(self) -> str:
        return f"OfficerKeys({self.officer!r}, {self.duty!r}, <hidden>)"


def new_keys(officer: str, duty: Duty | None) -> OfficerKeys:
    return OfficerKeys(officer, duty, Ed25519PrivateKey.generate(), X25519PrivateKey.generate())


def write_public(keys: OfficerKeys, title: str) -> bytes:
    """What an officer hands in: public keys only. ``title`` is the word in the key statement ("dsl", ...).

    A root key's file is told apart by its duty: nobody can hand it in as an officer's, nor the other way round.
    """
    public = keys.public((title,))
    said = {
        "officer": keys.officer,
        "title": title,
        "duty": keys.duty.value if keys.duty else ROOT,
        "signing_key": public.signing_key.hex(),
        "sealing_key": public.sealing_key.hex(),
    }
    return json.dumps(said, indent=1).encode()


def read_public(path: Path) -> tuple[OfficerKey, Duty]:
    """(key, duty) of a file that an officer handed in. Raises ``KeyFileError``."""
    try:
        said = json.loads(path.read_bytes())
        signing = bytes.fromhex(said["signing_key"])
        sealing = bytes.fromhex(said["sealing_key"])
        if len(signing) != 32 or len(sealing) != 32:
            raise ValueError("a key does not have 32 bytes")
        key = OfficerKey(
            key_id=ed25519_key_id(signing),
            officer_id=str(said["officer"]),
            duties=(str(said["title"]),),
            sealing_key=sealing,
            signing_key=signing,
        )
        return key, Duty(said["duty"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KeyFileError(
            f"{path} is not what `schoolkeeper-officer keys public` writes ({error}): ask the officer for it again"
        ) from error


def read_public_root(path: Path) -> bytes:
    """The raw public key of a root key's file. Raises ``KeyFileError``."""
    try:
        said = json.loads(path.read_bytes())
        signing = bytes.fromhex(said["signing_key"])
        if said["duty"] != ROOT or len(signing) != 32:
            raise ValueError("it is not the public part of a root key")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KeyFileError(
            f"{path} is not what `schoolkeeper-officer keys public` writes for a root key ({error})"
        ) from error
    return signing


def check_passphrase(passphrase: str) -> None:
    if len(passphrase) < MIN_PASSPHRASE:
        raise KeyFileError(
            f"the passphrase has fewer than {MIN_PASSPHRASE} characters: use four or more words"
        )


def save_keys(path: Path, keys: OfficerKeys, passphrase: str | None) -> None:
    """Writes a new file that only its owner may read; raises ``KeyFileError`` when it exists already."""
    secret = keys.signing.private_bytes_raw() + keys.sealing.private_bytes_raw()
    head: dict[str, object] = {
        "officer": keys.officer,
        "duty": keys.duty.value if keys.duty else "",
        "version": 1,
        "key_id": key_id_of(keys.signing.public_key()).hex(),
    }
    if keys.root_sha256:
        head["root"] = keys.root_sha256.hex()
    if passphrase is None:
        body = {**head, "protection": "NONE - DEMONSTRATION ONLY", "secret": secret.hex()}
    else:
        check_passphrase(passphrase)
        salt, nonce = os.urandom(16), os.urandom(12)
        head |= {"protection": "scrypt-aes256gcm", "log_n": _LOG_N, "salt": salt.hex(), "nonce": nonce.hex()}
        sealed = AESGCM(_derive(passphrase, salt, _LOG_N)).encrypt(nonce, secret, _clear(head))
        body = {**head, "secret": sealed.hex()}
    encoded = base64.encodebytes(json.dumps(body).encode()).decode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists already and is not overwritten: choose another name") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{_BEGIN}\n{encoded}{_END}\n")
        file.flush()
        os.fsync(file.fileno())


def is_protected(path: Path) -> bool:
    """Whether a passphrase is needed to load the file."""
    return not str(_body(path).get("protection", "")).startswith("NONE")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHead:
    """What a key file says in clear: who, and which public key. Believed only once the file was opened."""

    officer: str
    duty: Duty | None
    key_id: bytes
    root_sha256: bytes


def read_head(path: Path) -> KeyHead:
    """Raises ``KeyFileError``. The key id of files made before it was written there is empty."""
    body = _body(path)
    try:
        return KeyHead(
            officer=str(body["officer"]),
            duty=Duty(str(body["duty"])) if body["duty"] else None,
            key_id=bytes.fromhex(str(body.get("key_id", ""))),
            root_sha256=bytes.fromhex(str(body.get("root", ""))),
        )
    except (KeyError, ValueError) as error:
        raise KeyFileError(f"{path} is damaged ({error}): use the second copy of this key") from error


def load_keys(path: Path, passphrase: str | None) -> OfficerKeys:
    """Raises ``KeyFileError`` with place and remedy: no file, no key file, no or a wrong passphrase."""
    body = _body(path)
    try:
        secret = bytes.fromhex(str(body.pop("secret")))
        if str(body["protection"]).startswith("NONE"):
            plain = secret
        else:
            if passphrase is None:
                raise KeyFileError(f"{path} is protected: its passphrase is needed")
            log_n = int(str(body["log_n"]))
            if log_n > _MAX_LOG_N:
                raise KeyFileError(f"{path} asks for more memory than any key file needs")
            key = _derive(passphrase, bytes.fromhex(str(body["salt"])), log_n)
            plain = AESGCM(key).decrypt(bytes.fromhex(str(body["nonce"])), secret, _clear(body))
        duty = Duty(str(body["duty"])) if body["duty"] else None
        return OfficerKeys(
            str(body["officer"]),
            duty,
            Ed25519PrivateKey.from_private_bytes(plain[:32]),
            X25519PrivateKey.from_private_bytes(plain[32:]),
            bytes.fromhex(str(body.get("root", ""))),
        )
    except InvalidTag as error:
        raise KeyFileError(f"{path} does not open: wrong passphrase, or the file was altered") from error
    except KeyFileError:
        raise
    except (KeyError, ValueError) as error:
        raise KeyFileError(f"{path} is damaged ({error}): use the second copy of this key") from error


def _body(path: Path) -> dict[str, object]:
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    _, begin, rest = text.partition(_BEGIN)
    encoded, end, _ = rest.partition(_END)
    try:
        if not begin or not end:
            raise ValueError("it is no officer's key file")
        return dict(json.loads(base64.b64decode(encoded)))
    except ValueError as error:
        raise KeyFileError(f"{path} cannot be read: {error}") from error


def _clear(head: dict[str, object]) -> bytes:
    return json.dumps(head, sort_keys=True).encode()


def _derive(passphrase: str, salt: bytes, log_n: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=1 << log_n, r=8, p=1).derive(passphrase.encode())
