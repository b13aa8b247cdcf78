"""The device's own key and certificate on disk: made here, never leaving, replaced whole.

``state_dir/identity`` holds ``device.key`` (mode 0600), ``request.der`` (the certificate request, made once: the same
key asks again at each renewal), ``chain.pem`` (own certificate, then the CA, below the dates in plain text) and
``identity.json``, which is written last: without it the device is not enrolled. ``DeviceKey`` is the seam behind which
a TPM may stand; the file-backed key is the one that exists. The X.509 library costs 5 MiB, so the service never loads
it: what needs it runs at enrolment or in a child process.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from schoolkeeper_agent.system import here
from schoolkeeper_proto.statements import P256Signer, Signer

FOLDER = "identity"
AUTHORITIES = "trust/authorities.pem"
"""Written whenever a verified set is put in force: whom listeners' and new certificates may come from."""
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"


class IdentityError(Exception):
    """An identity on disk that cannot be used; names the file and the remedy."""


class DeviceKey(Signer, Protocol):
    """A device's private key: signs, asks for certificates, and says where it lives."""

    @property
    def storage(self) -> str:
        """ "file" or "tpm"."""

    def certificate_request(self) -> bytes:
        """A PKCS #10 request (DER) that proves possession; its subject says nothing."""

    def pem(self) -> bytes:
        """The private key for TLS (PKCS #8 PEM)."""


class FileKey(P256Signer):
    """A P-256 key kept in a file."""

    storage = "file"

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        super().__init__(key)
        self._private = key

    def certificate_request(self) -> bytes:
        from cryptography import x509

        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return builder.sign(self._private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

    def pem(self) -> bytes:
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this device is. ``chain_pem``: own certificate, then the CA; times in Unix milliseconds."""

    school_id: str
    device_id: bytes
    group: str
    signer: DeviceKey
    key_pem: bytes
    chain_pem: bytes
    ca_pem: bytes
    certificate_hash: bytes
    not_before_ms: int
    not_after_ms: int
    enrolment_addresses: tuple[str, ...]
    """As given at enrolment; the signed key statement's come first once there is one."""

    def __repr__(self) -> str:
        return f"Identity({self.school_id!r}, device={self.device_id.hex()}, group={self.group!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIdentity:
    """What enrolment learnt, to be kept."""

    school_id: str
    device_id: bytes
    group: str
    chain: tuple[bytes, ...]
    enrolment_addresses: tuple[str, ...]


def new_key() -> FileKey:
    return FileKey(ec.generate_private_key(ec.SECP256R1()))


def load_key(path: Path) -> FileKey:
    """Raises ``IdentityError``: missing or damaged."""
    try:
        key = serialization.load_pem_private_key(here.unseal_at_rest(path.read_bytes()), None)
    except (OSError, ValueError, TypeError) as error:
        raise IdentityError(
            f"{path} cannot be read ({error}): enrol this device again with a new token"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise IdentityError(f"{path} is not a P-256 key: enrol this device again with a new token")
    return FileKey(key)


def exposed_key(state_dir: Path) -> Path | None:
    """The device's key, if other accounts may read it."""
    path = state_dir / FOLDER / "device.key"
    try:
        return path if here.readable_by_others(path) else None
    except OSError:
        return None


def hide_key(state_dir: Path) -> str:
    """Takes from others the right to read the device's key; returns what was wrong in words, empty if nothing was.

    A device that refused its key, as ssh does, would go dark: it goes on, and tells the school.
    """
    path = exposed_key(state_dir)
    if path is None:
        return ""
    said = f"{path} could be read by other accounts of this device ({here.rights_of(path)})"
    try:
        here.keep_to_owner(path)
    except OSError as error:
        return f"{said}, and that cannot be changed ({error.strerror}): run `chmod 600 {path}` as its owner"
    return f"{said}; its owner alone reads it now. If somebody may have copied it: revoke the device, enrol it again"


def is_due(identity: Identity, now_ms: int) -> bool:
    """Whether two thirds of the certificate's life are over: it is to be renewed (``renew.py``)."""
    life = identity.not_after_ms - identity.not_before_ms
    return now_ms >= identity.not_before_ms + 2 * life // 3


def is_enrolled(state_dir: Path) -> bool:
    return (state_dir / FOLDER / "identity.json").exists()


def load_identity(state_dir: Path) -> Identity | None:
    """None before enrolment. Raises ``IdentityError`` for one that is damaged."""
    folder = state_dir / FOLDER
    path = folder / "identity.json"
    try:
        said = json.loads(path.read_bytes())
        chain_pem = (folder / "chain.pem").read_bytes()
        own, ca = split_chain(chain_pem)[:2]
        before, after = _dates(chain_pem)
        key = load_key(folder / "device.key")
        return Identity(
            school_id=str(said["school_id"]),
            device_id=bytes.fromhex(said["device_id"]),
            group=str(said["group"]),
            signer=key,
            key_pem=key.pem(),
            chain_pem=chain_pem,
            ca_pem=_authorities(state_dir) or pem_of(ca),
            certificate_hash=hashlib.sha256(own).digest(),
            not_before_ms=before,
            not_after_ms=after,
            enrolment_addresses=tuple(str(a) for a in said["enrolment_addresses"]),
        )
    except FileNotFoundError as error:
        if not path.exists():
            return None
        raise IdentityError(
            f"{error.filename} is missing: enrol this device again with a new token"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IdentityError(
            f"the identity in {folder} is damaged ({error}): enrol this device again with a new token"
        ) from error


def _authorities(state_dir: Path) -> bytes:
    """PEM of every CA that the officers' key statement in force names; empty before the first."""
    try:
        return (state_dir / AUTHORITIES).read_bytes()
    except FileNotFoundError:
        return b""


def save_identity(state_dir: Path, key: DeviceKey, new: NewIdentity) -> None:
    """Key and chain first, ``identity.json`` last and in one step."""
    folder = state_dir / FOLDER
    write_key(folder / "device.key", key)
    write_private(folder / "request.der", key.certificate_request())
    save_chain(state_dir, new.chain, certificate_dates(new.chain[0]))
    said = {
        "format": 1,
        "school_id": new.school_id,
        "device_id": new.device_id.hex(),
        "group": new.group,
        "enrolment_addresses": list(new.enrolment_addresses),
    }
    write_private(folder / "identity.json", json.dumps(said, indent=1).encode())


def save_chain(state_dir: Path, chain: tuple[bytes, ...], dates: tuple[int, int]) -> None:
    """Replaces the certificate, for example after a renewal; text before a PEM block is allowed (RFC 7468)."""
    head = f"not-before-unix-ms: {dates[0]}\nnot-after-unix-ms: {dates[1]}\n".encode()
    write_private(state_dir / FOLDER / "chain.pem", head + b"".join(pem_of(der) for der in chain))


def saved_request(state_dir: Path) -> bytes:
    """The certificate request made at enrolment. Raises ``IdentityError``."""
    path = state_dir / FOLDER / "request.der"
    try:
        return path.read_bytes()
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: enrol this device again with a new token") from error


def check_certificate(
    chain: tuple[bytes, ...], key: Signer, school_id: str, device_id: bytes, authorities: Collection[bytes]
) -> None:
    """Whether a chain (DER) is this key's certificate for this device, by one of these CAs (SHA-256 of the DER).

    Raises ``IdentityError``.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    from schoolkeeper_proto.names import device_uri
    from schoolkeeper_proto.statements import key_id_of

    if len(chain) != 2 or hashlib.sha256(chain[1]).digest() not in authorities:
        raise IdentityError(
            "the collector answered with a certificate of another authority than the pinned one"
        )
    try:
        own, ca = (x509.load_der_x509_certificate(der) for der in chain)
        own.verify_directly_issued_by(ca)
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        public = own.public_key()
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound, x509.InvalidVersion) as error:
        raise IdentityError(
            f"the collector answered with a certificate that does not verify: {error}"
        ) from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or key_id_of(public) != key.key_id:
        raise IdentityError("the collector answered with a certificate for another key")
    if uris != [device_uri(school_id, device_id)]:
        raise IdentityError(f"the collector answered with a certificate of another device: {uris}")


def certificate_dates(der: bytes) -> tuple[int, int]:
    """(not before, not after) in Unix milliseconds."""
    from cryptography import x509

    found = x509.load_der_x509_certificate(der)
    return (
        int(found.not_valid_before_utc.timestamp() * 1000),
        int(found.not_valid_after_utc.timestamp() * 1000),
    )


def _dates(chain_pem: bytes) -> tuple[int, int]:
    lines = chain_pem.partition(_BEGIN)[0].decode().split()
    fields = dict(zip(lines[::2], lines[1::2], strict=True))
    return int(fields["not-before-unix-ms:"]), int(fields["not-after-unix-ms:"])


def split_chain(pem: bytes) -> list[bytes]:
    """The DER of each certificate of a device's chain: its own and the authority's."""
    found = certificates_in(pem)
    if len(found) < 2:
        raise ValueError("the chain holds fewer than two certificates")
    return found


def certificates_in(pem: bytes) -> list[bytes]:
    """The DER of each certificate in a PEM text."""
    found = []
    for part in pem.split(_BEGIN)[1:]:
        body, end, _ = part.partition(_END)
        if not end:
            raise ValueError("a certificate without an end")
        found.append(base64.b64decode(b"".join(body.split()), validate=True))
    return found


def pem_of(der: bytes) -> bytes:
    lines = base64.encodebytes(der).replace(b"\n", b"")
    wrapped = b"\n".join(lines[i : i + 64] for i in range(0, len(lines), 64))
    return _BEGIN + b"\n" + wrapped + b"\n" + _END + b"\n"


def write_key(path: Path, key: DeviceKey) -> None:
    """As ``load_key`` reads it."""
    write_private(path, here.seal_at_rest(key.pem()))


def write_private(path: Path, data: bytes) -> None:
    """Replaces a file in one step, durable on return, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.new")
    with os.fdopen(here.open_private(temporary), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    here.sync_folder(path.parent)
