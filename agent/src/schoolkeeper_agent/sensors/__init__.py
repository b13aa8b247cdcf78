"""Sensors observe. ``load`` builds those of a platform; it is the only place that asks which one this is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schoolkeeper_agent.context import Context
    from schoolkeeper_agent.seams import Sensor


def load(platform: str, context: Context) -> list[Sensor]:
    """Every sensor of ``platform`` (as ``sys.platform``), able or not: ask each for its ``ability()``."""
    if platform == "linux":
        from schoolkeeper_agent.sensors.linux.load import sensors

        return sensors(context)
    if platform == "win32":
        from schoolkeeper_agent.sensors.windows.load import sensors

        return sensors(context)
    return []
