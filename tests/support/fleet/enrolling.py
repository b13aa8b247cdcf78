"""A simulated device's way in: a real token, a real request for a certificate, a real answer."""

from __future__ import annotations

import functools
import hashlib
import os
import ssl
from dataclasses import dataclass

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.x509.oid import NameOID

from schoolkeeper_proto import enrolment_token, policy, statements, trust, wire
from schoolkeeper_proto.codec import decode, encode
from support.fleet.outbox import Sender

PLATFORM = "simulated"
ENROL = "/schoolkeeper_proto.v1.Enrolment/Enrol"


class EnrolmentFailed(Exception):
    """No certificate; says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """What a device has after its enrolment; the PEM parts are for its TLS."""

    sender: Sender
    key_pem: bytes
    chain_pem: bytes
    ca_pem: bytes
    uplink: str
    statement: policy.KeyStatement
    bundle: bytes


def fetch_ca(address: str, token: enrolment_token.EnrolmentToken) -> bytes:
    """The CA certificate (PEM) that the listener shows, if it is the one that the token pins."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    import socket

    with (
        socket.create_connection((host.strip("[]"), int(port)), 10) as plain,
        context.wrap_socket(plain, server_hostname=host.strip("[]")) as connection,
    ):
        chain = connection._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
    for found in chain:
        pem = found.public_bytes().encode()
        der = ssl.PEM_cert_to_DER_cert(pem.decode())
        if hashlib.sha256(der).digest() == token.ca_sha256:
            return pem
    raise EnrolmentFailed(f"{address} does not show the certificate authority that the token pins")


def enrolment_channel(address: str, ca_pem: bytes) -> grpc.aio.Channel:
    return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca_pem))


async def enrol(
    channel: grpc.aio.Channel, ca_pem: bytes, token: enrolment_token.EnrolmentToken, number: int
) -> Enrolled:
    """Enrol the simulated device with this number. Raises EnrolmentFailed with the collector's words."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = wire.EnrolRequest(
        token_id=token.token_id,
        token_secret=token.secret,
        csr=_csr(key),
        device=wire.DeviceDescription(
            hostname=f"simulated-{number:04d}",
            serial=f"SIM{number:06d}",
            vendor="Simulated",
            model="No such laptop",
            operating_system="none (simulated)",
            platform=PLATFORM,
            agent_version="0",
            machine_hash=machine_hash(number),
        ),
        request_nonce=os.urandom(16),
    )
    call = channel.unary_unary(
        ENROL,
        request_serializer=encode,
        response_deserializer=functools.partial(decode, wire.EnrolResponse),
    )
    try:
        response = await call(request, timeout=60)
    except grpc.aio.AioRpcError as error:
        raise EnrolmentFailed(f"device {number} was not enrolled: {error.details()}") from error
    return _enrolled(response, key, ca_pem, token)


def machine_hash(number: int) -> bytes:
    return hashlib.sha256(b"simulated/%d" % number).digest()


def _enrolled(
    response: wire.EnrolResponse,
    key: ec.EllipticCurvePrivateKey,
    ca_pem: bytes,
    token: enrolment_token.EnrolmentToken,
) -> Enrolled:
    root = trust.check_root_chain(list(response.root_metadata), token.root_sha256)
    metadata = next(file.data for file in response.metadata if file.name.endswith("targets.json"))
    view = trust.read_targets(metadata, root)
    files = {file.name: file.data for file in response.targets}
    statement = decode(policy.KeyStatement, _target(view, files, trust.KEYS_TARGET))
    newest = max(statement.ingest_keys, key=lambda entry: entry.not_before_unix_ms)
    chain = [x509.load_der_x509_certificate(der) for der in response.certificate_chain]
    sender = Sender(
        school_id=response.school_id,
        device_id=response.device_id,
        certificate_hash=hashlib.sha256(response.certificate_chain[0]).digest(),
        signer=statements.P256Signer(key),
        ingest_key=X25519PublicKey.from_public_bytes(newest.public_key),
        ingest_key_id=newest.key_id,
    )
    return Enrolled(
        sender=sender,
        key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        chain_pem=b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain),
        ca_pem=ca_pem,
        uplink=statement.uplink_addresses[0],
        statement=statement,
        bundle=_target(view, files, trust.bundle_target(response.group)),
    )


def _target(view: trust.TargetsView, files: dict[str, bytes], name: str) -> bytes:
    """The file that the officers signed under this name."""
    entry = view.targets.get(name)
    found = b"" if entry is None else files.get(f"targets/{trust.target_file_name(name, entry.sha256)}", b"")
    trust.check_target(view, name, found)
    return found


def _csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)
