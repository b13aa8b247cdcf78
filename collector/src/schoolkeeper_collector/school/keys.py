"""The collector's working keys, one file each under ``state_dir/keys`` (mode 0600): made by `init`, loaded by `run`."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from schoolkeeper_collector.school import certificates
from schoolkeeper_collector.school.files import SchoolPaths, write_file
from schoolkeeper_proto.private_files import readable_by_others
from schoolkeeper_proto.statements import Ed25519Signer

LISTENERS = ("enrol", "uplink")


class KeysError(Exception):
    """A key file that is missing, cannot be read, or can be read by others; names it and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsPair:
    """PEM of a listener's private key and of its chain, the CA last."""

    key: bytes
    chain: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceKeys:
    """``ingest``: key id (SHA-256 of the raw public key) -> key; retired ones stay for 400 days."""

    school_id: str
    ingest: dict[bytes, X25519PrivateKey]
    ingest_newest: bytes
    ledger: Ed25519PrivateKey
    command: Ed25519Signer
    online: Ed25519PrivateKey
    ca_key: ec.EllipticCurvePrivateKey
    ca_certificate: x509.Certificate
    tls: dict[str, TlsPair]
    console_key: bytes
    pseudonym_key: bytes
    ledger_retired: tuple[bytes, ...] = ()
    """Raw public keys that signed earlier checkpoints; kept for good."""
    ca_retired: tuple[x509.Certificate, ...] = ()
    """Authorities whose devices' certificates are still taken, until they are renewed."""

    @property
    def ledger_public(self) -> tuple[bytes, ...]:
        """Every key that a checkpoint of this school may be signed with, the one in use first."""
        return (self.ledger.public_key().public_bytes_raw(), *self.ledger_retired)

    def __repr__(self) -> str:
        return f"ServiceKeys({self.school_id!r}, <hidden>)"


def ingest_key_id(key: X25519PrivateKey) -> bytes:
    return hashlib.sha256(key.public_key().public_bytes_raw()).digest()


def make_keys(state_dir: Path, school_id: str, hosts: tuple[str, ...]) -> ServiceKeys:
    """Makes and writes every working key of a new school."""
    folder = SchoolPaths(state_dir).keys
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    ca_key, ca = certificates.make_ca(school_id)
    write_file(folder / "school-id", school_id.encode())
    write_file(folder / "ca.key", certificates.key_pem(ca_key), private=True)
    write_file(folder / "ca.pem", certificates.pem(ca))
    ingest = X25519PrivateKey.generate()
    write_file(
        folder / "ingest" / f"{ingest_key_id(ingest).hex()}.key", ingest.private_bytes_raw(), private=True
    )
    write_file(folder / "ingest" / "newest", ingest_key_id(ingest).hex().encode())
    for name in ("ledger", "command", "online"):
        write_file(folder / f"{name}.key", Ed25519PrivateKey.generate().private_bytes_raw(), private=True)
    for name in ("console", "pseudonym"):
        write_file(folder / f"{name}.key", os.urandom(32), private=True)
    write_tls(state_dir, ca_key, ca, hosts)
    return load_keys(state_dir)


def add_ingest_key(state_dir: Path) -> X25519PrivateKey:
    """Makes one more ingest key; devices use it once officers signed a key statement that names it."""
    key = X25519PrivateKey.generate()
    folder = SchoolPaths(state_dir).keys / "ingest"
    write_file(folder / f"{ingest_key_id(key).hex()}.key", key.private_bytes_raw(), private=True)
    write_file(folder / "newest", ingest_key_id(key).hex().encode())
    return key


def write_tls(
    state_dir: Path, ca_key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, hosts: tuple[str, ...]
) -> None:
    """New certificates for both listeners, for example after a move to another name."""
    folder = SchoolPaths(state_dir).keys / "tls"
    for listener in LISTENERS:
        key, chain = certificates.make_server_certificate(ca_key, ca, hosts)
        write_file(folder / f"{listener}.key", key, private=True)
        write_file(folder / f"{listener}.pem", chain)


def load_keys(state_dir: Path) -> ServiceKeys:
    """Raises ``KeysError`` naming the file that is missing, damaged or readable by others."""
    folder = SchoolPaths(state_dir).keys
    _refuse_exposed(folder)

    def signing(name: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(_read(folder / f"{name}.key"))

    try:
        ca_key = serialization.load_pem_private_key(_read(folder / "ca.key"), None)
        if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
            raise KeysError(f"{folder / 'ca.key'} is not a P-256 key")
        ingest = [
            X25519PrivateKey.from_private_bytes(_read(p)) for p in sorted((folder / "ingest").glob("*.key"))
        ]
        return ServiceKeys(
            school_id=_read(folder / "school-id").decode(),
            ingest={ingest_key_id(key): key for key in ingest},
            ingest_newest=bytes.fromhex(_read(folder / "ingest" / "newest").decode()),
            ledger=signing("ledger"),
            command=Ed25519Signer(signing("command")),
            online=signing("online"),
            ca_key=ca_key,
            ca_certificate=x509.load_pem_x509_certificate(_read(folder / "ca.pem")),
            tls={
                name: TlsPair(
                    key=_read(folder / "tls" / f"{name}.key"), chain=_read(folder / "tls" / f"{name}.pem")
                )
                for name in LISTENERS
            },
            console_key=_read(folder / "console.key"),
            pseudonym_key=_read(folder / "pseudonym.key"),
            ledger_retired=tuple(_read(p) for p in sorted((folder / "ledger-retired").glob("*.pub"))),
            ca_retired=tuple(
                x509.load_pem_x509_certificate(_read(p))
                for p in sorted((folder / "ca-retired").glob("*.pem"))
            ),
        )
    except (ValueError, TypeError) as error:
        raise KeysError(
            f"a key under {folder} is damaged ({error}): restore the folder from backup"
        ) from error


def _refuse_exposed(folder: Path) -> None:
    """As ssh does: whoever read such a key may act as the school, and somebody has to hear of it."""
    exposed = [path for path in sorted(folder.rglob("*.key")) if readable_by_others(path)]
    if exposed:
        more = f" and {len(exposed) - 1} more key files" if exposed[1:] else ""
        raise KeysError(
            f"{exposed[0]}{more} can be read by others than the collector's own user: run "
            f"`chmod -R go= {folder}`; if somebody may have copied them, have them replaced "
            "(`schoolkeeper-collector stage-keys --help`)"
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeysError(
            f"{path} cannot be read ({error.strerror}): run `schoolkeeper-collector init` for a new school, "
            "or restore the keys from backup"
        ) from error
