"""Locks a screen by logind's signal, and believes it only when logind shows the session locked."""

from __future__ import annotations

import asyncio
import time

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import LockSession
from schoolkeeper_agent.seams import Ability, Outcome
from schoolkeeper_agent.sensors.linux.logind import Logind, LogindError, reachable

VERIFY_S = 5.0
_POLL_S = 0.1


class ScreenEnforcer:
    """A connection per lock: locks are rare, and an idle connection would cost memory."""

    name = "screen"

    def __init__(self, context: Context) -> None:
        self._context = context

    def ability(self) -> Ability:
        why_not = reachable(self._context.system_bus)
        if not why_not and not self._context.has_root:
            why_not = "needs root: logind lets nobody else lock another's screen"
        return Ability(able=not why_not, because=why_not)

    async def perform(self, action: object) -> Outcome:
        if not isinstance(action, LockSession):
            return self._outcome(action, f"{type(action).__name__} is not an action of this enforcer")
        logind = Logind(self._context.system_bus)
        try:
            await logind.connect()
            await logind.lock(action.session_id)
            return self._outcome(action, await _verify(logind, action.session_id))
        except LogindError as error:
            return self._outcome(action, f"session {action.session_id}: {error}")
        finally:
            await logind.close()

    async def close(self) -> None:
        """A locked screen stays locked: its own locker opens it."""

    def _outcome(self, action: object, error: str) -> Outcome:
        return Outcome(enforcer=self.name, action=action, succeeded=not error, detail=error)


async def _verify(logind: Logind, session_id: str) -> str:
    deadline = time.monotonic() + VERIFY_S
    while not (await logind.session(session_id)).locked:
        if time.monotonic() > deadline:
            return (
                f"session {session_id} got the lock signal, but {VERIFY_S:.0f} s later logind does not show it locked: "
                "is there a screen locker in the session?"
            )
        await asyncio.sleep(_POLL_S)
    return ""
