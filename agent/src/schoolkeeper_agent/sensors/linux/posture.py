"""Posture checks: each at the times the policy names, gently; what cannot be told is unknown (T-43)."""

from __future__ import annotations

import asyncio
from pathlib import Path

from schoolkeeper_agent import observations
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.seams import Ability, Emit
from schoolkeeper_agent.sensors.linux.posture_parsers import unknown
from schoolkeeper_agent.sensors.linux.posture_readers import Readers
from schoolkeeper_proto import model
from schoolkeeper_proto.policy import PostureCheck
from schoolkeeper_proto.posture import Check

_SHORTEST_S = 60
_COSTLY = frozenset({Check.UPDATES, Check.AGENT_INTEGRITY})
_SETTLE_S = 90
"""Seconds after the agent's start before a costly check first runs: a machine that boots has enough to do."""
_ON_BATTERY = 4
"""A costly check waits so many times as long on battery."""


class PostureSensor:
    """``root`` is where the system's files lie; the check 'lock' is the core's, from what was seen to lock."""

    name = "posture"
    kinds = (model.Posture.KIND,)

    def __init__(self, context: Context, *, root: Path = Path("/")) -> None:
        self._context = context
        self._readers = Readers(context, root)

    def ability(self) -> Ability:
        strange = [
            one.check for one in self._context.bundle.posture.checks if one.check not in self._readers.by_name
        ]
        if strange:
            return Ability(able=True, because=f"reported as unknown: {', '.join(strange)}")
        return Ability(able=True)

    async def run(self, emit: Emit) -> None:
        async with asyncio.TaskGroup() as tasks:
            for check in self._context.bundle.posture.checks:
                tasks.create_task(self._repeat(check, emit))

    async def _repeat(self, check: PostureCheck, emit: Emit) -> None:
        costly = check.check in _COSTLY
        await asyncio.sleep(_SETTLE_S if costly else 0)
        while True:
            emit(await self.read(check))
            times = _ON_BATTERY if costly and on_battery(self._context.sys_root) else 1
            await asyncio.sleep(max(_SHORTEST_S, check.every_seconds) * times)

    async def read(self, check: PostureCheck) -> observations.PostureRead:
        """One check, now."""
        reader = self._readers.by_name.get(check.check)
        if reader is None:
            finding = unknown("this agent does not know the check: update the agent")
        else:
            try:
                finding = await reader(check)
            except OSError as error:
                finding = unknown(f"it could not be read: {error}")
        return observations.PostureRead(
            check=check.check,
            result=finding.result,
            evidence=finding.evidence,
            unknown_because=finding.because,
        )


def on_battery(sys_root: Path) -> bool:
    """A mains adapter is there and gives nothing; a machine without one is no laptop (power_supply class, sysfs)."""
    online = []
    for supply in sys_root.glob("class/power_supply/*"):
        try:
            if (supply / "type").read_text().strip() == "Mains":
                online.append((supply / "online").read_text().strip() == "1")
        except OSError:
            continue
    return bool(online) and not any(online)
