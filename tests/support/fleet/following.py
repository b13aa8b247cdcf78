"""Simulated devices that take policy as an agent does: verified from the pinned root, over the real Fetch.

They enforce nothing: what a policy would refuse is told to them, and they report it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from schoolkeeper_agent.enrol import EnrolOptions, enrol
from schoolkeeper_agent.identity import load_identity
from schoolkeeper_agent.net import fetch_from, open_channel
from schoolkeeper_agent.trust import Trust, load_trust, update_trust
from schoolkeeper_proto import model, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import Lane
from support.fleet.device import Device, wall_ms
from support.fleet.enrolling import PLATFORM, Enrolled, machine_hash
from support.fleet.outbox import Sender


@dataclass
class Follower:
    """One device. ``applied`` tells how long each update took, in seconds: fetched, verified, in force."""

    state_dir: Path
    device: Device
    applied: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    updates: int = 0
    """How many updates it ended, also those that changed nothing."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def enrolled(cls, address: str, token: str, state_dir: Path, number: int) -> Follower:
        """Enrols over the real call and keeps what an agent keeps."""
        description = wire.DeviceDescription(
            hostname=f"simulated-{number:04d}",
            serial=f"SIM{number:06d}",
            platform=PLATFORM,
            agent_version="0",
            machine_hash=machine_hash(number),
        )
        options = EnrolOptions(
            state_dir=state_dir, address=address, token=token, proxy=None, description=description
        )
        await enrol(options, now_ms=wall_ms())
        identity = load_identity(state_dir)
        assert identity is not None
        trust = _trust(state_dir)
        key = trust.ingest_key(wall_ms())
        sender = Sender(
            school_id=identity.school_id,
            device_id=identity.device_id,
            certificate_hash=identity.certificate_hash,
            signer=identity.signer,
            ingest_key=X25519PublicKey.from_public_bytes(key.public_key),
            ingest_key_id=key.key_id,
        )
        device = Device(
            Enrolled(
                sender=sender,
                key_pem=identity.key_pem,
                chain_pem=identity.chain_pem,
                ca_pem=identity.ca_pem,
                uplink=trust.key_statement.uplink_addresses[0],
                statement=trust.key_statement,
                bundle=trust.bundle,
            ),
            number,
        )
        device.in_force = (trust.bundle_hash, trust.bundle_version)
        made = cls(state_dir, device)
        device.offered = made._wanted.set
        return made

    @property
    def version(self) -> int:
        return _trust(self.state_dir).bundle_version

    @property
    def device_id(self) -> bytes:
        return self.device.enrolled.sender.device_id

    async def start(self) -> None:
        """Connects, says what is in force, and follows what is published."""
        self.report(self._in_force_event())
        self._tasks = [asyncio.create_task(self.device.run()), asyncio.create_task(self._follow())]
        await asyncio.wait_for(self.device.connected.wait(), 30)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    def report(self, *bodies: model.Body) -> None:
        """Seals and sends events that happen now."""
        events = [
            encode(
                model.Event(
                    id=model.EventId(_uuid()),
                    wall_unix_ms=wall_ms(),
                    monotonic_ms=int(time.monotonic() * 1000),
                    boot_id=machine_hash(self.device.number)[:16],
                    severity=model.Severity.LOW,
                    body=body,
                )
            )
            for body in bodies
        ]
        self.device.outbox.put(Lane.NORMAL, events)
        self.device.wake()

    async def _follow(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            began = time.monotonic()
            before = _trust(self.state_dir)
            identity = load_identity(self.state_dir)
            assert identity is not None
            async with open_channel(
                self.device.enrolled.uplink, self.device.enrolled.ca_pem, identity, None
            ) as channel:
                update = await update_trust(self.state_dir, fetch_from(channel), now_ms=wall_ms())
            self.updates += 1
            if update.refused:
                self.refused.append(update.refused)
            trust = _trust(self.state_dir)
            if trust.bundle_hash != before.bundle_hash:
                self.applied.append(time.monotonic() - began)
                self.device.in_force = (trust.bundle_hash, trust.bundle_version)
                self.report(self._in_force_event())

    def _in_force_event(self) -> model.PolicyApplied:
        trust = _trust(self.state_dir)
        return model.PolicyApplied(bundle_hash=trust.bundle_hash, bundle_version=trust.bundle_version)


def _trust(state_dir: Path) -> Trust:
    found = load_trust(state_dir)
    assert found is not None
    return found


def _uuid() -> bytes:
    import uuid

    return uuid.uuid4().bytes
