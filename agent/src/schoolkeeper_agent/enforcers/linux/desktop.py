"""Holds the desktops' own lock settings where nobody can lengthen them: written, watched, restored when changed."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import HoldDesktops
from schoolkeeper_agent.enforcers.linux import desktop_files as files
from schoolkeeper_agent.enforcers.linux.inotify import FolderWatch
from schoolkeeper_agent.observations import Noted
from schoolkeeper_agent.seams import Ability, Emit, Outcome
from schoolkeeper_proto import model

SETTLE_S = 0.5
CALM_S = 60.0
"""Somebody who changes a file again and again gets it restored once in this time, and one event each time."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class DesktopEnforcer:
    """What it writes stays while the service is stopped; it goes with the rule, or with the package."""

    name = "desktop"
    context: Context
    emit: Emit
    _seconds: int = 0
    _watch: FolderWatch | None = None
    _looking: asyncio.TimerHandle | None = None
    _restored_at: float = 0.0
    _task: asyncio.Task[None] | None = None
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    def ability(self) -> Ability:
        if not self.context.has_root:
            return Ability(able=False, because="needs root: without it the desktops' settings are not held")
        if self.context.browser_root is None:
            return Ability(
                able=False,
                because="exec_mounts limits this agent to a trial: set browser_folder to take part",
            )
        missing = files.problem(self.context.browser_root)
        others = "GNOME, Cinnamon, MATE and KDE; on others only the idle time that logind is told counts"
        return Ability(able=True, because=missing or others)

    async def perform(self, action: object) -> Outcome:
        if not isinstance(action, HoldDesktops):
            return self._outcome(action, f"{type(action).__name__} is not an action of this enforcer")
        ability, etc = self.ability(), self.context.browser_root
        if not ability.able or etc is None:
            return self._outcome(action, ability.because)
        async with self._busy:
            try:
                if action.idle_lock_seconds > 0:
                    await asyncio.to_thread(files.apply, etc, action.idle_lock_seconds)
                else:
                    await asyncio.to_thread(files.give_back, etc)
            except OSError as error:
                return self._outcome(action, f"the desktops' settings are not held: {error}")
            self._seconds = action.idle_lock_seconds
        self._follow(etc)
        return self._outcome(action, files.problem(etc) if self._seconds else "")

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        if self._task is not None and not self._task.done():
            self._task.cancel()
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _follow(self, etc: Path) -> None:
        try:
            if self._watch is None and self._seconds:
                self._watch = FolderWatch(self._changed)
            if self._watch is not None:
                places = (files.KEYS, files.LOCKS, files.PROFILE, files.COMPILED, files.KDE)
                self._watch.follow({(etc / name).parent for name in places})
        except OSError as error:
            _log.warning("changes to the desktops' settings are not seen: %s", error)

    def _changed(self) -> None:
        """Somebody did something in a folder; perhaps it was us."""
        if self._looking is None and self._seconds:
            loop = asyncio.get_running_loop()
            since = loop.time() - self._restored_at
            wait = SETTLE_S if not self._restored_at or since > CALM_S else CALM_S - since
            self._looking = loop.call_later(wait, self._look_soon)

    def _look_soon(self) -> None:
        self._looking = None
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        etc = self.context.browser_root
        if etc is None:
            return
        async with self._busy:
            if not self._seconds:
                return
            try:
                wrong = await asyncio.to_thread(files.apply, etc, self._seconds)
                said, severity = "restored", model.Severity.MEDIUM
            except OSError as error:
                wrong, said, severity = [str(error)], "NOT restored", model.Severity.HIGH
        if wrong:
            self._restored_at = asyncio.get_running_loop().time()
            body = model.AgentTampered(what="desktop settings", detail=f"{'; '.join(wrong)}; {said}"[:500])
            self.emit(Noted(body=body, severity=severity))
            self._follow(etc)

    def _outcome(self, action: object, error: str) -> Outcome:
        return Outcome(enforcer=self.name, action=action, succeeded=not error, detail=error)
