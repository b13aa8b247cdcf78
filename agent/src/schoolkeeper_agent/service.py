"""The agent while it is enrolled: every part built, run in one TaskGroup, and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from schoolkeeper_agent import addresses, clock, core, describe, enforcers, notice, observations, sensors
from schoolkeeper_agent.budget import BudgetWatch, cpu_milliseconds, resident_bytes
from schoolkeeper_agent.clock import ClockWatch, Moment, SystemClock
from schoolkeeper_agent.collection import lacks_notice
from schoolkeeper_agent.config import Settings
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.effects import Heart, Stamp
from schoolkeeper_agent.identity import Identity
from schoolkeeper_agent.observations import Noted, PolicyRejected, PolicySwapped, Tick
from schoolkeeper_agent.policy_file import CAPABILITIES, PolicyInForce, policy_from
from schoolkeeper_agent.reporting import Running, report_of, save_report
from schoolkeeper_agent.run_marker import NAME, RunMarker
from schoolkeeper_agent.seams import Ability, Enforcer, Sensor
from schoolkeeper_agent.service_manager import ServiceManager
from schoolkeeper_agent.session.server import SessionServer
from schoolkeeper_agent.spool.contract import (
    Appended,
    IngestTarget,
    Owner,
    Settlement,
    Spool,
    SpoolError,
    Usage,
)
from schoolkeeper_agent.spool.opening import DAMAGE_NOTE, open_spool, read_damage
from schoolkeeper_agent.spool.writer import FrameWriter, Hooks, Lost
from schoolkeeper_agent.status import StatusReport
from schoolkeeper_agent.supervise import SensorState, Supervisor
from schoolkeeper_agent.trust import Trust, load_trust, update_trust
from schoolkeeper_agent.uplink import messages
from schoolkeeper_agent.uplink.cutting import DeviceIdentity
from schoolkeeper_agent.uplink.machine import InForce, Memory, Uplink, answer
from schoolkeeper_proto import model, wire
from schoolkeeper_proto.bundle import BundleRefused

if TYPE_CHECKING:
    import grpc.aio

    from schoolkeeper_agent.transport import Transport

TICK_SECONDS = 60.0
POLICY_SECONDS = 6 * 3_600.0
RENEW_SECONDS = 600.0
RENEW_AGAIN_SECONDS = 5.0
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
    chance: Callable[[], float] = random.random
    uplink: Uplink = field(init=False)
    transport: Transport = field(init=False)
    writer: FrameWriter = field(init=False)
    heart: Heart = field(init=False)
    teller: SessionServer = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _stop_reason: str = ""
    _sensor_tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _sensor_states: dict[str, tuple[Sensor, SensorState]] = field(default_factory=dict)
    _enforcers: list[Enforcer] = field(default_factory=list)
    _abilities: dict[str, Ability] = field(default_factory=dict)
    _marker: RunMarker = field(init=False)
    _watch: ClockWatch = field(default_factory=ClockWatch)
    _budget: BudgetWatch = field(init=False)
    _usage: Usage | None = None
    _policy_task: asyncio.Task[None] | None = None
    _policy_problem: str = ""
    _jobs: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._build()
        self.writer.start()
        self._begin()
        try:
            await self.teller.start()
        except OSError as error:
            _log.warning("nobody at the screen can be told anything: %s", error)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.heart.run()),
                group.create_task(self._connect()),
                group.create_task(self._every_minute()),
                group.create_task(self._heartbeats()),
                group.create_task(self._renewals()),
                group.create_task(self._policy_refreshes()),
                group.create_task(self._keep_alive()),
            ]
            self._start_sensors()
            self.manager.ready(f"{len(self._sensor_tasks)} sensors, {len(self.heart.enforcers)} enforcers")
            await self._stopping.wait()
            for task in tasks:
                task.cancel()
        await self._end()

    def stop(self, reason: str) -> None:
        """Begins an orderly end."""
        self._stop_reason = self._stop_reason or reason
        self._stopping.set()

    # ---- building -------------------------------------------------------------------------------------

    def _build(self) -> None:
        now = self.clock.now()
        self._marker = RunMarker(path=self.settings.state_dir / NAME, boot_id=self.clock.boot_id)
        self._budget = BudgetWatch(self.settings.memory_bytes, self.settings.cpu_percent)
        hooks = Hooks(opened=self._spool_opened, appended=self._appended, lost=self._lost)
        self.writer = FrameWriter(self._open_spool, self.clock.now, hooks)
        self.uplink = Uplink(
            self._device(),
            self.trust.key_statement,
            self.trust.group,
            self._in_force(),
            Memory(),
            self.chance,
        )
        context = self._context()
        self._enforcers = enforcers.load(self.platform, context, self._emit_any)
        self._abilities = {e.name: self._ability(e) for e in self._enforcers}
        able = frozenset(name for name, ability in self._abilities.items() if ability.able)
        self.teller = SessionServer(self.settings.run_dir, user_of=self.user_of_session)
        stamp = Stamp(now=self.clock.now, boot_id=self.clock.boot_id, skew_ms=self._skew)
        self.heart = Heart(
            state=core.initial(self.policy.bundle, run_id=os.urandom(16), able=able),
            writer=self.writer,
            stamp=stamp,
            enforcers={e.name: e for e in self._enforcers if e.name in able},
            teller=self.teller,
            budget=self._budget,
        )
        self._watch, _ = self._watch.look(now)

    def _context(self) -> Context:
        mounts = tuple(Path(mount) for mount in self.settings.exec_mounts) or None
        context = Context(bundle=self.policy.bundle, run_dir=self.settings.run_dir, exec_mounts=mounts)
        if not self.settings.audit_only:
            return context
        return Context(
            bundle=self.policy.bundle, run_dir=self.settings.run_dir, exec_mounts=mounts, has_root=False
        )

    def _ability(self, part: Enforcer) -> Ability:
        if self.settings.audit_only:
            return Ability(able=False, because="audit_only is set in the configuration")
        return part.ability()

    def _device(self) -> DeviceIdentity:
        return DeviceIdentity(
            school_id=self.identity.school_id,
            device_id=self.identity.device_id,
            certificate_hash=self.identity.certificate_hash,
            signer=self.identity.signer,
        )

    def _in_force(self) -> InForce:
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

    def _target(self) -> IngestTarget:
        key = self.trust.ingest_key(self.uplink.believed_ms(self.clock.now()))
        return IngestTarget(key_id=key.key_id, public_key=key.public_key)

    def _open_spool(self) -> Spool:
        folder = self.settings.state_dir / "spool"
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = Owner(
            school_id=self.identity.school_id,
            device_id=self.identity.device_id,
            machine_hash=describe.machine_hash(),
        )
        return open_spool(
            folder / "spool.db",
            owner,
            self._target(),
            self.clock.now(),
            room_bytes=self.settings.room_bytes,
        )

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
        enforcing = any(ability.able for ability in self._abilities.values())
        started = model.AgentStarted(
            version=describe.agent_version(),
            operating_system=describe.describe_device("file").operating_system,
            mode="enforce" if enforcing else "audit",
            not_enforceable=self._not_enforceable(),
        )
        self.heart.emit(Noted(body=started))
        self.heart.emit(PolicySwapped(bundle=self.policy.bundle, not_enforceable=self._not_enforceable()))
        if self.policy.problem:
            self.heart.emit(PolicyRejected(reason=self.policy.problem))

    def _not_enforceable(self) -> tuple[str, ...]:
        return tuple(f"{n}: {a.because}" for n, a in self._abilities.items() if not a.able)

    async def _end(self) -> None:
        self.manager.stopping()
        for task in (*self._sensor_tasks, *self._jobs):
            task.cancel()
        await asyncio.gather(*self._sensor_tasks, *self._jobs, return_exceptions=True)
        for enforcer in self._enforcers:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(enforcer.close(), 10)
        await self.teller.close()
        self.heart.emit(Noted(body=model.AgentStopped(reason=self._stop_reason)))
        await self.heart.catch_up()
        left = await asyncio.to_thread(self.writer.stop)
        if left:
            _log.error("%d events could not be written before the end", left)
        else:
            self._marker.stopped()

    # ---- the spool's thread calls these ---------------------------------------------------------------

    def _post(self, call: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call, *arguments)

    def _spool_opened(self, spool: Spool) -> None:
        memory = Memory.from_notes(spool.note)
        damage = read_damage(spool.note(DAMAGE_NOTE))
        epoch_told = spool.note("epoch-told")
        self._usage = spool.usage()
        self._post(self._remember, memory)
        if damage is not None:
            gap = model.Gap(
                what=f"the spool's database was damaged ({damage.reason}); {damage.salvaged_events} events were saved",
                count=damage.lost_events,
                count_known=damage.lost_count_known,
            )
            self._post(self._tell_once, gap, DAMAGE_NOTE, b"")
        if epoch_told != spool.epoch and "machine's identity" in spool.epoch_because:
            moved = model.AgentTampered(what="spool", detail=spool.epoch_because)
            self._post(self._tell_once, moved, "epoch-told", spool.epoch)

    def _remember(self, memory: Memory) -> None:
        """At the start. A spool that was rebuilt while we run may have lost its notes; what we know is newer."""
        if not self.uplink.memory.witness.note:
            self.uplink.memory = memory

    def _tell_once(self, body: model.Body, note: str, value: bytes) -> None:
        """Records an event and, once it is written, that it was told."""
        self.heart.emit(Noted(body=body, severity=model.Severity.HIGH))

        async def note_it() -> None:
            await asyncio.sleep(1)
            with contextlib.suppress(SpoolError):
                settle = Settlement(notes={note: value})
                await asyncio.wrap_future(self.writer.call(lambda s: s.settle(settle, self.clock.now())))

        self._spawn(note_it())

    def _appended(self, done: Appended) -> None:
        self._post(self._frames_written)
        for record in done.evicted:
            evicted = model.Evicted(
                lane=record.lane.value,
                first_sequence=record.first_sequence,
                events=record.events,
                frames=record.frames,
                reason=record.reason,
            )
            self._post(self.heart.emit, Noted(body=evicted, severity=model.Severity.MEDIUM))

    def _frames_written(self) -> None:
        if hasattr(self, "transport"):
            self.transport.give(messages.FramesWritten())

    def _lost(self, lost: Lost) -> None:
        missed = observations.Missed(
            what=f"events that the spool could not take: {lost.because}"[:500],
            from_unix_ms=lost.from_unix_ms,
            to_unix_ms=lost.to_unix_ms,
            count=lost.events,
            count_known=True,
        )
        self._post(self.heart.emit, missed)

    # ---- sensors --------------------------------------------------------------------------------------

    def _start_sensors(self) -> None:
        """Those that can and may: a sensor whose kinds lack a notice text does not start (T-41)."""
        for sensor in sensors.load(self.platform, self._context()):
            supervisor = Supervisor(sensor, self.heart.emit)
            self._sensor_states[sensor.name] = (sensor, supervisor.state)
            ability, lacks = sensor.ability(), lacks_notice(sensor, self.policy.bundle)
            if lacks:
                supervisor.state.problem = f"the policy has no notice text for {', '.join(lacks)}"
            elif not ability.able:
                supervisor.state.problem = ability.because
            else:
                self._sensor_tasks.append(asyncio.create_task(supervisor.run(), name=sensor.name))
        self._write_notices()

    def _write_notices(self) -> None:
        """What is monitored, for everybody to read: made anew whenever the policy or what runs changed (T-41)."""
        running = [
            notice.Running(name=name, kinds=sensor.kinds, problem=state.problem)
            for name, (sensor, state) in self._sensor_states.items()
        ]
        try:
            notice.write_notices(self.settings.run_dir, self.policy.bundle, running)
        except OSError as error:
            _log.error("the notice of what is monitored cannot be written: %s", error)

    def _runs(self, sensor: str) -> bool:
        return sensor in self._sensor_states and self._sensor_states[sensor][1].running

    def user_of_session(self, session_id: str) -> int:
        """The user id of a session that the core knows, -1 of any other."""
        held = self.heart.state.sessions.get(session_id)
        return held.user_id if held is not None else -1

    async def _restart_sensors(self) -> None:
        tasks, self._sensor_tasks = self._sensor_tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._sensor_states.clear()
        self._start_sensors()

    def _emit_any(self, observation: object) -> None:
        """For enforcers, whose threads may call it too."""
        self._post(self.heart.emit, observation)

    # ---- contact --------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        """The gRPC library is loaded only here, after everything that protects is in place."""
        from schoolkeeper_agent.transport import Doors, Transport

        doors = Doors(
            open_channel=self._open_channel, now=self.clock.now, perform=self._ask, explain=self._explain
        )
        self.transport = Transport(self.uplink, self.writer, doors)
        await self.transport.run()

    def _addresses(self) -> addresses.Addresses:
        return addresses.known_addresses(
            self.settings.state_dir,
            self.identity,
            self.trust,
            extra_uplink=self.settings.uplink_addresses,
            extra_enrolment=self.settings.enrolment_addresses,
        )

    def _open_channel(self, attempt: int) -> grpc.aio.Channel:
        from schoolkeeper_agent.net import AddressError, open_channel, parse_proxy

        known = self._addresses().uplink
        if not known:
            raise AddressError("no uplink address is known: set uplink_addresses, or enrol again")
        return open_channel(
            known[attempt % len(known)], self.identity.ca_pem, self.identity, parse_proxy(self.settings.proxy)
        )

    async def _explain(self, error: grpc.aio.AioRpcError) -> str:
        return f"{error.code().name.lower()}: {error.details() or 'no reason given'}"[:300]

    def _ask(
        self, effect: messages.Report | messages.PolicyOffered | messages.Obey | messages.TakeGrant
    ) -> None:
        match effect:
            case messages.Report(body=body, severity=severity):
                self.heart.emit(Noted(body=body, severity=severity))
            case messages.PolicyOffered(available=available):
                newer = available.timestamp_version > self.trust.timestamp_version
                if newer or available.bundle_hash != self.trust.bundle_hash:
                    self._refresh_soon()
            case messages.Obey(command_id=command_id, order=order):
                self._spawn(self._obey(command_id, order))
            case messages.TakeGrant(statement=statement):
                refused = model.GrantEnded(
                    grant_id=statement.grant_id, reason="this version of the agent applies no grants"
                )
                self.heart.emit(Noted(body=refused, severity=model.Severity.MEDIUM))
            case _:
                assert_never(effect)

    async def _obey(self, command_id: bytes, order: wire.Order) -> None:
        try:
            detail = await self._carry_out(order)
            succeeded = True
        except Exception as error:  # noqa: BLE001 - the collector is told, whatever it was
            detail, succeeded = f"{type(error).__name__}: {error}"[:300], False
        if command_id:
            result = model.CommandResult(command_id=command_id, succeeded=succeeded, detail=detail)
            self.heart.emit(Noted(body=result))
            self.transport.send(answer(command_id, succeeded=succeeded, detail=detail))

    async def _carry_out(self, order: wire.Order) -> str:
        match order:
            case wire.RefreshPolicy():
                await self._refresh_policy()
                return self._policy_problem or f"version {self.trust.bundle_version} is in force"
            case wire.RenewCertificate():
                await self._renew()
                return "renewed"
            case wire.SendCanary():
                canary = model.Canary(canary_id=os.urandom(16))
                self.heart.emit(Noted(body=canary))
                return "sent"
            case wire.ReportPosture():
                await self._restart_sensors()
                return "the sensors begin anew and report"
            case wire.MoveCollector():
                addresses.keep_move(self.settings.state_dir, order, self.trust)
                self._spawn(self.transport.reconnect("the collector has moved"))
                return "moved"
            case wire.NewEpoch():
                return "done"  # the uplink does this one itself
            case _:
                assert_never(order)

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    # ---- policy and certificate -----------------------------------------------------------------------

    def _refresh_soon(self) -> None:
        if self._policy_task is None or self._policy_task.done():
            self._policy_task = asyncio.create_task(self._refresh_policy())
            self._jobs.add(self._policy_task)
            self._policy_task.add_done_callback(self._jobs.discard)

    async def _policy_refreshes(self) -> None:
        while True:
            await asyncio.sleep(POLICY_SECONDS * (0.75 + self.chance() / 2))
            self._refresh_soon()

    async def _refresh_policy(self) -> None:
        """Asks for newer signed files beside the stream; what is refused leaves everything as it is."""
        from schoolkeeper_agent.net import fetch_from

        channel = self.transport.channel
        if channel is None:
            return
        now_ms = self.uplink.believed_ms(self.clock.now())
        update = await update_trust(self.settings.state_dir, fetch_from(channel), now_ms=now_ms)
        self._policy_problem = f"{update.refused}: {update.message}" if update.refused else ""
        if update.refused and not update.is_stale and update.refused != "unreachable":
            self.heart.emit(PolicyRejected(reason=self._policy_problem[:500]))
        if not update.changed:
            return
        trust = load_trust(self.settings.state_dir)
        if trust is not None:
            await self._take(trust)

    async def _take(self, trust: Trust) -> None:
        before, self.trust = self.trust, trust
        self.uplink.keys, self.uplink.group = trust.key_statement, trust.group
        target = self._target()
        self.writer.call(lambda spool: spool.retarget(target))
        if trust.bundle_hash != before.bundle_hash:
            try:
                self.policy = policy_from(trust, self.settings.state_dir)
            except BundleRefused as error:
                self._policy_problem = str(error)
                self.heart.emit(
                    PolicyRejected(
                        bundle_hash=trust.bundle_hash, bundle_version=trust.bundle_version, reason=str(error)
                    )
                )
            else:
                self.heart.emit(
                    PolicySwapped(bundle=self.policy.bundle, not_enforceable=self._not_enforceable())
                )
                await self._restart_sensors()
        self.uplink.in_force = self._in_force()

    async def _renewals(self) -> None:
        from schoolkeeper_agent.renew import RenewError, is_due

        failed = 0
        while True:
            now = self.clock.now()
            wait = RENEW_SECONDS
            # Whichever clock is later: renewing early costs nothing, not renewing costs the contact.
            if is_due(self.identity, max(now.wall_ms, self.uplink.believed_ms(now))):
                try:
                    await self._renew()
                    failed = 0
                except (RenewError, OSError) as error:
                    _log.warning("the certificate was not renewed: %s", error)
                    failed += 1
                    wait = min(RENEW_SECONDS, RENEW_AGAIN_SECONDS * 2**failed)
            await asyncio.sleep(wait * (0.75 + self.chance() / 2))

    async def _renew(self) -> None:
        from schoolkeeper_agent.net import parse_proxy
        from schoolkeeper_agent.renew import renew

        self.identity = await renew(
            self.settings.state_dir,
            self.identity,
            self._addresses().enrolment,
            proxy=parse_proxy(self.settings.proxy),
            now_ms=self.uplink.believed_ms(self.clock.now()),
        )
        self.uplink.identity = self._device()
        await self.transport.reconnect("the certificate was renewed")
        self.transport.connect_now()

    # ---- time -----------------------------------------------------------------------------------------

    def _skew(self, now: Moment) -> int | None:
        return clock.skew_ms(self.uplink.memory.floor, now, self.clock.boot_id)

    async def _every_minute(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = self.clock.now()
            self._watch, stepped = self._watch.look(now)
            if stepped is not None and not self._runs("clock"):
                # The sensor is told by the kernel and also sees a clock that is set and set back in between.
                sign = 1 if stepped.direction == "forward" else -1
                self.heart.emit(observations.ClockStepped(step_milliseconds=sign * stepped.step_milliseconds))
            self.heart.emit(Tick())
            waiting = (
                f"{self.heart.waiting} observations and {self.writer.state().buffered_events} events wait"
            )
            for body in self._budget.look(now, resident_bytes(), cpu_milliseconds(), waiting=waiting):
                self.heart.emit(Noted(body=body, severity=model.Severity.MEDIUM))

    async def _heartbeats(self) -> None:
        """The model week's 66 a day: one each five minutes that the machine is on, as the policy says."""
        while True:
            await self._look_at_spool()
            self.heart.emit(Noted(body=self._heartbeat()))
            now = self.clock.now()
            try:
                self._marker.seen(now)
                save_report(self.settings.state_dir, await self.report())
            except OSError as error:
                _log.warning("the last sign of life cannot be written: %s", error)
            await asyncio.sleep(max(30, self.policy.bundle.collection.heartbeat_seconds))

    def _heartbeat(self) -> model.Heartbeat:
        now, usage = self.clock.now(), self._usage
        oldest = usage.oldest_unix_ms if usage else None
        return model.Heartbeat(
            uptime_seconds=now.monotonic_ms // 1000,
            spool_pending_frames=usage.pending_frames if usage else 0,
            spool_pending_bytes=usage.pending_bytes if usage else 0,
            spool_oldest_seconds=max(0, (now.wall_ms - oldest) // 1000) if oldest else 0,
            evicted_events=usage.evicted_events if usage else 0,
            set_aside_events=usage.set_aside_events if usage else 0,
            resident_bytes=resident_bytes(),
            cpu_milliseconds=cpu_milliseconds(),
            bundle_hash=self.policy.bundle.hash,
            last_checkpoint_hash=self.uplink.checkpoint_hash,
            proof_failing=bool(self.uplink.proof_failure),
        )

    async def _look_at_spool(self) -> None:
        with contextlib.suppress(SpoolError):
            self._usage = await asyncio.wrap_future(self.writer.call(lambda spool: spool.usage()))

    async def _keep_alive(self) -> None:
        """Systemd hears of us only while the core's loop moves."""
        if not self.manager.watchdog_seconds:
            return
        while True:
            await asyncio.sleep(self.manager.watchdog_seconds / 2)
            if self.heart.waiting < 1_000:
                self.manager.alive()

    async def report(self) -> StatusReport:
        await self._look_at_spool()
        return report_of(
            Running(
                now=self.clock.now(),
                identity=self.identity,
                trust=self.trust,
                policy=self.policy,
                policy_problem=self._policy_problem,
                uplink=self.uplink,
                writer=self.writer.state(),
                usage=self._usage,
                sensors=tuple(self._sensor_states.values()),
                abilities=self._abilities,
            )
        )
