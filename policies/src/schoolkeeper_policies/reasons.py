"""Why one person has an override: sealed to the people who protect children, in a file of their own beside the pack.

The pack and the bundle carry ``reason_hash`` alone: SHA-256 over 16 random bytes and the words, so that the words can
be shown to be those that were decided on, and cannot be guessed from the hash (W-61). Whoever of the named officers
opens the file reads them; a technician and the server cannot.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from schoolkeeper_policies.filekinds import wrong_kind
from schoolkeeper_policies.registers import Register
from schoolkeeper_proto import sealing
from schoolkeeper_proto.codec import WireFormatError, decode, encode
from schoolkeeper_proto.model import SealedField, SealingScheme
from schoolkeeper_proto.people import MEMBER_BYTES, account_pseudonym
from schoolkeeper_proto.policy import KeyStatement

READERS: Final = frozenset({"dsl", "deputy-dsl", "senco"})
_SALT_BYTES = 16
_CATEGORY = "override-reason"
_FORMAT = 1


class ReasonError(ValueError):
    """A reason that cannot be sealed or opened; says why and what helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedReason:
    """``hash`` goes into the override as ``reason_hash``; ``file`` is the text of the sealed file."""

    hash: str
    file: str


def readers_of(keys: KeyStatement) -> list[sealing.Recipient]:
    """The officers who may read such a reason, by their duties in the school's signed key statement."""
    return [
        sealing.Recipient(
            name=officer.officer_id, public_key=X25519PublicKey.from_public_bytes(officer.sealing_key)
        )
        for officer in keys.officers
        if READERS & set(officer.duties)
    ]


def pseudonym_of(register: Register, person_id: str, pseudonym_key: bytes) -> str:
    """The ``pseudonym`` of an override, so that the pack does not say who it is about; raises ``ReasonError``."""
    person = register.by_id(person_id)
    if person is None:
        raise ReasonError(
            f"the register has nobody with the id {person_id!r}: look it up in the register's file"
        )
    return account_pseudonym(pseudonym_key, person.account)[:MEMBER_BYTES].hex()


def seal_reason(
    words: str, *, override_id: str, school_id: str, recipients: Iterable[sealing.Recipient]
) -> SealedReason:
    """Seals the words to any one of the recipients; raises ``ReasonError``."""
    to = list(recipients)
    if not words.strip():
        raise ReasonError("the reason is empty: say in a sentence why this is decided")
    if not to:
        raise ReasonError(
            "no officer with the duty dsl, deputy-dsl or senco has a sealing key: enrol one first"
        )
    plain = secrets.token_bytes(_SALT_BYTES) + words.strip().encode()
    sealed = sealing.seal_field(plain, SealingScheme.ANY_ONE, to, _context(override_id, school_id))
    document = {
        "format": _FORMAT,
        "override": override_id,
        "school": school_id,
        "hash": hashlib.sha256(plain).hexdigest(),
        "readers": sorted(one.name for one in to),
        "sealed": base64.b64encode(encode(sealed)).decode(),
    }
    return SealedReason(hash=str(document["hash"]), file=json.dumps(document, indent=1) + "\n")


def open_reason(file: str, *, reason_hash: str, private_key: X25519PrivateKey) -> str:
    """The words, if they are those that the override's ``reason_hash`` stands for; raises ``ReasonError``."""
    try:
        document = json.loads(file)
        if document["format"] != _FORMAT:
            raise ReasonError(
                f"the file's format is {document['format']!r}, not {_FORMAT}: update this program"
            )
        field = decode(SealedField, base64.b64decode(document["sealed"], validate=True))
        context = _context(str(document["override"]), str(document["school"]))
        plain = sealing.open_field(field, context, sealing.unwrap_key(field, context, private_key))
    except (KeyError, TypeError, binascii.Error, WireFormatError, json.JSONDecodeError) as error:
        remedy = "take the one that `override seal` wrote"
        data = file.encode(errors="surrogateescape")
        raise ReasonError(wrong_kind("the file", "a sealed reason", data, remedy)) from error
    except sealing.SealingError as error:
        raise ReasonError(f"the reason does not open: {error}; its readers are named in the file") from error
    if hashlib.sha256(plain).hexdigest() != reason_hash:
        raise ReasonError("the words are not those that the override's reason_hash stands for")
    return plain[_SALT_BYTES:].decode()


def _context(override_id: str, school_id: str) -> sealing.FieldContext:
    """Bound to its override: the file of one cannot be passed off as that of another."""
    digest = hashlib.sha256(b"schoolkeeper/override/v1\x00" + override_id.encode()).digest()
    binding = sealing.Binding(school_id=school_id, device_id=bytes(16), epoch=bytes(16))
    return sealing.FieldContext(binding=binding, event_id=digest[:16], category=_CATEGORY)
