"""Issues and recognises devices' certificates (X.509, RFC 5280): P-256, 7 days, named by a URI and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from schoolkeeper_proto.names import device_uri, parse_device_uri

LIFE = timedelta(days=7)
_BACKDATED = timedelta(minutes=5)
# NameRefused is a ValueError; InvalidVersion is not.
_UNREADABLE = (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion)


class CertificateRefused(ValueError):
    """A request or certificate that is not what it must be; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCertificate:
    """A certificate of this school's CA, taken apart; times in Unix milliseconds."""

    school_id: str
    device_id: bytes
    certificate: x509.Certificate
    public_key: ec.EllipticCurvePublicKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.der).digest()

    @property
    def not_before_ms(self) -> int:
        return int(self.certificate.not_valid_before_utc.timestamp() * 1000)

    @property
    def not_after_ms(self) -> int:
        return int(self.certificate.not_valid_after_utc.timestamp() * 1000)


def read_request(data: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a PKCS #10 request that proves possession of it; the request's subject is ignored."""
    try:
        request = x509.load_der_x509_csr(data)
        key = request.public_key()
        valid = request.is_signature_valid
    except _UNREADABLE as error:
        raise CertificateRefused(f"the certificate request cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateRefused("the certificate request's key is not P-256")
    if not valid:
        raise CertificateRefused("the certificate request is not signed by its own key")
    return key


class Authority:
    """The school's CA for devices. ``retired``: earlier ones, whose certificates are recognised until renewed."""

    def __init__(
        self,
        school_id: str,
        key: ec.EllipticCurvePrivateKey,
        certificate: x509.Certificate,
        retired: tuple[x509.Certificate, ...] = (),
    ) -> None:
        self._school_id = school_id
        self._key = key
        self.certificate = certificate
        self._retired = retired

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def issue(
        self, public_key: ec.EllipticCurvePublicKey, device_id: bytes, now_ms: int
    ) -> DeviceCertificate:
        now = datetime.fromtimestamp(now_ms // 1000, tz=UTC)
        uri = device_uri(self._school_id, device_id)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id.hex())]))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(now + LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        return self.read(certificate)

    def read_der(self, data: bytes) -> DeviceCertificate:
        try:
            certificate = x509.load_der_x509_certificate(data)
        except _UNREADABLE as error:
            raise CertificateRefused(f"the certificate cannot be read: {error}") from error
        return self.read(certificate)

    def issued(self, found: DeviceCertificate) -> bool:
        """Whether it is of the authority in use, and not of a retired one."""
        return _issued_by(found.certificate, self.certificate)

    def read(self, certificate: x509.Certificate) -> DeviceCertificate:
        """A certificate that this CA issued to a device of this school; its dates are not looked at."""
        if not any(_issued_by(certificate, one) for one in (self.certificate, *self._retired)):
            raise CertificateRefused("the certificate is not of this school's authority")
        school_id, device_id = certificate_name(certificate)
        if school_id != self._school_id:
            raise CertificateRefused(f"the certificate is of the school {school_id!r}")
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise CertificateRefused("the certificate's key is not P-256")
        return DeviceCertificate(
            school_id=school_id, device_id=device_id, certificate=certificate, public_key=key
        )


def _issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except _UNREADABLE:
        return False
    return True


def certificate_name(certificate: x509.Certificate) -> tuple[str, bytes]:
    """(school id, device id) of the one URI in a certificate; raises ``CertificateRefused``."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        uris = extension.value.get_values_for_type(x509.UniformResourceIdentifier)
        (uri,) = uris
        return parse_device_uri(uri)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, *_UNREADABLE) as error:
        raise CertificateRefused(f"the certificate names no device: {error}") from error
