"""The running agent's parts, in one place: made by ``service.py``, shared by those that keep them going."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schoolkeeper_agent import addresses, describe
from schoolkeeper_agent.clock import SystemClock
from schoolkeeper_agent.config import Settings
from schoolkeeper_agent.effects import Heart
from schoolkeeper_agent.identity import Identity
from schoolkeeper_agent.policy_file import CAPABILITIES, PolicyInForce, not_enforced
from schoolkeeper_agent.seams import Ability
from schoolkeeper_agent.spool.contract import IngestTarget, SpoolError, Usage
from schoolkeeper_agent.spool.writer import FrameWriter
from schoolkeeper_agent.trust import Trust
from schoolkeeper_agent.uplink.cutting import DeviceIdentity
from schoolkeeper_agent.uplink.machine import Uplink
from schoolkeeper_agent.uplink.standing import InForce

if TYPE_CHECKING:
    from schoolkeeper_agent.transport import Transport


@dataclass(slots=True)
class Parts:
    """``identity``, ``trust`` and ``policy`` change while the agent runs; the rest is there from the start."""

    settings: Settings
    clock: SystemClock
    identity: Identity
    trust: Trust
    policy: PolicyInForce
    platform: str
    chance: Callable[[], float]
    uplink: Uplink = field(init=False)
    writer: FrameWriter = field(init=False)
    heart: Heart = field(init=False)
    transport: Transport = field(init=False)
    abilities: Mapping[str, Ability] = field(default_factory=dict)
    policy_problem: str = ""
    usage: Usage | None = None
    jobs: set[asyncio.Future[None]] = field(default_factory=set)

    def spawn(self, work: Awaitable[None]) -> asyncio.Future[None]:
        """Runs beside everything else; cancelled at the end."""
        task = asyncio.ensure_future(work)
        self.jobs.add(task)
        task.add_done_callback(self.jobs.discard)
        return task

    def believed_ms(self) -> int:
        """Unix time as far as it can be trusted."""
        return self.uplink.believed_ms(self.clock.now())

    def not_enforceable(self) -> tuple[str, ...]:
        unable = (f"{n}: {a.because}" for n, a in self.abilities.items() if not a.able)
        return (*unable, *not_enforced(self.policy.bundle))

    def device(self) -> DeviceIdentity:
        return DeviceIdentity(
            school_id=self.identity.school_id,
            device_id=self.identity.device_id,
            certificate_hash=self.identity.certificate_hash,
            signer=self.identity.signer,
        )

    def in_force(self) -> InForce:
        return InForce(
            bundle_hash=self.policy.bundle.hash,
            bundle_version=self.policy.bundle.manifest.version,
            key_statement_hash=self.trust.key_statement_hash,
            root_version=self.trust.root_version,
            agent_version=describe.agent_version(),
            platform=self.platform,
            capabilities=tuple(sorted(CAPABILITIES)),
            boot_id=self.clock.boot_id,
            machine_hash=describe.machine_hash(),
        )

    def target(self) -> IngestTarget:
        key = self.trust.ingest_key(self.believed_ms())
        return IngestTarget(key_id=key.key_id, public_key=key.public_key)

    def addresses(self) -> addresses.Addresses:
        return addresses.known_addresses(
            self.settings.state_dir,
            self.identity,
            self.trust,
            extra_uplink=self.settings.uplink_addresses,
            extra_enrolment=self.settings.enrolment_addresses,
        )

    def reached_by(self) -> tuple[str, ...]:
        """``host:port`` of everything on the way to the collector: the proxy, where there is one, and its listeners."""
        from schoolkeeper_agent.net import AddressError, parse_proxy

        known = self.addresses()
        listeners = (*known.uplink, *known.enrolment)
        try:
            proxy = parse_proxy(self.settings.proxy)
        except AddressError:
            proxy = None
        if proxy is None:
            return listeners
        host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
        return (f"{host}:{proxy.port}", *listeners)

    async def look_at_spool(self) -> None:
        with contextlib.suppress(SpoolError):
            self.usage = await asyncio.wrap_future(self.writer.call(lambda spool: spool.usage()))
