"""Keeps a sensor running: restarts it with back-off, and tells the core when it fails and when it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from schoolkeeper_agent.observations import Observation, SensorDown, SensorUp
from schoolkeeper_agent.seams import Emit, Sensor

FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
STEADY_SECONDS = 30.0
"""A sensor that ran this long without failing is called recovered, and its back-off begins anew."""


@dataclass(slots=True)
class SensorState:
    """For ``status``: why it does not run (no ability, no notice, failed), or empty when it does."""

    name: str
    running: bool = False
    problem: str = ""
    restarts: int = 0
    observations: int = 0


@dataclass(slots=True)
class Supervisor:
    """Runs one sensor until cancelled. ``emit`` takes observations, ``sleep`` and ``clock`` are for tests."""

    sensor: Sensor
    emit: Callable[[Observation], None]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    state: SensorState = field(init=False)
    _down_since: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.state = SensorState(name=self.sensor.name)

    async def run(self) -> None:
        wait = FIRST_WAIT
        while True:
            began = self.clock()
            error = await self._once()
            if self.clock() - began >= STEADY_SECONDS:
                wait = FIRST_WAIT
            self.state.running, self.state.problem = False, error
            self.state.restarts += 1
            if self._down_since is None:
                self._down_since = self.clock()
                self.emit(SensorDown(sensor=self.sensor.name, error=error, restarts=self.state.restarts - 1))
            await self.sleep(wait)
            wait = min(LONGEST_WAIT, wait * 2)

    async def _once(self) -> str:
        """Runs the sensor once; returns why it ended."""
        self.state.running, self.state.problem = True, ""
        steady = asyncio.create_task(self._call_steady())
        try:
            await self.sensor.run(self._emit)
        except Exception as error:  # noqa: BLE001 - whatever a sensor raises must not end the agent
            return f"{type(error).__name__}: {error}"[:500]
        finally:
            steady.cancel()
        return "it ended by itself"

    async def _call_steady(self) -> None:
        await self.sleep(STEADY_SECONDS)
        self._up()

    def _up(self) -> None:
        if self._down_since is not None:
            down = int((self.clock() - self._down_since) * 1000)
            self._down_since = None
            self.emit(SensorUp(sensor=self.sensor.name, down_milliseconds=down))

    @property
    def _emit(self) -> Emit:
        def emit(observation: object) -> None:
            self.state.observations += 1
            self.emit(observation)  # type: ignore[arg-type]  # the seam says object, the core checks

        return emit
