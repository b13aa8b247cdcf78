"""Keeps policy, keys and certificate current: asks now and then, takes what verifies, leaves the rest as it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from schoolkeeper_agent.grants.keeper import GrantKeeper
from schoolkeeper_agent.identity import is_due
from schoolkeeper_agent.observations import PolicyRejected, PolicySwapped
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.policy_file import FROZEN, freeze, is_frozen, policy_from, thaw
from schoolkeeper_agent.trust import Trust, load_trust, update_trust
from schoolkeeper_agent.watching import Watching
from schoolkeeper_proto import wire
from schoolkeeper_proto.bundle import BundleRefused

POLICY_SECONDS = 6 * 3_600.0
RENEW_SECONDS = 600.0
RENEW_AGAIN_SECONDS = 5.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class PolicyKeeper:
    """One refresh at a time, beside the stream."""

    parts: Parts
    watching: Watching
    grants: GrantKeeper
    taken: Callable[[], None] = lambda: None
    """Called after another signed set came into force."""
    _task: asyncio.Future[None] | None = None

    def offered(self, available: wire.PolicyAvailable) -> None:
        """The collector says what it has: asked for only if it is something else than what is here."""
        trust = self.parts.trust
        newer = available.timestamp_version > trust.timestamp_version
        if newer or available.bundle_hash != trust.bundle_hash:
            self.soon()

    def soon(self) -> None:
        if self._task is None or self._task.done():
            self._task = self.parts.spawn(self.refresh())

    async def run(self) -> None:
        while True:
            await asyncio.sleep(POLICY_SECONDS * (0.75 + self.parts.chance() / 2))
            self.soon()

    async def refresh(self) -> None:
        """Asks for newer signed files; what is refused leaves everything as it is."""
        await self.thaw()
        from schoolkeeper_agent.net import fetch_from

        parts = self.parts
        channel = parts.transport.channel
        if channel is None:
            return
        update = await update_trust(parts.settings.state_dir, fetch_from(channel), now_ms=parts.believed_ms())
        parts.policy_problem = f"{update.refused}: {update.message}" if update.refused else ""
        if update.refused and not update.is_stale and update.refused != "unreachable":
            parts.heart.emit(PolicyRejected(reason=parts.policy_problem[:500]))
        if not update.changed:
            return
        trust = load_trust(parts.settings.state_dir)
        if trust is not None:
            await self._take(trust)

    async def _take(self, trust: Trust) -> None:
        parts = self.parts
        before, parts.trust = parts.trust, trust
        standing = parts.uplink.standing
        standing.keys, standing.group = trust.key_statement, trust.group
        target = parts.target()
        parts.writer.call(lambda spool: spool.retarget(target))
        if trust.bundle_hash != before.bundle_hash:
            if self.grants.lost:
                freeze(parts.settings.state_dir)
                parts.policy_problem = FROZEN
            else:
                await self._swap()
        self.grants.judge_again()
        standing.in_force = parts.in_force()
        self.taken()

    async def thaw(self) -> None:
        """After a lost device was released: the policy that came meanwhile is taken now."""
        if not self.grants.lost and is_frozen(self.parts.settings.state_dir):
            thaw(self.parts.settings.state_dir)
            self.parts.policy_problem = ""
            await self._swap()
            self.grants.judge_again()
            self.parts.uplink.standing.in_force = self.parts.in_force()

    async def _swap(self) -> None:
        parts, trust = self.parts, self.parts.trust
        try:
            parts.policy = policy_from(trust, parts.settings.state_dir)
        except BundleRefused as error:
            parts.policy_problem = str(error)
            parts.heart.emit(
                PolicyRejected(
                    bundle_hash=trust.bundle_hash, bundle_version=trust.bundle_version, reason=str(error)
                )
            )
        else:
            swapped = PolicySwapped(bundle=parts.policy.bundle, not_enforceable=parts.not_enforceable())
            parts.heart.emit(swapped)
            await self.watching.restart()


@dataclass(slots=True)
class Renewals:
    """The device's certificate, in time and also after it has run out."""

    parts: Parts

    async def run(self) -> None:
        parts, failed = self.parts, 0
        while True:
            wait = RENEW_SECONDS
            # Whichever clock is later: renewing early costs nothing, not renewing costs the contact.
            if is_due(parts.identity, max(parts.clock.now().wall_ms, parts.believed_ms())):
                failed = 0 if await self._renewed() else failed + 1
                if failed:
                    wait = min(RENEW_SECONDS, RENEW_AGAIN_SECONDS * 2**failed)
            await asyncio.sleep(wait * (0.75 + parts.chance() / 2))

    async def _renewed(self) -> bool:
        from schoolkeeper_agent.renew import RenewError

        try:
            await self.renew()
        except (RenewError, OSError) as error:
            _log.warning("the certificate was not renewed: %s", error)
            return False
        return True

    async def renew(self) -> None:
        from schoolkeeper_agent.net import parse_proxy
        from schoolkeeper_agent.renew import renew

        parts = self.parts
        parts.identity = await renew(
            parts.settings.state_dir,
            parts.identity,
            parts.addresses().enrolment,
            proxy=parse_proxy(parts.settings.proxy),
            now_ms=parts.believed_ms(),
        )
        parts.uplink.standing.identity = parts.device()
        await parts.transport.reconnect("the certificate was renewed")
        parts.transport.connect_now()
