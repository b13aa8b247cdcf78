"""An officer's key file: two private keys of one person, locked.

Text armour around JSON: who, which duty, and the two raw keys under AES-256-GCM with a key of the file's own, which
each way that opens it wraps (``ways.py``: a passphrase, and passkeys beside it). The clear part is the associated data,
so that a duty cannot be edited in. Without a passphrase the file says so in capitals: only the demonstration does that.
Files of version 1 know one passphrase and no passkey; they are read, and written as version 2 when a way is added.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schoolkeeper_policies.filekinds import wrong_kind
from schoolkeeper_policies.officer import ways
from schoolkeeper_policies.officer.exposure import exposed
from schoolkeeper_policies.officer.ways import PasskeyWay, PassphraseWay, Way, WayError
from schoolkeeper_proto.policy import OfficerKey
from schoolkeeper_proto.statements import Ed25519Signer, ed25519_key_id, key_id_of
from schoolkeeper_proto.trust import Duty

_BEGIN = "-----BEGIN SCHOOLKEEPER OFFICER KEY-----"
_END = "-----END SCHOOLKEEPER OFFICER KEY-----"
ROOT = "root"
"""What stands for a duty in the public part of a root key."""
_WAYS = "ways-aes256gcm"
_OWNER = frozenset({"officer", "duty", "version", "key_id", "root"})
MIN_PASSPHRASE = 12
Body = dict[str, object]


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
    data = _handed_in(path)
    try:
        said = json.loads(data)
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
    except (ValueError, KeyError, TypeError) as error:
        wanted = "the public part of an officer's keys"
        remedy = "ask the officer for what `schoolkeeper-officer keys public` writes"
        raise KeyFileError(wrong_kind(str(path), wanted, data, remedy)) from error


def read_public_root(path: Path) -> bytes:
    """The raw public key of a root key's file. Raises ``KeyFileError``."""
    data = _handed_in(path)
    try:
        said = json.loads(data)
        signing = bytes.fromhex(said["signing_key"])
        if said["duty"] != ROOT or len(signing) != 32:
            raise ValueError("it is not the public part of a root key")
    except (ValueError, KeyError, TypeError) as error:
        wanted = "the public part of a root key"
        remedy = "take what `schoolkeeper-officer keys public` writes of a key made with --root"
        raise KeyFileError(wrong_kind(str(path), wanted, data, remedy)) from error
    return signing


def _handed_in(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(
            f"{path} cannot be read ({error.strerror}): name the file that `keys public` wrote"
        ) from error


def check_passphrase(passphrase: str) -> None:
    if len(passphrase) < MIN_PASSPHRASE:
        raise KeyFileError(
            f"the passphrase has fewer than {MIN_PASSPHRASE} characters: use four or more words"
        )


def save_keys(path: Path, keys: OfficerKeys, passphrase: str | None) -> None:
    """Writes a new file that only its owner may read; raises ``KeyFileError`` when it exists already."""
    if passphrase is None:
        secret = keys.signing.private_bytes_raw() + keys.sealing.private_bytes_raw()
        _write_new(
            path, {**owner_of(keys), "protection": "NONE - DEMONSTRATION ONLY", "secret": secret.hex()}
        )
        return
    check_passphrase(passphrase)
    file_key = ways.new_file_key()
    _write_new(path, locked(keys, file_key, (ways.by_passphrase(owner_of(keys), file_key, passphrase),)))


def owner_of(keys: OfficerKeys) -> Body:
    """Whose file it is: what every way is bound to."""
    owner: Body = {
        "officer": keys.officer,
        "duty": keys.duty.value if keys.duty else "",
        "version": 2,
        "key_id": key_id_of(keys.signing.public_key()).hex(),
    }
    if keys.root_sha256:
        owner["root"] = keys.root_sha256.hex()
    return owner


def locked(keys: OfficerKeys, file_key: bytes, held: tuple[Way, ...]) -> Body:
    """A file's body: the keys under the file's key, and the ways that open it."""
    secret = keys.signing.private_bytes_raw() + keys.sealing.private_bytes_raw()
    nonce = os.urandom(12)
    head: Body = {**owner_of(keys), "protection": _WAYS, "nonce": nonce.hex()}
    sealed = AESGCM(file_key).encrypt(nonce, secret, _clear(head))
    return {**head, "secret": sealed.hex(), "ways": ways.written(held)}


def replace(path: Path, body: Body) -> None:
    """Puts a changed body in the file's place, whole or not at all. Raises ``KeyFileError``."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        _write_new(new, body)
        new.replace(path)
    except OSError as error:
        raise KeyFileError(
            f"{path} was not changed: {error.strerror}; is the stick full or locked?"
        ) from error


def _write_new(path: Path, body: Body) -> None:
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
    return opened(path, passphrase)[0]


def opened(path: Path, passphrase: str | None) -> tuple[OfficerKeys, bytes]:
    """The keys, and the file's key (empty for a file that has none of its own). Raises ``KeyFileError``."""
    body = _body(path)
    with _faults(path, "wrong passphrase"):
        if str(body["protection"]).startswith("NONE"):
            return _keys_of(body, bytes.fromhex(str(body["secret"]))), b""
        if passphrase is None:
            raise KeyFileError(f"{path} is protected: its passphrase is needed")
        if body["protection"] != _WAYS:
            return _keys_of(body, _first_form(body, passphrase)), b""
        way = next(way for way in ways.read(body["ways"]) if isinstance(way, PassphraseWay))
        return _unlocked(body, way.open(_owner(body), passphrase))
    raise AssertionError("unreachable")


def opened_by_passkey(path: Path, way_id: str, secret: bytes) -> tuple[OfficerKeys, bytes]:
    """As ``opened``, by the secret that ``passkey.check_answer`` gave. Raises ``KeyFileError``."""
    body = _body(path)
    with _faults(path, "the passkey gave another secret than when it was added"):
        for way in ways.read(body.get("ways")):
            if isinstance(way, PasskeyWay) and way.passkey.way_id == way_id:
                return _unlocked(body, way.open(_owner(body), secret))
    raise KeyFileError(f"{path} has no such passkey: use another, or the passphrase")


def ways_of(path: Path) -> tuple[Way, ...]:
    """How the file opens; empty for a demonstration's, and for the first form with its one passphrase."""
    body = _body(path)
    if body.get("protection") != _WAYS:
        return ()
    with _faults(path, ""):
        return ways.read(body["ways"])
    raise AssertionError("unreachable")


def _first_form(body: Body, passphrase: str) -> bytes:
    """The secret of a file of version 1, whose passphrase locks the keys themselves."""
    key = ways.derive(passphrase, bytes.fromhex(str(body["salt"])), int(str(body["log_n"])))
    head = {name: value for name, value in body.items() if name != "secret"}
    sealed = bytes.fromhex(str(body["secret"]))
    return AESGCM(key).decrypt(bytes.fromhex(str(body["nonce"])), sealed, _clear(head))


def _unlocked(body: Body, file_key: bytes) -> tuple[OfficerKeys, bytes]:
    head = {name: value for name, value in body.items() if name not in ("secret", "ways")}
    nonce, sealed = bytes.fromhex(str(body["nonce"])), bytes.fromhex(str(body["secret"]))
    return _keys_of(body, AESGCM(file_key).decrypt(nonce, sealed, _clear(head))), file_key


def _owner(body: Body) -> Body:
    return {name: value for name, value in body.items() if name in _OWNER}


def _keys_of(body: Body, plain: bytes) -> OfficerKeys:
    return OfficerKeys(
        str(body["officer"]),
        Duty(str(body["duty"])) if body["duty"] else None,
        Ed25519PrivateKey.from_private_bytes(plain[:32]),
        X25519PrivateKey.from_private_bytes(plain[32:]),
        bytes.fromhex(str(body.get("root", ""))),
    )


@contextmanager
def _faults(path: Path, wrong: str) -> Iterator[None]:
    """What goes wrong inside, as a ``KeyFileError`` with the file and the remedy."""
    try:
        yield
    except InvalidTag as error:
        raise KeyFileError(f"{path} does not open: {wrong}, or the file was altered") from error
    except KeyFileError:
        raise
    except WayError as error:
        raise KeyFileError(f"{path} {error}") from error
    except (KeyError, ValueError, TypeError, StopIteration) as error:
        raise KeyFileError(f"{path} is damaged ({error}): use the second copy of this key") from error


def _body(path: Path) -> Body:
    try:
        data = path.read_bytes()
        open_to_others = exposed(path)
    except OSError as error:
        raise KeyFileError(
            f"{path} cannot be read ({error.strerror}): put in the stick, and name the file that `keys new` wrote"
        ) from error
    text = data.decode(errors="replace")
    _, begin, rest = text.partition(_BEGIN)
    encoded, end, _ = rest.partition(_END)
    if not begin or not end:
        remedy = "name the file that `keys new` wrote, on your stick"
        raise KeyFileError(wrong_kind(str(path), "an officer's key file", data, remedy))
    if open_to_others:
        raise KeyFileError(
            f"{path} can be read by other accounts of this machine: run `chmod 600 {path}`; if somebody may have "
            "copied it, have this key replaced"
        )
    try:
        return dict(json.loads(base64.b64decode(encoded)))
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{path} is damaged ({error}): use the second copy of this key") from error


def _clear(head: Body) -> bytes:
    return json.dumps(head, sort_keys=True).encode()
