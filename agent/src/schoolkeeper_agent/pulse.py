"""What happens by the clock: a tick each minute, a heartbeat as the policy says, a sign of life for systemd."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from schoolkeeper_agent import observations
from schoolkeeper_agent.budget import BudgetWatch, cpu_milliseconds, resident_bytes
from schoolkeeper_agent.clock import ClockWatch
from schoolkeeper_agent.observations import Noted, Tick
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.reporting import save_report
from schoolkeeper_agent.run_marker import RunMarker
from schoolkeeper_agent.service_manager import ServiceManager
from schoolkeeper_agent.status import StatusReport
from schoolkeeper_agent.watching import Watching
from schoolkeeper_proto import model

TICK_SECONDS = 60.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Pulse:
    parts: Parts
    watching: Watching
    budget: BudgetWatch
    marker: RunMarker
    report: Callable[[], Awaitable[StatusReport]]
    also: Callable[[], None] = lambda: None
    """What else is looked at each minute; returns at once."""
    clock_watch: ClockWatch = field(default_factory=ClockWatch)

    async def every_minute(self) -> None:
        parts = self.parts
        self.clock_watch, _ = self.clock_watch.look(parts.clock.now())
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = parts.clock.now()
            self.clock_watch, stepped = self.clock_watch.look(now)
            if stepped is not None and not self.watching.runs("clock"):
                # The sensor is told by the kernel and also sees a clock that is set and set back in between.
                sign = 1 if stepped.direction == "forward" else -1
                step = observations.ClockStepped(step_milliseconds=sign * stepped.step_milliseconds)
                parts.heart.emit(step)
            parts.heart.emit(Tick())
            self.also()
            buffered = parts.writer.state().buffered_events
            waiting = f"{parts.heart.waiting} observations and {buffered} events wait"
            for body in self.budget.look(now, resident_bytes(), cpu_milliseconds(), waiting=waiting):
                parts.heart.emit(Noted(body=body, severity=model.Severity.MEDIUM))

    async def heartbeats(self) -> None:
        """The model week's 66 a day: one each five minutes that the machine is on, as the policy says."""
        parts = self.parts
        while True:
            await parts.look_at_spool()
            parts.heart.emit(Noted(body=self._heartbeat()))
            now = parts.clock.now()
            try:
                self.marker.seen(now)
                save_report(parts.settings.state_dir, await self.report())
            except OSError as error:
                _log.warning("the last sign of life cannot be written: %s", error)
            await asyncio.sleep(max(30, parts.policy.bundle.collection.heartbeat_seconds))

    def _heartbeat(self) -> model.Heartbeat:
        parts = self.parts
        now, usage = parts.clock.now(), parts.usage
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
            bundle_hash=parts.policy.bundle.hash,
            last_checkpoint_hash=parts.uplink.standing.checkpoint_hash,
            proof_failing=bool(parts.uplink.proof_failure),
        )

    async def keep_alive(self, manager: ServiceManager) -> None:
        """Systemd hears of us only while the core's loop moves."""
        if not manager.watchdog_seconds:
            return
        while True:
            await asyncio.sleep(manager.watchdog_seconds / 2)
            if self.parts.heart.waiting < 1_000:
                manager.alive()
