"""A collector's ingest for tests: real store, sequencer, preparer and writer, with or without gRPC around them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import func, insert, select

from schoolkeeper_collector.ingest.greeting import Terms
from schoolkeeper_collector.ingest.identity import (
    AuthContext,
    IdentityRefused,
    PeerIdentity,
    public_key_bytes,
)
from schoolkeeper_collector.ingest.jobs import Answer, BeatJob, FaultJob, HelloJob, Job, Peer
from schoolkeeper_collector.ingest.limits import DailyBudget
from schoolkeeper_collector.ingest.prepare import Preparer
from schoolkeeper_collector.ingest.preparing import PreparingThread
from schoolkeeper_collector.ingest.writer import Deliver, Follower, Writer
from schoolkeeper_collector.ledger.fsck import Finding, check_store
from schoolkeeper_collector.ledger.sequencer import Sequencer
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_collector.store.expiry import Expiry
from schoolkeeper_proto import statements, wire
from schoolkeeper_proto.wire import Lane
from support.device import NOW_MS, DeviceIdentity, SchoolPins, SimulatedDevice
from support.stores import migrated

SCHOOL = "westgate.example"
NO_BUDGET = dict.fromkeys(wire.LANES, 1 << 60)


def add_school(store: Store, school_id: str = SCHOOL) -> None:
    with store.write() as connection:
        connection.execute(
            insert(tables.schools).values(
                school_id=school_id,
                name="Westgate",
                generation=1,
                time_zone="Europe/London",
                created_ms=NOW_MS,
            )
        )


def add_device(
    store: Store, identity: DeviceIdentity, group: str = "ks2-laptops", school_id: str = SCHOOL
) -> None:
    """The rows that enrolment writes."""
    with store.write() as connection:
        connection.execute(
            insert(tables.devices).values(
                school_id=school_id,
                device_id=identity.device_id,
                device_group=group,
                status="active",
                simulated=True,
                hostname="laptop",
                serial=identity.device_id.hex()[:8],
                vendor="V",
                model="M",
                operating_system="Debian 12",
                platform="linux",
                agent_version="0.1.0",
                machine_hash=b"",
                key_storage="file",
                token_id="t",
                enrolled_ms=NOW_MS,
            )
        )
        certificate = identity.certificate
        connection.execute(
            insert(tables.certificates).values(
                school_id=school_id,
                certificate_hash=identity.certificate_hash,
                device_id=identity.device_id,
                serial_number=str(certificate.serial_number)[:64],
                der=identity.der,
                not_before_ms=int(certificate.not_valid_before_utc.timestamp() * 1000),
                not_after_ms=int(certificate.not_valid_after_utc.timestamp() * 1000),
                revoked_because="",
            )
        )


@dataclass
class Identities:
    """Identity from the client certificate alone; `refused` maps a device to the reason it may not speak."""

    school_id: str = SCHOOL
    refused: dict[bytes, str] = field(default_factory=dict)

    def identify(self, auth_context: AuthContext, now_ms: int) -> PeerIdentity:
        (pem,) = list(auth_context["x509_pem_cert"])
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        identity = PeerIdentity(
            school_id=self.school_id,
            device_id=bytes.fromhex(uri.rpartition("/")[2]),
            certificate_hash=certificate_hash(certificate),
            not_after_ms=int(certificate.not_valid_after_utc.timestamp() * 1000),
            public_key=public_key_bytes(key),
        )
        self.check(identity, now_ms)
        return identity

    def check(self, identity: PeerIdentity, now_ms: int) -> None:
        reason = self.refused.get(identity.device_id)
        if reason:
            raise IdentityRefused(reason, "enrol it again")


def certificate_hash(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()


class TestSchool:
    """Keys of a school in memory."""

    __test__ = False

    def __init__(self, school_id: str = SCHOOL) -> None:
        self.school_id = school_id
        self.ingest = X25519PrivateKey.generate()
        self.ledger = Ed25519PrivateKey.generate()
        self.command = statements.Ed25519Signer(Ed25519PrivateKey.generate())

    @property
    def ingest_id(self) -> bytes:
        return hashlib.sha256(self.ingest.public_key().public_bytes_raw()).digest()

    @property
    def pins(self) -> SchoolPins:
        return SchoolPins(
            school_id=self.school_id,
            ingest_key=self.ingest.public_key(),
            ingest_key_id=self.ingest_id,
            ledger_key=self.ledger.public_key().public_bytes_raw(),
            command_keys={self.command.key_id: self.command.public_key.public_bytes_raw()},
        )


class Collector:
    """Ingest without threads: `exchange` prepares, commits and hands the answers to the device."""

    def __init__(
        self,
        store: Store,
        school: TestSchool,
        *,
        budget: dict[Lane, int] | None = None,
        deliver: Deliver = lambda _answers: None,
        follower: Follower | None = None,
        expiry: Expiry | None = None,
        terms: Terms | None = None,
        ingest_keys: Mapping[bytes, X25519PrivateKey] | None = None,
    ) -> None:
        self.store = store
        self.school = school
        self.now_ms = NOW_MS
        self.terms = terms or Terms()
        self.sequencer = Sequencer(store, school.school_id, school.ledger, "test")
        self.sequencer.take_office(NOW_MS)
        self.preparer = Preparer(
            school.school_id,
            {school.ingest_id: school.ingest} if ingest_keys is None else ingest_keys,
            max_frames=self.terms.max_frames,
        )
        self.writer = Writer(
            store=store,
            school_id=school.school_id,
            sequencer=self.sequencer,
            ledger_keys=(school.ledger.public_key().public_bytes_raw(),),
            command_signer=school.command,
            terms=self.terms,
            budget=DailyBudget(NO_BUDGET if budget is None else budget),
            policy_of=lambda _group, _device: None,
            deliver=deliver,
            follower=follower,
            expiry=expiry,
            clock_ms=lambda: self.now_ms,
        )
        self._inline = PreparingThread(self.preparer, lambda _job: None)

    def close(self) -> None:
        self.sequencer.leave_office()

    def device(self, group: str = "ks2-laptops") -> SimulatedDevice:
        """An enrolled device."""
        identity = DeviceIdentity.issued(self.school.school_id)
        add_device(self.store, identity, group, self.school.school_id)
        return SimulatedDevice(identity, self.school.pins)

    def peer(self, device: SimulatedDevice) -> Peer:
        identity = device.identity
        return Peer(
            PeerIdentity(
                school_id=self.school.school_id,
                device_id=identity.device_id,
                certificate_hash=identity.certificate_hash,
                not_after_ms=1 << 60,
                public_key=public_key_bytes(identity.key.public_key()),
            ),
            address="192.0.2.1",
        )

    def greet(self, device: SimulatedDevice, **hello: object) -> Peer:
        peer = self.peer(device)
        self.hand_out([(device, HelloJob(peer, device.hello(**hello)))])
        return peer

    def job(self, peer: Peer, batch: wire.Batch) -> Job:
        return self._inline._one(peer, batch, len(batch.statement))

    def send(self, device: SimulatedDevice, peer: Peer, *batches: wire.Batch) -> list[Answer]:
        """Batches of one device in one group commit."""
        for batch in batches:
            device.flying.setdefault(batch.number, (batch, []))
        return self.hand_out([(device, self.job(peer, batch)) for batch in batches])

    def beat(self, device: SimulatedDevice, peer: Peer) -> None:
        beat = wire.StreamHeartbeat(checkpoint=device.checkpoint, wall_unix_ms=NOW_MS)
        self.hand_out([(device, BeatJob(peer, beat))])

    def hand_out(self, work: list[tuple[SimulatedDevice, Job]]) -> list[Answer]:
        """One group commit; every answer goes to the device that asked."""
        devices = {id(job): device for device, job in work}
        found = []
        for job, answer in self.writer.work([job for _device, job in work]):
            found.append(answer)
            for body in answer:
                if isinstance(job, FaultJob) and isinstance(body, wire.Ack):
                    devices[id(job)].flying.pop(body.batch_number, None)
                    devices[id(job)].answers.append(body)
                else:
                    devices[id(job)].take(body)
        return found

    def deliver_all(self, device: SimulatedDevice, peer: Peer | None = None, max_frames: int = 512) -> Peer:
        peer = peer or self.greet(device)
        while device.waiting or device.evictions:
            self.send(device, peer, device.cut(max_frames))
        return peer

    def expire_step(self, expiry: Expiry) -> None:
        """One step as the writer does it."""
        now_ms = self.now_ms
        with self.store.write() as connection:
            self.sequencer.begin(connection)
            done = expiry.step(connection, self._bury, now_ms)
            self.sequencer.finish(connection, now_ms)
        self.sequencer.committed()
        expiry.committed(done, now_ms)

    def _bury(self, entry: wire.LedgerEntry) -> int:
        return self.sequencer.append(statements.leaf_bytes(entry), entry.type.value, self.now_ms)

    def expire(self, expiry: Expiry | None = None) -> None:
        """A whole pass of expiry."""
        expiry = expiry or Expiry(self.school.school_id, self.store.keystore)
        expiry.put_off(0)
        self.expire_step(expiry)
        while expiry.due(self.now_ms):
            self.expire_step(expiry)

    def fsck(self) -> list[Finding]:
        keys = (self.school.ledger.public_key().public_bytes_raw(),)
        return list(check_store(self.store, self.school.school_id, keys))

    def count(self, table: object) -> int:
        with self.store.read() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]

    def totals(self) -> dict[str, int]:
        """Events by what became of them, from the database alone."""
        with self.store.read() as connection:
            held = connection.execute(
                select(func.sum(tables.intervals.c.end_sequence - tables.intervals.c.first_sequence))
            ).scalar()
            evicted = connection.execute(select(func.sum(tables.evictions.c.events))).scalar()
            aside = connection.execute(select(func.sum(tables.set_aside.c.events))).scalar()
        return {
            "rows": self.count(tables.events),
            "held": int(held or 0),
            "evicted": int(evicted or 0),
            "aside": int(aside or 0),
        }

    def facts(self) -> list[str]:
        with self.store.read() as connection:
            rows: Iterable[str] = connection.execute(
                select(tables.collector_facts.c.kind).order_by(tables.collector_facts.c.fact_no)
            ).scalars()
            return list(rows)


def sqlite_store(folder: Path, name: str = "collector") -> Store:
    """A migrated store with the test school in it."""
    urls = (f"sqlite:///{folder}/{name}.db", f"sqlite:///{folder}/{name}-keys.db")
    migrated(*urls)
    store = open_store(*urls)
    add_school(store)
    return store
