"""The agent while it is enrolled: every part built, run in one TaskGroup, and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from schoolkeeper_agent import clock, core, describe, enforcers
from schoolkeeper_agent.agreeing.door import AgreeingDoor
from schoolkeeper_agent.budget import BudgetWatch
from schoolkeeper_agent.clock import Moment, SystemClock
from schoolkeeper_agent.config import Settings
from schoolkeeper_agent.contact import Contact
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.desk import AskingDesk
from schoolkeeper_agent.effects import Heart, Stamp
from schoolkeeper_agent.encrypting.desk import EncryptingDesk
from schoolkeeper_agent.following import Follower
from schoolkeeper_agent.grants.keeper import GrantKeeper
from schoolkeeper_agent.identity import Identity
from schoolkeeper_agent.observations import Noted, PolicyRejected, PolicySwapped
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.policy_file import PolicyInForce
from schoolkeeper_agent.pulse import Pulse
from schoolkeeper_agent.removing.door import RemovalDoor
from schoolkeeper_agent.reporting import Running, TellsBrowsers, report_of
from schoolkeeper_agent.run_marker import NAME, RunMarker
from schoolkeeper_agent.seams import Ability, Enforcer, Record, Tell
from schoolkeeper_agent.service_manager import ServiceManager
from schoolkeeper_agent.session.server import SessionServer
from schoolkeeper_agent.session.silenced import Silenced
from schoolkeeper_agent.spool.writer import FrameWriter
from schoolkeeper_agent.spool_words import SpoolWords
from schoolkeeper_agent.status import StatusReport
from schoolkeeper_agent.telling_door import TellingDoor
from schoolkeeper_agent.trust import Trust
from schoolkeeper_agent.updating.door import Updates
from schoolkeeper_agent.upkeep import PolicyKeeper, Renewals
from schoolkeeper_agent.uplink.machine import Uplink
from schoolkeeper_agent.uplink.standing import Memory
from schoolkeeper_agent.watching import Watching
from schoolkeeper_proto import model

if TYPE_CHECKING:
    from schoolkeeper_agent.transport import Transport

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Service:
    """Made by ``bootstrap``; ``run`` returns when ``stop`` was called."""

    settings: Settings
    clock: SystemClock
    identity: Identity
    trust: Trust
    policy: PolicyInForce
    manager: ServiceManager
    platform: str = sys.platform
    exposed_key: str = ""
    """What was wrong with the rights of the device's key at the start, in words."""
    chance: Callable[[], float] = random.random
    parts: Parts = field(init=False)
    teller: SessionServer = field(init=False)
    _watching: Watching = field(init=False)
    _pulse: Pulse = field(init=False)
    _words: SpoolWords = field(init=False)
    _grants: GrantKeeper = field(init=False)
    _desk: AskingDesk = field(init=False)
    _telling: TellingDoor = field(init=False)
    _agreeing: AgreeingDoor = field(init=False)
    _encrypting: EncryptingDesk = field(init=False)
    _removal: RemovalDoor = field(init=False)
    _follower: Follower = field(init=False)
    _updates: Updates = field(init=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _stop_reason: str = ""
    _enforcers: list[Enforcer] = field(default_factory=list)
    _marker: RunMarker = field(init=False)

    @property
    def heart(self) -> Heart:
        return self.parts.heart

    @property
    def writer(self) -> FrameWriter:
        return self.parts.writer

    @property
    def transport(self) -> Transport:
        return self.parts.transport

    async def run(self) -> None:
        self._build()
        self.writer.start()
        self._begin()
        try:
            await self.teller.start()
        except OSError as error:
            _log.warning("nobody at the screen can be told anything: %s", error)
        self._encrypting = await self._begin_encrypting()
        await self._begin_removal()
        keeper = PolicyKeeper(self.parts, self._watching, self._grants, self._updates.consider)
        renewals = Renewals(self.parts)
        contact = Contact(
            self.parts, self._watching, keeper, renewals, self._grants, self._desk, self._telling
        )
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.heart.run()),
                group.create_task(contact.run()),
                group.create_task(self._pulse.every_minute()),
                group.create_task(self._pulse.heartbeats()),
                group.create_task(renewals.run()),
                group.create_task(keeper.run()),
                group.create_task(self._grants.run()),
                group.create_task(self._desk.run()),
                group.create_task(self._telling.run()),
                group.create_task(self._updates.run()),
                group.create_task(self._pulse.keep_alive(self.manager)),
            ]
            self._watching.start()
            self.manager.ready(f"{len(self._watching.tasks)} sensors, {len(self.heart.enforcers)} enforcers")
            await self._stopping.wait()
            for task in tasks:
                task.cancel()
        await self._end()

    async def _begin_encrypting(self) -> EncryptingDesk:
        desk = EncryptingDesk(self.parts)
        try:
            await desk.start()
        except OSError as error:
            _log.warning("no medium can be encrypted here: %s", error)
        return desk

    async def _begin_removal(self) -> None:
        try:
            await self._removal.start()
        except OSError as error:
            _log.warning("nobody can say why the agent is removed: %s", error)

    def stop(self, reason: str) -> None:
        """Begins an orderly end."""
        self._stop_reason = self._stop_reason or reason
        self._stopping.set()

    # ---- building -------------------------------------------------------------------------------------

    def _build(self) -> None:
        parts = self.parts = Parts(
            settings=self.settings,
            clock=self.clock,
            identity=self.identity,
            trust=self.trust,
            policy=self.policy,
            platform=self.platform,
            chance=self.chance,
        )
        self._grants = GrantKeeper(parts)
        self._words = SpoolWords(parts, asyncio.get_running_loop(), self._grants.wake)
        self._marker = RunMarker(path=self.settings.state_dir / NAME, boot_id=self.clock.boot_id)
        parts.writer = FrameWriter(self._words.open, self.clock.now, self._words.hooks)
        parts.uplink = Uplink(
            parts.device(),
            self.trust.key_statement,
            self.trust.group,
            parts.in_force(),
            Memory(),
            self.chance,
        )
        context = replace(self._context(), browser_root=self.settings.browser_root)
        self._enforcers = enforcers.load(self.platform, context, self._emit_any)
        parts.abilities = {e.name: self._ability(e) for e in self._enforcers}
        able = frozenset(name for name, ability in parts.abilities.items() if ability.able)
        self._desk = AskingDesk(parts)
        self._follower = Follower(parts)
        self._removal = RemovalDoor(parts, self._follower)
        self._updates = Updates(parts, self._follower)
        self._telling = TellingDoor(parts, self._desk.known_account, self._say)
        self._agreeing = AgreeingDoor(parts, self._desk.known_account, self._say)
        self.teller = SessionServer(
            self.settings.run_dir,
            user_of=self.user_of_session,
            desk=self._desk,
            listener=self._telling,
            agreeing=self._agreeing,
            known=self._signed_in,
            silenced=Silenced(self._silenced, self._signed_in, lambda: self.clock.now().monotonic_ms),
        )
        budget = BudgetWatch(self.settings.memory_bytes, self.settings.cpu_percent)
        parts.heart = Heart(
            state=core.initial(self.policy.bundle, run_id=os.urandom(16), able=able),
            writer=parts.writer,
            stamp=Stamp(
                now=self.clock.now,
                boot_id=self.clock.boot_id,
                skew_ms=self._skew,
                believed_ms=parts.uplink.believed_ms,
            ),
            enforcers={e.name: e for e in self._enforcers if e.name in able},
            teller=self.teller,
            budget=budget,
            recorded=self._recorded,
        )
        self._watching = Watching(parts, self._context)
        self._pulse = Pulse(
            parts, self._watching, budget, self._marker, self.report, self._agreeing.each_minute
        )

    def _context(self) -> Context:
        mounts = tuple(Path(mount) for mount in self.settings.exec_mounts) or None
        bundle = self.parts.policy.bundle
        context = Context(
            bundle=bundle,
            run_dir=self.settings.run_dir,
            exec_mounts=mounts,
            state_dir=self.settings.state_dir,
            collectors=self.parts.reached_by,
            heard=lambda: self.parts.uplink.heard,
        )
        return context if not self.settings.audit_only else replace(context, has_root=False)

    def _ability(self, part: Enforcer) -> Ability:
        if self.settings.audit_only:
            return Ability(able=False, because="audit_only is set in the configuration")
        return part.ability()

    def _skew(self, now: Moment) -> int | None:
        return clock.skew_ms(self.parts.uplink.memory.floor, now, self.clock.boot_id)

    def _emit_any(self, observation: object) -> None:
        """For enforcers, whose threads may call it too."""
        self._words.post(self.heart.emit, observation)

    def _recorded(self, event: Record) -> None:
        self._desk.recorded(event)
        self._telling.recorded(event)
        self._follower.recorded(event)

    def _silenced(self, body: model.Body) -> None:
        self.heart.emit(Noted(body=body, severity=model.Severity.MEDIUM))

    async def _say(self, words: Tell) -> None:
        await self.teller.tell(words)

    def user_of_session(self, session_id: str) -> int:
        """The user id of a session that the core knows, -1 of any other."""
        held = self.heart.state.sessions.get(session_id)
        return held.user_id if held is not None else -1

    def _signed_in(self, user_id: int) -> bool:
        return any(held.user_id == user_id for held in self.heart.state.sessions.values())

    # ---- beginning and end ----------------------------------------------------------------------------

    def _begin(self) -> None:
        now = self.clock.now()
        killed = self._marker.previous(now)
        try:
            self._marker.seen(now)
        except OSError as error:
            _log.warning("the run marker cannot be written: %s", error)
        if killed is not None:
            self.heart.emit(Noted(body=killed, severity=model.Severity.HIGH))
        if self.exposed_key:
            body = model.AgentTampered(what="who may read the device's key", detail=self.exposed_key[:500])
            self.heart.emit(Noted(body=body, severity=model.Severity.HIGH))
        enforcing = any(ability.able for ability in self.parts.abilities.values())
        not_enforceable = self.parts.not_enforceable()
        started = model.AgentStarted(
            version=describe.agent_version(),
            operating_system=describe.describe_device("file").operating_system,
            mode="enforce" if enforcing else "audit",
            not_enforceable=not_enforceable,
        )
        self.heart.emit(Noted(body=started))
        self.heart.emit(PolicySwapped(bundle=self.policy.bundle, not_enforceable=not_enforceable))
        if self.policy.problem:
            self.heart.emit(PolicyRejected(reason=self.policy.problem))
        self._grants.begin()

    async def _end(self) -> None:
        self.manager.stopping()
        for job in self.parts.jobs:
            job.cancel()
        await self._watching.stop()
        await asyncio.gather(*self.parts.jobs, return_exceptions=True)
        for enforcer in self._enforcers:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(10):
                    await enforcer.close()
        await self._encrypting.close()
        await self._removal.close()
        await self.teller.close()
        self.heart.emit(Noted(body=model.AgentStopped(reason=self._stop_reason)))
        await self.heart.catch_up()
        left = await asyncio.to_thread(self.writer.stop)
        if left:
            _log.error("%d events could not be written before the end", left)
        else:
            self._marker.stopped()

    async def report(self) -> StatusReport:
        parts = self.parts
        await parts.look_at_spool()
        return report_of(
            Running(
                now=self.clock.now(),
                identity=parts.identity,
                trust=parts.trust,
                policy=parts.policy,
                policy_problem=parts.policy_problem,
                uplink=parts.uplink,
                writer=parts.writer.state(),
                usage=parts.usage,
                sensors=tuple(self._watching.states.values()),
                abilities=parts.abilities,
                grants=self._grants.lines(),
                not_said=self.teller.not_said,
                browsers=tuple(
                    line for one in self._enforcers if isinstance(one, TellsBrowsers) for line in one.lines()
                ),
            )
        )
