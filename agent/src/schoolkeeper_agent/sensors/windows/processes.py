"""Programs that run, by a look every ten seconds: the preview has nothing of Windows' that tells of each start."""

from __future__ import annotations

import asyncio
import sys

import psutil

from schoolkeeper_agent import observations
from schoolkeeper_agent.seams import Ability, Emit
from schoolkeeper_agent.system import windows_api
from schoolkeeper_proto import model

assert sys.platform == "win32"

LOOK_S = 10.0
_NOBODY, _SYSTEM = -1, 0
_SYSTEM_ACCOUNTS = ("NT AUTHORITY\\", "NT-AUTORITÄT\\", "Window Manager\\", "Font Driver Host\\")


class ProcessSensor:
    """Whose a program is, is not told: Windows' accounts are not yet matched with the school's register."""

    name = "processes"
    kinds = (model.ApplicationStarted.KIND,)

    def ability(self) -> Ability:
        return Ability(
            able=True,
            because=f"a look every {LOOK_S:.0f} s: what runs for less is missed, and no person is named (preview)",
        )

    async def run(self, emit: Emit) -> None:
        known: dict[int, float] = {}
        first = True
        while True:
            known = self._look(known, emit, first=first)
            first = False
            await asyncio.sleep(LOOK_S)

    def _look(self, known: dict[int, float], emit: Emit, *, first: bool) -> dict[int, float]:
        """Process ids with when they began: an id that is used again is another program."""
        now: dict[int, float] = {}
        for process in psutil.process_iter():
            began = known.get(process.pid)
            if began is None or not process.is_running():
                began = self._told(process, emit, already_running=first)
            if began is not None:
                now[process.pid] = began
        for process_id in sorted(known.keys() - now.keys()):
            emit(observations.ProcessEnded(process_id=process_id))
        return now

    def _told(self, process: psutil.Process, emit: Emit, *, already_running: bool) -> float | None:
        try:
            with process.oneshot():
                parent, began, account = process.ppid(), process.create_time(), process.username()
            path = windows_api.image_of(process.pid)
        except (psutil.Error, OSError):
            return None  # it has ended, or is the kernel's own
        emit(
            observations.ProcessStarted(
                process_id=process.pid,
                parent_process_id=parent,
                path=path.replace("\\", "/"),
                user_id=_SYSTEM if account.startswith(_SYSTEM_ACCOUNTS) else _NOBODY,
                already_running=already_running,
            )
        )
        return began
