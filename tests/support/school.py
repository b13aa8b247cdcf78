"""A real school on loopback: made by `init`, with both listeners over real TLS in the test's own event loop."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import grpc.aio

from schoolkeeper_agent.enrol import EnrolOptions, EnrolResult, enrol
from schoolkeeper_agent.net import Proxy
from schoolkeeper_collector.devices import tokens
from schoolkeeper_collector.devices.authority import Authority
from schoolkeeper_collector.devices.enrolment import EnrolmentService
from schoolkeeper_collector.devices.identity import CertificateIdentities, RevocationList, keep_fresh
from schoolkeeper_collector.devices.listeners import enrol_credentials, uplink_credentials
from schoolkeeper_collector.ingest.identity import IdentityRefused
from schoolkeeper_collector.school import certificates
from schoolkeeper_collector.school.init import InitOptions, InitResult, init_school
from schoolkeeper_collector.school.repository import NotPublished, Repository
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_policies.officer.keyfile import OfficerKeys, load_keys
from schoolkeeper_proto import wire
from schoolkeeper_proto.codec import decode, encode
from support.ports import free_port

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
GROUP = "ks2-laptops"
OTHER_GROUP = "staff-laptops"


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class School:
    """A school on disk. ``clock_off_ms`` shifts what the collector believes the time is."""

    folder: Path
    school_id: str = "westgate.example"
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
    made_ms: int = field(default_factory=wall_ms)
    clock_off_ms: int = 0
    pack: str = "default"
    enrol_port: int = field(default_factory=free_port)
    uplink_port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.result: InitResult = init_school(
            InitOptions(
                state_dir=self.folder,
                database_url=f"sqlite:///{self.folder}/collector.db",
                keystore_url=f"sqlite:///{self.folder}/keystore.db",
                school_id=self.school_id,
                school_name="Westgate Primary",
                hosts=self.hosts,
                now_ms=self.made_ms,
                uplink_port=self.uplink_port,
                enrol_port=self.enrol_port,
                groups=(GROUP, OTHER_GROUP),
                pack=self.pack,
            )
        )
        self.keys = self.result.keys
        self.repository = Repository(self.folder)
        self.store: Store = open_store(
            f"sqlite:///{self.folder}/collector.db", f"sqlite:///{self.folder}/keystore.db"
        )
        self.authority = Authority(self.school_id, self.keys.ca_key, self.keys.ca_certificate)

    def now_ms(self) -> int:
        return wall_ms() + self.clock_off_ms

    @property
    def enrol_address(self) -> str:
        return f"127.0.0.1:{self.enrol_port}"

    @property
    def uplink_address(self) -> str:
        return f"127.0.0.1:{self.uplink_port}"

    @property
    def ca_sha256(self) -> bytes:
        return hashlib.sha256(certificates.der(self.keys.ca_certificate)).digest()

    def officer(self, name: str) -> OfficerKeys:
        return load_keys(self.folder / "offline" / name / f"{name}.key", None)

    def token(self, *, uses: int = 1, group: str = GROUP, lifetime_ms: int = DAY_MS) -> str:
        with self.store.write() as connection:
            made = tokens.create_token(
                connection,
                school_id=self.school_id,
                group=group,
                uses=uses,
                lifetime_ms=lifetime_ms,
                root_sha256=hashlib.sha256(self.repository.root_chain()[0]).digest(),
                ca_sha256=self.ca_sha256,
                created_by="test",
                now_ms=self.now_ms(),
            )
        return made.text()

    def close(self) -> None:
        self.store.close()


class UplinkStub:
    """Fetch as ingest serves it, and streams that stay open only while their certificate is good."""

    def __init__(self, school: School, identities: CertificateIdentities) -> None:
        self._school = school
        self._identities = identities
        self.fetched: list[str] = []
        self.replaced: dict[str, bytes] = {}

    def add_to(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Fetch": grpc.unary_stream_rpc_method_handler(self._fetch),
            "Connect": grpc.stream_stream_rpc_method_handler(self._connect),
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("schoolkeeper_proto.v1.Uplink", handlers),)
        )

    async def _fetch(
        self, data: bytes, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        name = decode(wire.FetchRequest, data).name
        self.fetched.append(name)
        try:
            content = self.replaced.get(name) or self._school.repository.read_file(name)
        except NotPublished as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        for start in range(0, len(content), 1 << 16):
            yield encode(wire.FetchChunk(data=content[start : start + (1 << 16)]))

    async def _connect(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        try:
            identity = self._identities.identify(context.auth_context(), self._school.now_ms())
            yield encode(wire.CollectorMessage(body=wire.HeartbeatReply(checkpoint=identity.device_id.hex())))
            while True:
                await asyncio.sleep(0.05)
                self._identities.check(identity, self._school.now_ms())
        except IdentityRefused as error:
            yield encode(wire.CollectorMessage(body=wire.Goodbye(reason=error.reason, remedy=error.remedy)))


@dataclass
class Listening:
    school: School
    service: EnrolmentService
    uplink: UplinkStub
    revocations: RevocationList


@asynccontextmanager
async def listening(school: School) -> AsyncIterator[Listening]:
    """Both listeners, the group map's publisher and the revocation list, until the block ends."""
    revocations = RevocationList(school.school_id)
    service = EnrolmentService(school.store, school.keys, school.repository, clock=school.now_ms)
    uplink = UplinkStub(school, CertificateIdentities(school.authority, revocations))
    enrol_server, uplink_server = grpc.aio.server(), grpc.aio.server()
    service.add_to(enrol_server)
    uplink.add_to(uplink_server)
    enrol_server.add_secure_port(school.enrol_address, enrol_credentials(school.folder))
    uplink_server.add_secure_port(school.uplink_address, uplink_credentials(school.folder, school.keys))
    await enrol_server.start()
    await uplink_server.start()
    beside = [
        asyncio.create_task(service.run()),
        asyncio.create_task(keep_fresh(revocations, school.store, 0.1)),
    ]
    try:
        yield Listening(school, service, uplink, revocations)
    finally:
        for task in beside:
            task.cancel()
        for task in beside:
            with suppress(asyncio.CancelledError):
                await task
        await enrol_server.stop(None)
        await uplink_server.stop(None)


async def enrol_device(
    school: School,
    state_dir: Path,
    token: str,
    *,
    serial: str = "",
    address: str = "",
    proxy: Proxy | None = None,
    again: bool = False,
    accept_clock: bool = False,
) -> EnrolResult:
    """One laptop, as `schoolkeeper-agent enrol` does it."""
    options = EnrolOptions(
        state_dir=state_dir,
        address=address or school.enrol_address,
        token=token,
        proxy=proxy,
        again=again,
        accept_clock=accept_clock,
        description=wire.DeviceDescription(
            hostname=f"laptop-{state_dir.name}",
            serial=serial or os.urandom(4).hex(),
            platform="linux",
            agent_version="0.1.0",
        ),
    )
    return await enrol(options, now_ms=wall_ms())
