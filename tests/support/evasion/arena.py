"""The real guard, the real sensors and the core on a file system of their own, and a pupil who tries ways round them.

Nothing outside what is mounted here is marked, and only processes of the pupil's own user id are ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from schoolkeeper_agent import core
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import GuardApplications
from schoolkeeper_agent.enforcers.linux.applications import ApplicationEnforcer
from schoolkeeper_agent.observations import ActionDone, GuardUp, Observation, ProcessStarted
from schoolkeeper_agent.people import user_of
from schoolkeeper_agent.seams import Enforce, Record
from schoolkeeper_agent.sensors.linux.processes import ProcessSensor
from schoolkeeper_agent.session.lines import SOCKET_NAME
from schoolkeeper_agent.session.server import SessionServer
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import MatchBy
from support import netns
from support.core_playbook import MONDAY_10, bundle_of
from support.evasion.network import Network, device_network
from support.evasion.way import Kind, Way
from support.exec_guard import own_file_system, responder_of, sha256_of
from support.patience import eventually

PATIENCE_S = 60.0
"""Only against hanging: whatever is waited for comes by itself."""
_SPOKEN = (
    model.SensorFailed.KIND,
    model.Gap.KIND,
    model.AgentTampered.KIND,
    model.FilterBypass.KIND,
    model.AgentKilled.KIND,
)
_PROLOGUE = """looked_at() {  # until the guard's marks (proc(5), fdinfo) have the stick's file system among them
    device=$(awk -v at="$STICK" '$5 == at {print $3}' /proc/self/mountinfo | tail -n 1)
    [ -n "$device" ] && [ -n "$RESPONDER" ] || return 0
    number=$(printf 'sdev:%x ' $(( (${device%:*} << 20) + ${device#*:} )))
    for _ in $(seq 200); do
        grep -qs "$number" /proc/"$RESPONDER"/fdinfo/* && return 0
        [ -d /proc/"$RESPONDER" ] || return 0
        sleep 0.05
    done
}
as_pupil() { looked_at; setpriv --reuid "$PUPIL" --regid "$PUPIL" --clear-groups "$@"; }
cd "$HOME"
"""
_GAME_SH = '#!/bin/sh\ncat "$@"\n:\n'
_GAME_PY = "import sys\nprint(open(sys.argv[1]).read(), flush=True)\nsys.stdin.read()\n"


class Result(StrEnum):
    PREVENTED = "prevented"
    """The program did not run, or what was tried changed nothing."""
    ENDED = "detected and ended"
    """It began, and the agent ended it at once."""
    DETECTED = "detected"
    """It worked, and an event says so."""
    NOT_COVERED = "not covered"


class Rules(StrEnum):
    """What is in force while a way is tried."""

    NONE = "nothing"
    NAMED = "rules that name the program"
    LIST = "allow list"


@dataclass(slots=True, kw_only=True)
class Arena:
    """``root``: the mounted file system. ``records``: what the core wrote down."""

    root: Path
    run_dir: Path
    network: Network | None = None
    records: list[Record] = field(default_factory=list)
    started: set[int] = field(default_factory=set)
    mark: str = field(default_factory=lambda: f"played-{secrets.token_hex(8)}")
    user_id: int = field(default_factory=lambda: 200_000 + os.getpid())
    _enforcer: ApplicationEnforcer | None = None
    _state: core.CoreState | None = None
    _sensor: asyncio.Task[None] | None = None
    _sessions: SessionServer | None = None
    _held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def game(self) -> Path:
        return self.root / "home/bea/game"

    @property
    def home(self) -> Path:
        return self.root / "home/ada"

    @property
    def stick(self) -> Path:
        return self.root / "media/stick"

    def furnish(self) -> None:
        """What a way finds; also what the one before left is gone."""
        end_all_of(self.user_id)
        while os.path.ismount(self.stick):
            subprocess.run(["umount", "--lazy", self.stick], check=True)
        shutil.rmtree(self.home, ignore_errors=True)
        for folder in (self.root / "apps", self.game.parent, self.home, self.stick):
            folder.mkdir(parents=True, exist_ok=True)
        if not self.game.exists():
            self.game.write_bytes(Path("/bin/cat").read_bytes() + b"game")
            self.game.chmod(0o755)
            os.chown(self.game, self.user_id, self.user_id)
            (self.root / "apps/editor").write_bytes(Path("/bin/cat").read_bytes())
            (self.root / "apps/editor").chmod(0o755)
            (self.root / "apps/mark").write_text(self.mark + "\n")
        for name, text in (("game.sh", _GAME_SH), ("game.py", _GAME_PY)):
            (self.home / name).write_text(text)
            (self.home / name).chmod(0o755)
        for path in (self.home, *self.home.iterdir()):
            os.chown(path, self.user_id, self.user_id)

    def section(self, rules: Rules) -> policy.ApplicationsSection:
        if rules is Rules.NONE:
            return policy.ApplicationsSection()
        if rules is Rules.LIST:
            return allow_list()
        matches = [policy.ApplicationMatch(by=MatchBy.PATH, text=str(self.game))]
        for path in (self.game, self.home / "game.sh", self.home / "game.py"):
            matches.append(policy.ApplicationMatch(by=MatchBy.FILE_NAME, text=path.name))
            matches.append(policy.ApplicationMatch(by=MatchBy.SHA256, text=sha256_of(path)))
        text = policy.RuleText(rule_id="no-game", resolution="Ask the technician.")
        day = policy.TimeWindow(weekdays=127, from_minute=0, to_minute=1440)
        rule = policy.ApplicationRule(
            text=text,
            decision=DecisionKind.BLOCK,
            matches=tuple(matches),
            when=policy.Applicability(times=(day,), time_zone="Europe/London"),
        )
        return policy.ApplicationsSection(rules=(rule,))

    async def enforce(self, rules: Rules) -> None:
        """From now on these hold."""
        bundle = bundle_of(self.section(rules))
        self._state = core.initial(
            bundle, run_id=b"run", able=frozenset({"applications"}), place=model.Place.ON_SITE
        )
        assert self._enforcer is not None
        self._enforcer._context = self._context(bundle)
        outcome = await self._enforcer.perform(
            GuardApplications(section=bundle.applications, place="on-site")
        )
        assert outcome.succeeded, outcome.detail
        if rules is not Rules.NONE:
            self.emit(GuardUp(enforcer="applications"))
        await self._watch(bundle)

    async def open(self, folder: Path) -> None:
        """``folder``: for what belongs to the device's network, where there can be one."""
        self.furnish()
        self._enforcer = ApplicationEnforcer(self._context(bundle_of()), self.emit)
        self._sessions = SessionServer(self.run_dir, terminals=lambda _: [])
        await self._sessions.start()
        if not netns.missing():
            folder.chmod(0o755)
            self.network = self._held.enter_context(device_network(folder, self.emit))

    async def close(self) -> None:
        """Nothing is left running, marked or mounted."""
        self._state = None
        if self._sensor is not None:
            self._sensor.cancel()
            await asyncio.gather(self._sensor, return_exceptions=True)
        if self._sessions is not None:
            await self._sessions.close()
        if self._enforcer is not None:
            await self._enforcer.close()
        end_all_of(self.user_id)
        while os.path.ismount(self.stick):
            subprocess.run(["umount", "--lazy", self.stick], check=True)
        await asyncio.to_thread(self._held.close)

    async def _watch(self, bundle: OpenBundle) -> None:
        """A new policy starts the process sensor anew."""
        if self._sensor is not None:
            self._sensor.cancel()
            await asyncio.gather(self._sensor, return_exceptions=True)
        self._sensor = asyncio.create_task(ProcessSensor(self._context(bundle)).run(self.emit))
        await self._canary()

    def emit(self, seen: object) -> None:
        """Every observation goes through the core, and what it asks for is done."""
        if isinstance(seen, ProcessStarted):
            self.started.add(seen.process_id)
        if self._state is None:
            return
        assert isinstance(seen, Observation)
        self._state, effects = core.handle(self._state, seen, MONDAY_10)
        for effect in effects:
            if isinstance(effect, Record):
                self.records.append(effect)
            elif isinstance(effect, Enforce) and effect.enforcer == "applications":
                assert self._enforcer is not None
                task = asyncio.get_running_loop().create_task(self._perform(effect.action))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _perform(self, action: object) -> None:
        assert self._enforcer is not None
        self.emit(ActionDone(outcome=await self._enforcer.perform(action)))

    def _context(self, bundle: OpenBundle) -> Context:
        mounts = (self.root, self.stick)
        return Context(bundle=bundle, run_dir=self.run_dir, exec_mounts=mounts)

    async def attempt(self, way: Way, *, as_admin: bool = False) -> Result:
        """Tries it once. ``as_admin``: although it is a pupil's way, to see that the command itself is right."""
        assert self._enforcer is not None
        await self._ready()
        self.furnish()
        if through := way.kind is Kind.NETWORK:
            assert self.network is not None
            await self.network.restore()
        before = len(self.records)
        command = ["bash", "-c", _PROLOGUE + way.script]
        if not (way.admin or way.staged or as_admin):
            account = str(self.user_id)
            command = ["setpriv", "--reuid", account, "--regid", account, "--clear-groups", *command]
        if through:
            assert self.network is not None
            command = self.network.inside(command)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment(),
            start_new_session=True,
        )
        played = False
        assert process.stdout is not None
        assert process.stdin is not None
        async with asyncio.timeout(PATIENCE_S):
            over = asyncio.create_task(self._over(process))
            while line := await process.stdout.readline():
                if played := self.mark.encode() in line:
                    break
            over.cancel()
        await self._canary()
        if through:
            assert self.network is not None
            await self.network.looked()
        while self._tasks:
            await asyncio.gather(*self._tasks)
        ended = self._was_ended(before)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
        process.stdin.close()
        end_all_of(self.user_id)
        async with asyncio.timeout(PATIENCE_S):
            await process.communicate()
        if ended:
            return Result.ENDED
        if not played:
            return Result.PREVENTED
        return Result.DETECTED if self._said(before) else Result.NOT_COVERED

    async def _over(self, process: asyncio.subprocess.Process) -> None:
        """What a finished way left running says nothing more."""
        while process.returncode is None:  # noqa: ASYNC110 - wait() waits for the output's end, too
            await asyncio.sleep(0.05)
        end_all_of(self.user_id)

    def _was_ended(self, before: int) -> bool:
        return any(getattr(record.body, "ended", False) for record in self.records[before:])

    def _said(self, before: int) -> bool:
        """Whether an event since then is about the pupil, or about the agent itself."""
        account = user_of(str(self.user_id), self.user_id, bundle_of().collection)
        return any(record.body.KIND in _SPOKEN or record.user == account for record in self.records[before:])

    async def _canary(self) -> None:
        """Returns when the sensor has told of a process that started after everything until now."""
        process = await asyncio.create_subprocess_exec("/bin/cat", stdin=asyncio.subprocess.PIPE)
        try:
            await eventually(lambda: process.pid in self.started, "the sensor sees a process")
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    async def _ready(self) -> None:
        """A guard that a way before this one ended is back."""
        assert self._enforcer is not None
        if self._enforcer._wanted.table is not None:
            await eventually(lambda: bool(self._responder()), "the guard is back")

    def _responder(self) -> int:
        """The process id of a responder that is awake, else 0."""
        guardian = self._enforcer.responder_pid if self._enforcer is not None else 0
        try:
            process_id = responder_of(guardian) if guardian else 0
            status = Path(f"/proc/{process_id}/status").read_text()
        except (OSError, IndexError):
            return 0
        return process_id if any(f"\nState:\t{awake}" in status for awake in "RSD") else 0

    def _environment(self) -> dict[str, str]:
        assert self._enforcer is not None
        guardian = self._enforcer.responder_pid
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "GAME": str(self.game),
            "EDITOR": str(self.root / "apps/editor"),
            "MARK": str(self.root / "apps/mark"),
            "HOME": str(self.home),
            "GAME_SH": str(self.home / "game.sh"),
            "GAME_PY": str(self.home / "game.py"),
            "STICK": str(self.stick),
            "PUPIL": str(self.user_id),
            "OTHER_UID": str(self.user_id + 1),
            "GUARDIAN": str(guardian or ""),
            "RESPONDER": str(self._responder() or ""),
            "SERVICE": str(os.getpid()),
            "RUN": str(self.run_dir),
            "SESSION_SOCKET": str(self.run_dir / SOCKET_NAME),
            **(self.network.environment if self.network is not None else {}),
        }


def allow_list() -> policy.ApplicationsSection:
    """Only what the system's administrator installed starts, and one program more."""
    rule = policy.ApplicationRule(
        text=policy.RuleText(rule_id="brought-along", resolution="Ask the technician."),
        decision=DecisionKind.BLOCK,
        matches=(policy.ApplicationMatch(by=MatchBy.ORIGIN, text="personal"),),
        unless=(policy.ApplicationMatch(by=MatchBy.FILE_NAME, text="approved"),),
    )
    return policy.ApplicationsSection(rules=(rule,))


def processes_of(user_id: int) -> Iterator[int]:
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            try:
                status = Path(f"/proc/{entry}/status").read_text()
            except OSError:
                continue
            if f"\nUid:\t{user_id}\t" in status:
                yield int(entry)


def end_all_of(user_id: int) -> None:
    """Ends the pupil's processes, by number; nobody else on this machine has that user id."""
    for process_id in processes_of(user_id):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


def missing(way: Way) -> str:
    """What it cannot be tried without and is not here; empty when there is nothing."""
    if way.kind is Kind.NETWORK and (reason := netns.missing()):
        return reason
    return next((name for name in way.needs if shutil.which(name, path=_PATH) is None), "")


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@contextlib.asynccontextmanager
async def arena() -> AsyncIterator[Arena]:
    """A guard that guards nothing yet, a session socket, the process sensor, and a network of the device."""
    with own_file_system() as root, tempfile.TemporaryDirectory() as folder:
        run_dir = root / "agent"
        run_dir.mkdir(mode=0o755)
        made = Arena(root=root, run_dir=run_dir)
        await made.open(Path(folder))
        try:
            yield made
        finally:
            await made.close()
