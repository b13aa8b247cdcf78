"""The sensors of Windows: two that look, and the others' names with why they do not."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.seams import Ability, Emit, Sensor
from schoolkeeper_proto import model

WHY = "the preview for Windows does not look at it yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotYet:
    """A sensor that other systems have."""

    name: str
    kinds: tuple[str, ...]

    def ability(self) -> Ability:
        return Ability(able=False, because=WHY)

    async def run(self, emit: Emit) -> None:
        del emit
        await asyncio.get_running_loop().create_future()


NOT_YET = (
    NotYet(name="sessions", kinds=(model.SessionLocked.KIND,)),
    NotYet(name="media", kinds=(model.MediumAttached.KIND,)),
    NotYet(name="media-writes", kinds=(model.MediumCopy.KIND,)),
    NotYet(name="clock", kinds=(model.ClockChanged.KIND,)),
    NotYet(name="network", kinds=(model.NetworkChanged.KIND,)),
    NotYet(name="bypass", kinds=(model.FilterBypass.KIND,)),
)


def sensors(context: Context) -> list[Sensor]:
    """Asked about another system than the one it runs on, it names what cannot look."""
    if sys.platform == "win32":
        from schoolkeeper_agent.sensors.windows.posture import PostureSensor
        from schoolkeeper_agent.sensors.windows.processes import ProcessSensor
        from schoolkeeper_agent.sensors.windows.windows_registry import WindowsRegistry

        return [ProcessSensor(), PostureSensor(context, WindowsRegistry()), *NOT_YET]
    else:  # noqa: RET505 - type checkers look at one of the two
        return list(NOT_YET)
