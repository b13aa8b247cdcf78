"""Who a stream belongs to, as ingest sees it: a seam, so that tests and benches need no certificate authority."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey


class IdentityRefused(Exception):
    """This certificate may not speak (any more). ``reason`` is a word of ``Goodbye``: "expired" or "revoked"."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}: {remedy}")
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerIdentity:
    """The device that a stream's client certificate names; ``certificate_hash`` is SHA-256 of its DER.

    ``public_key`` is its DER SubjectPublicKeyInfo: a loaded key would cost each idle stream 2 KiB.
    """

    school_id: str
    device_id: bytes
    certificate_hash: bytes
    not_after_ms: int
    public_key: bytes


AuthContext = Mapping[str, Iterable[bytes]]


def public_key_bytes(key: EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def auth_of(context: grpc.aio.ServicerContext[bytes, bytes]) -> Any:
    """What TLS says of the peer."""
    return context.auth_context()


class IdentitySource(Protocol):
    """Tells identities from TLS, and whether they still hold. Called on the event loop: never blocks."""

    def identify(self, auth_context: AuthContext, now_ms: int) -> PeerIdentity:
        """Raises ``IdentityRefused``."""

    def check(self, identity: PeerIdentity, now_ms: int) -> None:
        """Asked every few seconds of open streams. Raises ``IdentityRefused``."""
