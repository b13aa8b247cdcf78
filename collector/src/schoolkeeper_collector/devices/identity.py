"""Who is at the other end of a TLS connection, and whether they still may be: dates and revocation, also later on.

TLS checks a certificate once, when a connection opens, and never asks for revocation: an open stream would outlive
both. So ingest asks here at the start and again every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from schoolkeeper_collector.devices.authority import Authority, CertificateRefused, DeviceCertificate
from schoolkeeper_collector.ingest.identity import (
    AuthContext,
    IdentityRefused,
    PeerIdentity,
    public_key_bytes,
)
from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.tables import certificates, devices

_PEM = "x509_pem_cert"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    school_id: str
    device_id: bytes
    certificate_hash: bytes
    certificate: x509.Certificate
    public_key: EllipticCurvePublicKey
    not_after_ms: int


class RevocationList:
    """What is revoked, in memory; ``load`` reads it anew. Thread-safe: sets are swapped, never changed."""

    def __init__(self, school_id: str) -> None:
        self._school_id = school_id
        self._lock = threading.Lock()
        self._certificates: frozenset[bytes] = frozenset()
        self._devices: frozenset[bytes] = frozenset()

    def load(self, connection: Connection) -> None:
        """Blocks on the database; call it from a thread, every few seconds."""
        found = connection.execute(
            select(certificates.c.certificate_hash).where(
                certificates.c.school_id == self._school_id, certificates.c.revoked_ms.is_not(None)
            )
        )
        hashes = frozenset(bytes(row[0]) for row in found)
        gone = connection.execute(
            select(devices.c.device_id).where(
                devices.c.school_id == self._school_id, devices.c.status != "active"
            )
        )
        ids = frozenset(bytes(row[0]) for row in gone)
        with self._lock:
            self._certificates, self._devices = hashes, ids

    def is_revoked(self, certificate_hash: bytes, device_id: bytes) -> bool:
        return certificate_hash in self._certificates or device_id in self._devices


async def keep_fresh(revocations: RevocationList, store: Store, seconds: float = 2.0) -> None:
    """Loads the list again and again until cancelled; a database that does not answer leaves the last one in force."""

    def load() -> None:
        with store.read() as connection:
            revocations.load(connection)

    while True:
        try:
            await asyncio.to_thread(load)
        except SQLAlchemyError:
            _LOG.exception("the revocation list could not be read; the last one stays in force")
        await asyncio.sleep(seconds)


def device_of(
    auth_context: AuthContext, now_ms: int, authority: Authority, revocations: RevocationList
) -> DeviceIdentity:
    """The device that a gRPC peer's certificate names. Raises ``IdentityRefused``."""
    pem = next(iter(auth_context.get(_PEM, ())), None)
    if pem is None:
        raise IdentityRefused("no-certificate", "connect with the device's certificate")
    try:
        found = authority.read(x509.load_pem_x509_certificate(pem))
    except (CertificateRefused, ValueError) as error:
        raise IdentityRefused(
            "foreign", f"enrol this device with a token of this school ({error})"
        ) from error
    identity = _identity(found)
    check_identity(identity.certificate_hash, identity.device_id, identity.not_after_ms, now_ms, revocations)
    return identity


def check_identity(
    certificate_hash: bytes, device_id: bytes, not_after_ms: int, now_ms: int, revocations: RevocationList
) -> None:
    """Whether an identity still holds. Raises ``IdentityRefused``."""
    if revocations.is_revoked(certificate_hash, device_id):
        raise IdentityRefused(
            "revoked", "the technician revoked this device: enrol it again with a new token"
        )
    if now_ms > not_after_ms:
        raise IdentityRefused("expired", "renew the certificate; the agent does so by itself")


class CertificateIdentities:
    """The ``IdentitySource`` of a real collector."""

    def __init__(self, authority: Authority, revocations: RevocationList) -> None:
        self._authority = authority
        self.revocations = revocations

    def identify(self, auth_context: AuthContext, now_ms: int) -> PeerIdentity:
        found = device_of(auth_context, now_ms, self._authority, self.revocations)
        return PeerIdentity(
            school_id=found.school_id,
            device_id=found.device_id,
            certificate_hash=found.certificate_hash,
            not_after_ms=found.not_after_ms,
            public_key=public_key_bytes(found.public_key),
        )

    def check(self, identity: PeerIdentity, now_ms: int) -> None:
        check_identity(
            identity.certificate_hash, identity.device_id, identity.not_after_ms, now_ms, self.revocations
        )


def _identity(found: DeviceCertificate) -> DeviceIdentity:
    return DeviceIdentity(
        school_id=found.school_id,
        device_id=found.device_id,
        certificate_hash=found.hash,
        certificate=found.certificate,
        public_key=found.public_key,
        not_after_ms=found.not_after_ms,
    )
