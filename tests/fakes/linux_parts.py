"""A sensor and an enforcer without an operating system: they pass the same suites as the real ones."""

import asyncio

from schoolkeeper_agent.enforcers.actions import Action
from schoolkeeper_agent.observations import Observation
from schoolkeeper_agent.seams import Ability, Emit, Outcome, SensorError


class FakeSensor:
    """Emits what it is given, then waits to be cancelled, or fails when told to."""

    name = "fake"
    kinds = ("application.started",)

    def __init__(self, *seen: Observation, fails: str = "") -> None:
        self._seen = seen
        self._fails = fails

    def ability(self) -> Ability:
        return Ability(able=True)

    async def run(self, emit: Emit) -> None:
        for one in self._seen:
            emit(one)
        if self._fails:
            raise SensorError(self._fails)
        await asyncio.Event().wait()


class FakeEnforcer:
    """Does nothing and says it did, or refuses with a reason."""

    def __init__(self, name: str = "fake", *, refuses: str = "") -> None:
        self.name = name
        self.done: list[object] = []
        self._refuses = refuses

    def ability(self) -> Ability:
        return Ability(able=True)

    async def perform(self, action: object) -> Outcome:
        known = isinstance(action, Action)
        error = self._refuses if known else f"{type(action).__name__} is not an action of this enforcer"
        if not error:
            self.done.append(action)
        return Outcome(enforcer=self.name, action=action, succeeded=not error, detail=error)

    async def close(self) -> None:
        self.done.clear()
