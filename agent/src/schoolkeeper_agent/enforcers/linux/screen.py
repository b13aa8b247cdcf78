"""Locks a screen by logind's signal, and believes it only when logind shows the session locked."""

from __future__ import annotations

import asyncio
import time

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import EndUnlocked, LockSession
from schoolkeeper_agent.seams import Ability, Outcome
from schoolkeeper_agent.sensors.linux.logind import CONSOLE, Logind, LogindError, SessionState, reachable

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
        if not isinstance(action, LockSession | EndUnlocked):
            return self._outcome(action, f"{type(action).__name__} is not an action of this enforcer")
        logind = Logind(self._context.system_bus)
        try:
            await logind.connect()
            if isinstance(action, EndUnlocked):
                return await self._end(logind, action)
            return self._outcome(action, await _lock(logind, action.session_id))
        except LogindError as error:
            return self._outcome(action, f"session {action.session_id}: {error}")
        finally:
            await logind.close()

    async def close(self) -> None:
        """A locked screen stays locked: its own locker opens it."""

    async def _end(self, logind: Logind, action: EndUnlocked) -> Outcome:
        """Asks once more what logind knows: nobody's work is thrown away for what was so a minute ago."""
        before = await logind.session(action.session_id)
        if before.locked or before.closing or _is_back(action, before):
            why = "it is locked" if before.locked else "somebody is back"
            return Outcome(enforcer=self.name, action=action, succeeded=False, detail=why, gone=True)
        await logind.terminate(action.session_id)
        return self._outcome(action, await _verify_end(logind, action.session_id))

    def _outcome(self, action: object, error: str) -> Outcome:
        return Outcome(enforcer=self.name, action=action, succeeded=not error, detail=error)


def _is_back(action: EndUnlocked, found: SessionState) -> bool:
    """Whether it is used again, though the core does not know yet."""
    if action.cause == "background":
        return not found.background
    if action.cause != "idle":
        return False
    if found.session_type == CONSOLE:
        return time.time() * 1000 - found.typed_unix_ms < action.after_seconds * 1000
    return not found.idle_since_unix_ms


async def _lock(logind: Logind, session_id: str) -> str:
    if (await logind.session(session_id)).session_type == CONSOLE:
        return f"session {session_id} is a text console, which has no lock"
    await logind.lock(session_id)
    return await _verify(logind, session_id)


async def _verify_end(logind: Logind, session_id: str) -> str:
    deadline = time.monotonic() + VERIFY_S
    while any(held.session_id == session_id and not held.closing for held in await logind.sessions()):
        if time.monotonic() > deadline:
            return f"session {session_id} was told to end, and goes on {VERIFY_S:.0f} s later"
        await asyncio.sleep(_POLL_S)
    return ""


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
