"""The sensors that run, and the notice of what they watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from schoolkeeper_agent import notice_child, sensors
from schoolkeeper_agent.collection import lacks_notice
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.seams import Sensor
from schoolkeeper_agent.supervise import SensorState, Supervisor

WRITE_AGAIN_SECONDS = 60.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Watching:
    """Starts what can and may run, each under its supervisor; begins anew when the policy changed."""

    parts: Parts
    context: Callable[[], Context]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    states: dict[str, tuple[Sensor, SensorState]] = field(default_factory=dict)
    _writing: asyncio.Future[None] | None = None

    def start(self) -> None:
        """A sensor whose kinds lack a notice text does not start (T-41)."""
        bundle = self.parts.policy.bundle
        for sensor in sensors.load(self.parts.platform, self.context()):
            supervisor = Supervisor(sensor, self.parts.heart.emit)
            self.states[sensor.name] = (sensor, supervisor.state)
            ability, lacks = sensor.ability(), lacks_notice(sensor, bundle)
            if lacks:
                supervisor.state.problem = f"the policy has no notice text for {', '.join(lacks)}"
            elif not ability.able:
                supervisor.state.problem = ability.because
            else:
                self.tasks.append(asyncio.create_task(supervisor.run(), name=sensor.name))
        if self._writing is not None:
            self._writing.cancel()
        self._writing = self.parts.spawn(self._write_notice())

    async def stop(self) -> None:
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def restart(self) -> None:
        await self.stop()
        self.states.clear()
        self.start()

    def runs(self, sensor: str) -> bool:
        return sensor in self.states and self.states[sensor][1].running

    async def _write_notice(self) -> None:
        """What is monitored, for everybody to read: made anew whenever the policy or what runs changed (T-41).

        Tried again where it could not be written: the agreement's texts come the same way.
        """
        watched = [
            notice_child.Watched(name=name, kinds=sensor.kinds, problem=state.problem)
            for name, (sensor, state) in self.states.items()
        ]
        settings, bundle = self.parts.settings, self.parts.policy.bundle
        while True:
            try:
                await notice_child.write(settings.state_dir, settings.run_dir, bundle.hash, watched)
                return
            except (notice_child.NoticeNotWritten, OSError) as error:
                _log.error("the notice of what is monitored cannot be written: %s", error)
            await asyncio.sleep(WRITE_AGAIN_SECONDS)
