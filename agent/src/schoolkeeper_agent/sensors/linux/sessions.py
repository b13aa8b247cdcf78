"""Who is signed in, whose screen is locked, who is away: logind's own signals, and a slow look besides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from schoolkeeper_agent import observations
from schoolkeeper_agent.accounts import Accounts
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.decisions import locks_screens
from schoolkeeper_agent.seams import Ability, Emit, SensorError
from schoolkeeper_agent.sensors.linux.logind import Logind, LogindError, SessionState, reachable
from schoolkeeper_agent.sensors.linux.sleep_delay import SleepDelay
from schoolkeeper_agent.state import GRAPHICAL
from schoolkeeper_proto import model
from schoolkeeper_proto.policy import ScreenSection

if TYPE_CHECKING:
    from schoolkeeper_agent.sensors.linux.tokens import TokenWatch

AGAIN_S = 5.0
"""How often an idle, unlocked session is told when its screen is due to be locked: the lock is at most this late."""
SOON_S = 0.1
"""While a suspend waits for the screens to be locked."""
LOOK_S = 20.0
"""logind sends no signal when a person signs out and something of theirs still runs: a slow look finds it."""
_PEOPLE = "user"


class SessionSensor:
    name = "sessions"
    kinds = (
        model.SignedIn.KIND,
        model.SignedOut.KIND,
        model.SessionLocked.KIND,
        model.SessionUnlocked.KIND,
    )

    def __init__(self, context: Context) -> None:
        self._context = context
        self._accounts = Accounts()
        self._told: dict[str, SessionState] = {}
        self._screen = context.bundle.screen
        self._locks = context.has_root and locks_screens(context.bundle.screen)
        self._lid_closed: bool | None = None

    def ability(self) -> Ability:
        why_not = reachable(self._context.system_bus)
        return Ability(able=not why_not, because=why_not)

    def person(self) -> tuple[str, int, frozenset[str] | None]:
        """Whoever has a session here; nobody certain when there are several people."""
        people = {(held.account, held.user_id) for held in self._told.values()}
        if len(people) != 1:
            return "", -1, None
        account, user_id = people.pop()
        return account, user_id, self._accounts.groups(user_id)

    async def run(self, emit: Emit) -> None:
        logind = Logind(self._context.system_bus)
        changed = asyncio.Event()
        delay = SleepDelay(logind)
        heard: list[bool] = []
        tokens = self._tokens(emit)
        try:
            await logind.connect(changed.set, heard.append)
            closed = asyncio.ensure_future(logind.wait_closed())
            closed.add_done_callback(lambda _: changed.set())
            while not closed.done():
                changed.clear()
                self._tell(await logind.sessions(), emit)
                await self._look_at_lid(logind, emit)
                await self._around_sleep(delay, heard, emit)
                wait = wait_seconds(self._told.values(), self._screen, time.time_ns() // 1_000_000)
                if delay.falling_asleep:
                    wait = SOON_S
                with suppress(TimeoutError):  # not wait_for: in 3.11 it can swallow a cancellation
                    async with asyncio.timeout(wait):
                        await changed.wait()
            raise SensorError("the system bus closed the connection")
        except LogindError as error:
            raise SensorError(str(error)) from error
        finally:
            if tokens is not None:
                tokens.close()
            delay.close()
            await logind.close()

    async def _around_sleep(self, delay: SleepDelay, heard: list[bool], emit: Emit) -> None:
        """What logind said since the last look; then the machine waits until every screen is locked."""
        while heard:
            falling_asleep = heard.pop(0)
            delay.heard(falling_asleep)
            if falling_asleep:
                emit(observations.FallingAsleep())
        if self._locks:
            delay.let_go_if(not any(_is_open(held) for held in self._told.values()))
            if not delay.asleep:
                await delay.take()

    def _tokens(self, emit: Emit) -> TokenWatch | None:
        if not self._locks or self._screen is None or not self._screen.tokens:
            return None
        from schoolkeeper_agent.sensors.linux.tokens import TokenWatch

        return TokenWatch(self._context.sys_root, self._screen.tokens, emit)

    async def _look_at_lid(self, logind: Logind, emit: Emit) -> None:
        """Where the machine sleeps with its lid shut, this is too late, and need not be in time."""
        if not self._locks or self._screen is None or not self._screen.lock_on_lid:
            return
        before, self._lid_closed = self._lid_closed, await logind.lid_closed()
        if before is not None and before is not self._lid_closed:
            emit(observations.LidMoved(closed=self._lid_closed))

    def _tell(self, found: list[SessionState], emit: Emit) -> None:
        now_ms = time.time_ns() // 1_000_000
        people = [held for held in found if held.kind == _PEOPLE and not held.closing]
        now = {held.session_id: console_idle(held, self._screen, now_ms) for held in people}
        for session_id in list(self._told):
            if session_id not in now:
                del self._told[session_id]
                emit(observations.SessionGone(session_id=session_id))
        for session_id, held in now.items():
            before = self._told.get(session_id)
            if before is None:
                self._accounts.forget()
            self._told[session_id] = held
            if before != held or _is_away(held):
                emit(self._seen(held))

    def _seen(self, held: SessionState) -> observations.SessionSeen:
        return observations.SessionSeen(
            session_id=held.session_id,
            account=held.account,
            user_id=held.user_id,
            session_type=held.session_type,
            locked=held.locked,
            idle_since_unix_ms=held.idle_since_unix_ms,
            groups=self._accounts.groups(held.user_id),
            background=held.background,
            remote=held.remote,
            seat=held.seat,
        )


def console_idle(held: SessionState, screen: ScreenSection | None, now_ms: int) -> SessionState:
    """A text console is idle since the last key, as soon as that matters; before, each key would be news."""
    if held.typed_unix_ms and screen is not None and screen.idle_lock_seconds:
        soon_s = max(LOOK_S, screen.idle_lock_seconds - screen.warn_seconds - LOOK_S)
        if not held.remote and now_ms - held.typed_unix_ms >= soon_s * 1000:
            held = replace(held, idle_since_unix_ms=held.typed_unix_ms)
    return replace(held, typed_unix_ms=0)


def wait_seconds(held: Iterable[SessionState], screen: ScreenSection | None, now_ms: int) -> float:
    """Until logind is asked again: soon only while somebody is about to be warned, or their screen to be locked."""
    if screen is None or not screen.idle_lock_seconds:
        return LOOK_S
    idle = [(now_ms - one.idle_since_unix_ms) / 1000 for one in held if _is_away(one)]
    warned_at = screen.idle_lock_seconds - screen.warn_seconds
    left = [warned_at - one for one in idle if one < screen.idle_lock_seconds + LOOK_S]
    return min(LOOK_S, max(AGAIN_S, min(left, default=LOOK_S)))


def _is_open(held: SessionState) -> bool:
    """Whether a lock of it can be waited for."""
    return held.session_type in GRAPHICAL and not held.remote and not held.locked


def _is_away(held: SessionState) -> bool:
    return bool(held.idle_since_unix_ms) and not held.locked
