"""Holds a suspend back until the screens are locked, by logind's delay lock (org.freedesktop.login1(5), Inhibit)."""

from __future__ import annotations

import logging
import os
import time

from schoolkeeper_agent.sensors.linux.logind import Logind, LogindError

HOLD_S = 3.0
"""At most: a screen that does not lock must not keep the machine from sleeping. logind itself waits 5 s by default."""
_log = logging.getLogger(__name__)


class SleepDelay:
    """Taken while awake, let go as soon as nothing is open any more; of one sensor, on its connection."""

    def __init__(self, logind: Logind) -> None:
        self._logind = logind
        self._descriptor = -1
        self._falling_since = 0.0

    @property
    def asleep(self) -> bool:
        """From logind's word that the machine will sleep to its word that it is awake."""
        return self._falling_since > 0

    @property
    def falling_asleep(self) -> bool:
        """The machine waits for us at this moment."""
        return self.asleep and self._descriptor >= 0

    async def take(self) -> None:
        """Where logind refuses, the lock is asked for all the same, and the machine may sleep before it stands."""
        if self._descriptor >= 0:
            return
        try:
            self._descriptor = await self._logind.delay_sleep("locks the screens before")
        except LogindError as error:
            _log.warning("a suspend does not wait for the lock: %s", error)

    def heard(self, falling_asleep: bool) -> None:
        """logind's signal."""
        self._falling_since = time.monotonic() if falling_asleep else 0.0

    def let_go_if(self, all_locked: bool) -> None:
        if self.falling_asleep and (all_locked or time.monotonic() - self._falling_since > HOLD_S):
            self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
