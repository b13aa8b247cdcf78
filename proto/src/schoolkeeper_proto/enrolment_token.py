"""The text that a technician copies onto a laptop: the token's two halves and the two pins.

``sk1-`` and base64url of: token id (8 bytes), secret (20), SHA-256 of the first root metadata (32), SHA-256 of the
CA certificate's DER (32), and the first 4 bytes of the SHA-256 over all that, which finds a slip of the hand before
anything is sent. The pins never leave the device.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

PREFIX = "sk1-"
_ID, _SECRET, _HASH, _CHECK = 8, 20, 32, 4


class TokenTextError(ValueError):
    """A text that is no token; says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentToken:
    token_id: str
    secret: bytes
    root_sha256: bytes
    ca_sha256: bytes

    def text(self) -> str:
        body = bytes.fromhex(self.token_id) + self.secret + self.root_sha256 + self.ca_sha256
        return PREFIX + base64.urlsafe_b64encode(body + _check(body)).decode().rstrip("=")

    def __repr__(self) -> str:
        return f"EnrolmentToken(token_id={self.token_id!r}, secret=<hidden>)"


def parse(text: str) -> EnrolmentToken:
    """The token of a pasted text; blanks and line breaks are forgiven, anything else raises ``TokenTextError``."""
    compact = "".join(text.split())
    if not compact.startswith(PREFIX):
        raise TokenTextError(
            f"a token starts with {PREFIX!r}: copy the whole line that `token create` printed"
        )
    encoded = compact[len(PREFIX) :]
    try:
        data = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise TokenTextError("the token holds a character that no token has: copy it again, whole") from error
    if len(data) != _ID + _SECRET + 2 * _HASH + _CHECK:
        raise TokenTextError("the token is too short or too long: copy the whole line")
    body, check = data[:-_CHECK], data[-_CHECK:]
    if _check(body) != check:
        raise TokenTextError("a character of the token is wrong: copy it again, do not type it")
    return EnrolmentToken(
        token_id=body[:_ID].hex(),
        secret=body[_ID : _ID + _SECRET],
        root_sha256=body[_ID + _SECRET : _ID + _SECRET + _HASH],
        ca_sha256=body[-_HASH:],
    )


def secret_hash(secret: bytes) -> bytes:
    """What the collector stores. The secret has 160 random bits, so a plain hash gives nothing away."""
    return hashlib.sha256(b"schoolkeeper/enrolment-token/v1\x00" + secret).digest()


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()[:_CHECK]
