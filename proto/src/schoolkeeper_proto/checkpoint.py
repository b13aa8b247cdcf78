"""C2SP signed notes and tlog checkpoints: what the ledger's key says about the ledger.

Formats: https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint (Ed25519, algorithm byte 1). The origin
names the school and the ledger's *generation*: a restore from backup opens the next one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_DASH = "\N{EM DASH}"
MAX_NOTE_BYTES = 16_384


class CheckpointError(ValueError):
    """A note that is malformed or not signed by a known key; says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """``root`` (32 bytes) of the first ``size`` leaves of the ledger that ``origin`` names."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def origin_of(school_id: str, generation: int) -> str:
    return f"{school_id}/ledger/{generation}"


def generation_of(origin: str) -> int:
    """The generation an origin names; raises ``CheckpointError`` when it names none."""
    _, _, number = origin.rpartition("/ledger/")
    if not number.isdecimal() or not number.isascii():
        raise CheckpointError(f"the checkpoint's origin {origin!r} names no generation")
    return int(number)


def note_key_id(name: str, public_key: bytes) -> bytes:
    """The 4-byte key id of a note signature: hash of name, newline, algorithm, key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def verifier_key(name: str, public_key: bytes) -> str:
    """The key as C2SP writes it: name, key id, base64 (which may itself contain '+')."""
    return f"{name}+{note_key_id(name, public_key).hex()}+{base64.b64encode(_ED25519 + public_key).decode()}"


def parse_verifier_key(text: str) -> tuple[str, bytes]:
    """(name, raw public key) of a C2SP verifier key; raises ``CheckpointError``."""
    parts = text.strip().split("+", 2)
    try:
        name, key_id, encoded = parts
        raw = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise CheckpointError(f"not a verifier key: {text[:80]!r}") from error
    if raw[:1] != _ED25519 or len(raw) != 33 or note_key_id(name, raw[1:]).hex() != key_id:
        raise CheckpointError(f"not an Ed25519 verifier key, or its id does not match: {text[:80]!r}")
    return name, raw[1:]


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The signed note of a checkpoint; the signature's name is the origin."""
    text = checkpoint.text()
    public = key.public_key().public_bytes_raw()
    blob = note_key_id(checkpoint.origin, public) + key.sign(text.encode())
    return f"{text}\n{_DASH} {checkpoint.origin} {base64.b64encode(blob).decode()}\n"


def verify(note: str, public_keys: Iterable[bytes]) -> Checkpoint:
    """The checkpoint of a note that one of the raw Ed25519 keys signed under the note's own origin.

    Raises ``CheckpointError``: malformed, or no signature by a known key. Unknown signatures (witnesses) are ignored.
    """
    checkpoint, signed, signatures = _parse(note)
    for public in public_keys:
        wanted = note_key_id(checkpoint.origin, public)
        for name, blob in signatures:
            if name == checkpoint.origin and blob[:4] == wanted and _valid(public, blob[4:], signed):
                return checkpoint
    raise CheckpointError(f"the checkpoint of {checkpoint.origin} is not signed by a known ledger key")


def parse(note: str) -> Checkpoint:
    """The checkpoint a note claims, unverified; raises ``CheckpointError`` when malformed."""
    return _parse(note)[0]


def _valid(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _parse(note: str) -> tuple[Checkpoint, bytes, list[tuple[str, bytes]]]:
    if len(note) > MAX_NOTE_BYTES:
        raise CheckpointError(f"the note is longer than {MAX_NOTE_BYTES} characters")
    text, separator, tail = note.rpartition("\n\n")
    lines = text.split("\n")
    if not separator or len(lines) < 3 or not note.endswith("\n"):
        raise CheckpointError("not a signed checkpoint: origin, size, root and a signature are needed")
    origin, size, encoded = lines[:3]
    if not origin or not (size.isascii() and size.isdecimal()) or (size != "0" and size.startswith("0")):
        raise CheckpointError(f"not a checkpoint: bad origin or size {size[:40]!r}")
    try:
        root = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise CheckpointError("not a checkpoint: the root is not base64") from error
    if len(root) != 32:
        raise CheckpointError(f"not a checkpoint: the root has {len(root)} bytes, not 32")
    return (
        Checkpoint(origin=origin, size=int(size), root=root),
        (text + "\n").encode(),
        [_signature(line) for line in tail.removesuffix("\n").split("\n")],
    )


def _signature(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH:
        raise CheckpointError(f"not a note signature: {line[:60]!r}")
    try:
        return parts[1], base64.b64decode(parts[2], validate=True)
    except ValueError as error:
        raise CheckpointError(f"not a note signature: {line[:60]!r}") from error
