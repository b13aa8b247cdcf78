"""An uplink listener for tests: the real service behind mutual TLS on a free loopback port."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from schoolkeeper_collector.bootstrap import _SERVER_OPTIONS
from schoolkeeper_collector.ingest.directives import DirectiveSource
from schoolkeeper_collector.ingest.greeting import Terms
from schoolkeeper_collector.ingest.jobs import Answer, Job
from schoolkeeper_collector.ingest.preparing import PreparingThread
from schoolkeeper_collector.ingest.service import UplinkService
from schoolkeeper_collector.store.database import Store
from schoolkeeper_proto import wire
from schoolkeeper_proto.wire import Lane
from support.collector import Collector, Identities, TestSchool, add_device
from support.device import DeviceIdentity, SimulatedDevice, Uplink


class Authority:
    """A CA and the listener's certificate."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("test CA", self.key.public_key(), ca=True)
        self.server_key = ec.generate_private_key(ec.SECP256R1())
        self.server = self._sign("localhost", self.server_key.public_key(), ca=False)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def credentials(self) -> grpc.ServerCredentials:
        key = self.server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pair = (key, self.server.public_bytes(serialization.Encoding.PEM))
        return grpc.ssl_server_credentials([pair], self.pem, require_client_auth=True)

    def _sign(self, name: str, key: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )


@dataclass
class RunningUplink:
    """`device` enrols one, `uplink` opens its stream."""

    collector: Collector
    service: UplinkService
    identities: Identities
    authority: Authority
    address: str
    policy: dict[str, wire.PolicyAvailable] = field(default_factory=dict)

    def device(self) -> SimulatedDevice:
        school = self.collector.school
        identity = DeviceIdentity.issued(school.school_id, self.authority.key, self.authority.certificate)
        add_device(self.collector.store, identity, school_id=school.school_id)
        return SimulatedDevice(identity, school.pins)

    def uplink(self, device: SimulatedDevice) -> Uplink:
        return Uplink(device, self.address, self.authority.pem)


@asynccontextmanager
async def running_uplink(
    store: Store,
    school: TestSchool,
    *,
    terms: Terms | None = None,
    in_flight_bytes: int = 64 << 20,
    budget: dict[Lane, int] | None = None,
    files: dict[str, bytes] | None = None,
) -> AsyncIterator[RunningUplink]:
    """Writer and preparing thread run; everything ends with the block."""
    services: list[UplinkService] = []

    def deliver(answers: list[tuple[Job, Answer]]) -> None:
        services[0].deliver(answers)

    collector = Collector(store, school, deliver=deliver, terms=terms, budget=budget)
    identities, authority = Identities(school.school_id), Authority()
    preparing = PreparingThread(collector.preparer, collector.writer.submit, lambda: collector.writer.crowded)
    policy: dict[str, wire.PolicyAvailable] = {}
    service = UplinkService(
        identities=identities,
        preparing=preparing,
        writer_submit=collector.writer.submit,
        directives=DirectiveSource(store, school.school_id),
        read_published=(files or {}).__getitem__,
        policy_of=lambda group, _device: policy.get(group),
        terms=collector.terms,
        in_flight_bytes=in_flight_bytes,
        clock_ms=lambda: collector.now_ms,
    )
    services.append(service)
    server = grpc.aio.server(options=_SERVER_OPTIONS)
    service.add_to(server)
    port = server.add_secure_port("127.0.0.1:0", authority.credentials)
    await server.start()
    collector.writer.start()
    preparing.start()
    sweep = asyncio.create_task(service.sweep())
    try:
        yield RunningUplink(collector, service, identities, authority, f"127.0.0.1:{port}", policy)
    finally:
        await service.say_goodbye()
        sweep.cancel()
        await server.stop(0.5)
        await asyncio.to_thread(preparing.stop)
        await asyncio.to_thread(collector.writer.stop)
        collector.close()
