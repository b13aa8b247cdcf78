"""Browsers' managed policies: written, read back, watched, and restored when somebody changes them.

A browser tells nobody which page it refused: so that the rules are *enforced* is all that can be said of them, and no
refusal is counted. Whether a browser heeds its file is not seen either; that the file is as written is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import ApplyBrowsers
from schoolkeeper_agent.enforcers.linux import browser_files as files
from schoolkeeper_agent.enforcers.linux.browser_files import BROWSERS, Browser
from schoolkeeper_agent.enforcers.linux.inotify import FolderWatch
from schoolkeeper_agent.observations import Noted
from schoolkeeper_agent.seams import Ability, Emit, Outcome
from schoolkeeper_agent.status import BrowserLine
from schoolkeeper_proto import model, policy

SETTLE_S = 0.2
"""Changes that come together are one: a package that writes, renames and sets rights is looked at once."""
CALM_S, CALM_AFTER = 10.0, 5
"""Somebody who changes a file again and again gets it restored so often at once, and then this slowly."""
QUIET_S = 600.0
"""One event per browser in this time; what comes in between is counted and said with the next."""
GRACE_S = 30
"""So long do rules stay after a service that was stopped: a restart or an upgrade opens nothing."""
_OWNER = "browsers.owner"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """What was written for one browser. ``data`` None: there is to be no file of ours."""

    data: bytes | None = None
    names: frozenset[str] = frozenset()
    applied_unix_ms: int = 0
    error: str = ""
    overruled: str = ""
    running: frozenset[tuple[int, str]] = frozenset()
    disturbed: int = 0
    said_s: float = 0.0


@dataclass(slots=True)
class BrowserEnforcer:
    name = "browser"
    context: Context
    emit: Emit
    _held: dict[str, _Held] = field(default_factory=dict)
    _watch: FolderWatch | None = None
    _looking: asyncio.TimerHandle | None = None
    _flush: asyncio.TimerHandle | None = None
    _restored_s: list[float] = field(default_factory=list)
    _token: str = ""
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    _task: asyncio.Task[None] | None = None

    def ability(self) -> Ability:
        if not self.context.has_root:
            return Ability(
                able=False, because="needs root: without it the browsers' policies are not written"
            )
        if self.context.browser_root is None:
            return Ability(
                able=False,
                because="exec_mounts limits this agent to a trial: set browser_folder to take part",
            )
        return Ability(able=True)

    async def perform(self, action: object) -> Outcome:
        if not isinstance(action, ApplyBrowsers):
            return self._outcome(action, f"{type(action).__name__} is not an action of this enforcer")
        ability, etc = self.ability(), self.context.browser_root
        if not ability.able or etc is None:
            return self._outcome(action, ability.because)
        async with self._busy:
            self._take_over()
            error = await asyncio.to_thread(self._apply, etc, action.section)
        self._follow(etc)
        self._changed()
        return self._outcome(action, error)

    async def close(self) -> None:
        """Rules outlive the service for half a minute, and a machine that is switched off: then all is given back."""
        for timer in (self._looking, self._flush):
            if timer is not None:
                timer.cancel()
        if self._task is not None and not self._task.done():
            self._task.cancel()
        self._say_rest()
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        held, self._held = self._held, {}
        etc = self.context.browser_root
        if etc is None or not any(one.data is not None for one in held.values()):
            return
        if etc == Path("/etc"):
            self._give_back_later(etc)
        else:
            await asyncio.to_thread(files.main, [str(etc)])

    def lines(self) -> tuple[BrowserLine, ...]:
        """For ``status``: what is in force, read back now."""
        etc = self.context.browser_root
        if etc is None:
            return ()
        return tuple(self._line(etc, browser) for browser in BROWSERS if browser.name in self._held)

    # ---- writing --------------------------------------------------------------------------------------

    def _apply(self, etc: Path, section: policy.BrowserSection) -> str:
        """In a thread. Every browser is tried; returns what failed."""
        from schoolkeeper_proto.browser_policies import as_json

        problems = []
        for browser, settings in self._settings(section):
            path, held = etc / browser.file, self._held.setdefault(browser.name, _Held())
            first = not held.applied_unix_ms
            try:
                held.error = ""
                if not settings:
                    if held.data is not None or first:
                        files.give_back(path, shared=browser.shared)
                    data = None
                else:
                    if browser.shared and held.data is None and (was := files.keep_what_was(path)):
                        self._disturbed(browser, path, was, restored="restored")
                    data = as_json(files.shared_file(path, settings) if browser.shared else settings)
                    if files.fault(path, data):
                        files.write(path, data)
                        held.running = _running(self.context.proc_root, browser)
                self._holds(held, path, data, frozenset(settings), shared=browser.shared)
            except OSError as error:
                held.error = f"{path}: {error.strerror or error}"
            if held.error:
                problems.append(held.error)
        return "; ".join(problems)

    def _holds(
        self, held: _Held, path: Path, data: bytes | None, names: frozenset[str], *, shared: bool
    ) -> None:
        wrong = files.fault(path, data) if data is not None or not shared else ""
        held.data, held.names, held.applied_unix_ms = data, names, time.time_ns() // 1_000_000
        held.error = f"{path} was written and is {wrong} when it is read back" if wrong else ""

    @staticmethod
    def _settings(section: policy.BrowserSection) -> list[tuple[Browser, dict[str, object]]]:
        from schoolkeeper_proto import browser_policies as render

        chromium = render.chromium(section)
        made = {
            "chromium": chromium,
            "chrome": chromium,
            "edge": render.edge(chromium),
            "firefox": render.firefox(section),
        }
        return [(browser, dict(made[browser.name])) for browser in BROWSERS]

    # ---- watching -------------------------------------------------------------------------------------

    def _follow(self, etc: Path) -> None:
        try:
            if self._watch is None:
                self._watch = FolderWatch(self._changed)
            for browser in BROWSERS:
                if self._held.get(browser.name, _Held()).data is not None:
                    self._watch.follow(files.folders_of(etc / browser.file, etc))
        except OSError as error:
            _log.warning("changes to the browsers' policies are seen at a heartbeat only: %s", error)

    def _changed(self) -> None:
        """Somebody did something in a folder; perhaps it was us."""
        if self._looking is None:
            now = time.monotonic()
            self._restored_s = [at for at in self._restored_s if now - at < 60]
            wait = SETTLE_S if len(self._restored_s) < CALM_AFTER else CALM_S
            self._looking = asyncio.get_running_loop().call_later(wait, self._look_soon)

    def _look_soon(self) -> None:
        self._looking = None
        self._task = asyncio.create_task(self.look())

    async def look(self) -> None:
        """Reads every file and restores what is not as it was written."""
        etc = self.context.browser_root
        if etc is None:
            return
        async with self._busy:
            await asyncio.to_thread(self._look, etc)
        self._follow(etc)
        if self._flush is None and any(held.disturbed for held in self._held.values()):
            self._flush = asyncio.get_running_loop().call_later(QUIET_S, self._say_rest)

    def _look(self, etc: Path) -> None:
        for browser in BROWSERS:
            held, path = self._held.get(browser.name), etc / browser.file
            if held is None or held.data is None:
                continue
            wrong = files.fault(path, held.data)
            if wrong:
                try:
                    files.write(path, held.data)
                    held.error = ""
                except OSError as error:
                    held.error = f"{path} was {wrong} and cannot be restored: {error.strerror or error}"
                self._restored_s.append(time.monotonic())
                self._disturbed(browser, path, wrong, restored="NOT restored" if held.error else "restored")
            if not browser.shared and not held.error:
                later = files.later_files(path, held.names)
                before = held.overruled
                held.overruled = f"not in force: {'; '.join(later)}, and comes after ours" if later else ""
                if later and held.overruled != before:
                    self._disturbed(browser, path, f"overruled ({'; '.join(later)})", restored="NOT removed")

    # ---- saying ---------------------------------------------------------------------------------------

    def _disturbed(self, browser: Browser, path: Path, what: str, *, restored: str) -> None:
        """From any thread: an event at once, and then one per ``QUIET_S`` with the number of those in between."""
        held = self._held[browser.name]
        now = time.monotonic()
        if held.said_s and now - held.said_s < QUIET_S:
            held.disturbed += 1
            return
        count, held.disturbed, held.said_s = held.disturbed, 0, now
        more = f"; {count} times more before this" if count else ""
        self._tell(browser, f"{path}: {what}; {restored}{more}", high=restored.startswith("NOT"))

    def _tell(self, browser: Browser, detail: str, *, high: bool) -> None:
        severity = model.Severity.HIGH if high else model.Severity.MEDIUM
        body = model.AgentTampered(what=f"browser policy {browser.name}", detail=detail[:500])
        self.emit(Noted(body=body, severity=severity))

    def _say_rest(self) -> None:
        """What was counted and not yet said: at the end nothing is kept back."""
        self._flush = None
        for browser in BROWSERS:
            held = self._held.get(browser.name)
            if held is not None and held.disturbed:
                self._tell(browser, f"disturbed {held.disturbed} times more; restored each time", high=False)
                held.disturbed = 0

    def _line(self, etc: Path, browser: Browser) -> BrowserLine:
        held, path = self._held[browser.name], etc / browser.file
        wrong = files.fault(path, held.data) if held.data is not None else ""
        if wrong:
            self._changed()
        still = held.running & _running(self.context.proc_root, browser)
        effective = f"not verified: {browser.takes}"
        if browser.shared and still:
            effective += f"; {len(still)} running since before keep the older rules"
        return BrowserLine(
            name=browser.name,
            installed=any(Path(program).exists() for program in browser.programs),
            file=str(path),
            rules=held.data is not None,
            applied_unix_ms=held.applied_unix_ms,
            read_back=not wrong,
            effective=effective,
            problem=held.error or held.overruled or (f"{path} was {wrong}" if wrong else ""),
        )

    # ---- the end --------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Whoever wanted to give back what an earlier service wrote finds that it is ours now."""
        if self._token:
            return
        self._token = os.urandom(8).hex()
        owner = self.context.run_dir / _OWNER
        try:
            owner.parent.mkdir(parents=True, exist_ok=True)
            owner.write_text(self._token)
        except OSError as error:
            _log.warning("%s cannot be written: %s", owner, error)

    def _give_back_later(self, etc: Path) -> None:
        """A shell sleeps, not a Python. Switching the machine off ends it: then the rules are there at its start."""
        script = 'sleep "$1"; shift; exec "$@"'
        program = [sys.executable, "-I", files.__file__, str(etc)]
        owner = [str(self.context.run_dir / _OWNER), self._token]
        try:
            subprocess.Popen(
                ["/bin/sh", "-c", script, "sh", str(GRACE_S), *program, *owner],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            _log.error("the browsers' policies stay: %s", error)

    def _outcome(self, action: object, error: str) -> Outcome:
        return Outcome(enforcer=self.name, action=action, succeeded=not error, detail=error)


def _running(proc: Path, browser: Browser) -> frozenset[tuple[int, str]]:
    """Processes of a browser that reads its rules at its start, as (process id, start time)."""
    if not browser.shared:
        return frozenset()
    names = {Path(program).name for program in browser.programs}
    found = set()
    for folder in proc.glob("[0-9]*"):
        try:
            before, _, after = (folder / "stat").read_text().rpartition(")")
        except OSError:
            continue
        if before.partition("(")[2] in names:
            found.add((int(folder.name), after.split()[19]))
    return frozenset(found)
