"""Keeps Bluetooth hidden, or off, while a rule says so: set, watched, and set again (W-53)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import KeepBluetooth
from schoolkeeper_agent.observations import PostureRead
from schoolkeeper_agent.seams import Ability, Emit, Outcome
from schoolkeeper_proto.model import PostureResult

if TYPE_CHECKING:
    from schoolkeeper_agent.enforcers.linux.bluez import Bluez

CHECK = "bluetooth"
QUIET_S = 600.0
"""Somebody who switches it on again and again is written down once in this time, with the number of times."""
AGAIN_S = 60.0
_BREATH_S = 0.2
_TRIES = 5
"""Of switching off what is on again at the next look: somebody was quick, and only what stays on is a failure."""
_GIVEN_BACK = ("Pairable", "Powered")
"""Being discoverable is never given back: it is for the moment in which somebody wants it."""


class BluetoothEnforcer:
    """Nothing is imported, connected or watched before a rule asks."""

    name = "bluetooth"

    def __init__(self, context: Context, emit: Emit) -> None:
        self._context = context
        self._emit = emit
        self._wanted = KeepBluetooth()
        self._bluez: Bluez | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._busy = asyncio.Lock()
        self._was: set[tuple[str, str]] = set()
        self._known: set[str] = set()
        self._times = 0
        self._said_s: float | None = None
        self._later: asyncio.TimerHandle | None = None

    def ability(self) -> Ability:
        if not self._context.has_root:
            return Ability(
                able=False, because="needs root: nobody else may hold Bluetooth back for everybody"
            )
        return Ability(able=True)

    async def perform(self, action: object) -> Outcome:
        if not isinstance(action, KeepBluetooth):
            return self._outcome(action, f"{type(action).__name__} is not an action of this enforcer")
        from schoolkeeper_agent.enforcers.linux.bluez import BluezError

        try:
            if not (action.hidden or action.off):
                await self.close()
                because = "no rule on Bluetooth holds now"
                self._emit(PostureRead(check=CHECK, result=PostureResult.UNKNOWN, unknown_because=because))
                return self._outcome(action, "")
            await self._begin()
            if self._wanted.off and not action.off:
                await self._give_back()
            self._wanted = action
            _, said = await self._apply()
        except BluezError as error:
            return self._outcome(action, str(error))
        self._emit(PostureRead(check=CHECK, result=PostureResult.PASS, evidence=said))
        return self._outcome(action, "")

    async def close(self) -> None:
        """What was on before is on again."""
        from schoolkeeper_agent.enforcers.linux.bluez import BluezError

        self._wanted = KeepBluetooth()
        if self._later is not None:
            self._later.cancel()
            self._say_rest()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self._bluez is not None:
            with contextlib.suppress(BluezError):
                await self._give_back()
            await self._bluez.close()
            self._bluez = None

    async def _begin(self) -> None:
        from schoolkeeper_agent.enforcers.linux.bluez import Bluez

        async with self._busy:
            if self._bluez is None:
                bluez = Bluez(self._context.system_bus)
                await bluez.connect(self._changed.set)
                self._bluez = bluez
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="bluetooth")

    async def _apply(self) -> tuple[int, str]:
        """(switches that were on again, what is so now); raises ``BluezError`` when one stays on."""
        from schoolkeeper_agent.enforcers.linux.bluez import BluezError

        async with self._busy:
            bluez = self._bluez
            if bluez is None:
                raise BluezError("the connection to the system bus is lost")
            names = ("Powered",) if self._wanted.off else ("Discoverable", "Pairable")
            found, still = 0, list[str]()
            after = await bluez.adapters()
            for _ in range(_TRIES):
                for adapter in after:
                    for name in names:
                        if name in adapter.on:
                            found += adapter.path in self._known
                            self._was.add((adapter.path, name))
                            await bluez.switch(adapter.path, name, on=False)
                after = await bluez.adapters()
                self._known = {one.path for one in after}
                still = [f"{one.name} {name}" for one in after for name in names if name in one.on]
                if not still:
                    break
        if still:
            raise BluezError(f"still on after it was switched off: {', '.join(still)}")
        state = "off" if self._wanted.off else "not discoverable, not pairable"
        named = ", ".join(one.name for one in after)
        return found, f"{named}: {state}" if named else "no Bluetooth adapter is there"

    async def _keep(self) -> None:
        """Waits for signals; each change is undone, a lost connection is made anew."""
        from schoolkeeper_agent.enforcers.linux.bluez import BluezError

        while True:
            try:
                await self._begin()
                await self._until_lost()
            except BluezError as error:
                self._emit(PostureRead(check=CHECK, result=PostureResult.FAIL, evidence=str(error)[:300]))
            await asyncio.sleep(AGAIN_S)
            self._changed.set()  # whatever changed meanwhile was not heard

    async def _until_lost(self) -> None:
        assert self._bluez is not None
        lost = asyncio.ensure_future(self._bluez.wait_closed())
        try:
            while True:
                hears = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait((lost, hears), return_when=asyncio.FIRST_COMPLETED)
                hears.cancel()
                if lost.done():
                    lost.exception()
                    self._bluez = None
                    return
                self._changed.clear()
                found, said = await self._apply()
                if found:
                    self._undone(said)
                await asyncio.sleep(_BREATH_S)
        finally:
            lost.cancel()

    def _undone(self, said: str) -> None:
        self._times += 1
        now = time.monotonic()
        if self._said_s is None or now - self._said_s >= QUIET_S:
            self._say(said, now)
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(QUIET_S, self._say_rest)

    def _say_rest(self) -> None:
        self._later = None
        if self._times:
            self._say("undone each time", time.monotonic())

    def _say(self, said: str, now: float) -> None:
        times, self._times, self._said_s = self._times, 0, now
        evidence = f"it was switched on against the rule, {times} time{'s' if times != 1 else ''}: {said}"
        self._emit(PostureRead(check=CHECK, result=PostureResult.PASS, evidence=evidence))

    async def _give_back(self) -> None:
        assert self._bluez is not None
        was, self._was = self._was, set()
        there = {one.path for one in await self._bluez.adapters()}
        for path, name in sorted(was):
            if name in _GIVEN_BACK and path in there:
                await self._bluez.switch(path, name, on=True)

    def _outcome(self, action: object, error: str) -> Outcome:
        return Outcome(enforcer=self.name, action=action, succeeded=not error, detail=error)
