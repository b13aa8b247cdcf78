"""Supervises the exec responder: gives it tables, hears its reports, and brings it back when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

from schoolkeeper_agent import observations
from schoolkeeper_agent.accounts import Accounts, plain_text
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import EndProgram, GuardApplications, RefreshApplications
from schoolkeeper_agent.enforcers.linux import packages
from schoolkeeper_agent.enforcers.linux.exec_responder.begin import TABLE
from schoolkeeper_agent.enforcers.linux.exec_responder.loop import UNSAID
from schoolkeeper_agent.enforcers.linux.responder_process import (
    ResponderConfig,
    ResponderProcess,
    stop_leftover,
)
from schoolkeeper_agent.enforcers.linux.rights import fanotify_ability
from schoolkeeper_agent.seams import Ability, Emit, Outcome
from schoolkeeper_proto.matching import TableMistake, compile_applications
from schoolkeeper_proto.model import DecisionKind

UP_TIMEOUT_S = 10.0
SWAP_TIMEOUT_S = 5.0
LEFTOVER_ENDS_S = 2.0
_BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
_STABLE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What the responder shall decide by. ``table`` None: nothing is restricted, so nothing runs."""

    table: dict[str, object] | None = None
    place: str = "unknown"
    groups: tuple[tuple[int, tuple[str, ...]], ...] = ()
    base_ms: int | None = None
    packages: frozenset[str] = frozenset()


class ApplicationEnforcer:
    """Execution control on Linux. All methods are called in one event loop."""

    name = "applications"

    def __init__(self, context: Context, emit: Emit, *, lists: Path = packages.LISTS) -> None:
        """``lists``: where dpkg keeps the lists of what each package brought."""
        self._context = context
        self._lists = lists
        self._package_watch: packages.PackageWatch | None = None
        self._upgrading: asyncio.Task[None] | None = None
        self._emit = emit
        self._accounts = Accounts()
        self._wanted = _Wanted()
        self._process: ResponderProcess | None = None
        self._answers: asyncio.Queue[str] = asyncio.Queue()
        self._restarting: asyncio.Task[None] | None = None
        self._restarts = 0
        self._started_s = 0.0
        self._down_since_s = 0.0
        self._closing = False

    def ability(self) -> Ability:
        if not self._context.has_root:
            return Ability(able=False, because="needs root: without it programs are watched, none is refused")
        return fanotify_ability(self._context.guard)

    @property
    def responder_pid(self) -> int:
        """The guardian's process id, 0 without one: for status and tests."""
        return self._process.pid if self._process is not None else 0

    async def perform(self, action: object) -> Outcome:
        try:
            match action:
                case GuardApplications():
                    compiled = compile_applications(action.section)
                    table = compiled.to_json()
                    restricts = bool(table["rules"]) or table["otherwise"] != "allow"
                    wanted = replace(
                        self._wanted,
                        table=table if restricts else None,
                        place=action.place,
                        base_ms=action.base_ms,
                        packages=compiled.packages,
                    )
                case EndProgram():
                    return self._outcome(action, end_program(action.process_id, action.path))
                case RefreshApplications():
                    wanted = replace(
                        self._wanted, place=action.place, groups=action.groups, base_ms=action.base_ms
                    )
                    self._accounts.forget()
                case _:
                    return self._outcome(action, f"{type(action).__name__} is not an action of this enforcer")
        except TableMistake as error:
            return self._outcome(action, f"{error}; the rules before stay in force")
        return self._outcome(action, await self._bring_in_force(wanted))

    async def replace_responder(self) -> str:
        """A new responder takes over without a gap: it marks before the old one closes. Empty, or why not."""
        old, self._process = self._process, None
        error = await self._start()
        if error:
            self._process = old
            return error
        if old is not None:
            old.on_end = None
            await old.stop()
        return ""

    async def close(self) -> None:
        """Ends a responder of its own: the kernel allows. The guard's goes on until the next service took over, or ends
        by itself when none does: an upgrade leaves no gap."""
        self._closing = True
        self._wanted = replace(self._wanted, packages=frozenset())
        self._watch_packages()
        if self._upgrading is not None:
            self._upgrading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._upgrading
        if self._restarting is not None:
            self._restarting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._restarting
        if self._context.guard is None:
            await self._stop()
        elif self._process is not None:
            self._process.leave()
            self._process = None

    def _outcome(self, action: object, error: str) -> Outcome:
        return Outcome(enforcer=self.name, action=action, succeeded=not error, detail=error)

    async def _bring_in_force(self, wanted: _Wanted) -> str:
        self._wanted = wanted
        self._watch_packages()
        if wanted.table is None:
            await self._stop()
            return ""
        self._write_table()
        if self._restarting is not None and not self._restarting.done():
            return "the exec responder is being started again; it will take these rules"
        if self._process is None:
            return await self._start()
        return await self._swap()

    def _watch_packages(self) -> None:
        """Follows dpkg's lists while a rule names a package, and only then."""
        if bool(self._wanted.packages) == (self._package_watch is not None):
            return
        if self._package_watch is not None:
            self._package_watch.close()
            self._package_watch = None
            return
        try:
            self._package_watch = packages.PackageWatch(self._packages_changed, self._lists)
        except OSError as error:
            self._emit(observations.SensorDown(sensor=f"enforcer {self.name}", error=str(error)))

    def _packages_changed(self) -> None:
        async def take() -> None:
            error = await self._bring_in_force(self._wanted)
            if error:
                self._emit(observations.SensorDown(sensor=f"enforcer {self.name}", error=error))

        if self._upgrading is None or self._upgrading.done():
            self._upgrading = asyncio.get_running_loop().create_task(take())

    async def _swap(self) -> str:
        process = self._process
        assert process is not None
        while not self._answers.empty():
            self._answers.get_nowait()
        process.send(b"table")
        try:
            async with asyncio.timeout(SWAP_TIMEOUT_S):  # wait_for can swallow a cancellation
                return await self._answers.get()
        except TimeoutError:
            return f"the exec responder did not take the new rules within {SWAP_TIMEOUT_S:.0f} s"

    async def _start(self) -> str:
        if self._context.guard is None and not (ability := self.ability()).able:
            return ability.because
        mounts = self._context.exec_mounts
        config = ResponderConfig(
            folder=self._folder,
            mounts=None if mounts is None else tuple(str(point) for point in mounts),
            guard=self._context.guard,
        )
        process = ResponderProcess(config, on_report=self._heard)
        process.on_end = self._ended
        leftover = self._pid_file
        error = await process.start(UP_TIMEOUT_S)
        if error:
            return error
        self._process = process
        self._started_s = time.monotonic()
        stop_leftover(leftover)
        leftover.write_text(process.identity)
        asyncio.get_running_loop().call_later(LEFTOVER_ENDS_S, self._tell_unsaid)
        down = time.monotonic() - self._down_since_s if self._down_since_s else 0.0
        self._down_since_s = 0.0
        self._emit(observations.GuardUp(enforcer=self.name, down_milliseconds=round(down * 1000)))
        return ""

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.on_end = None
            await process.stop()
            self._pid_file.unlink(missing_ok=True)

    def _ended(self, reason: str) -> None:
        """The responder is gone, and nobody asked for it: said at once, and started again."""
        if self._closing:
            return
        self._process = None
        self._down_since_s = time.monotonic()
        if time.monotonic() - self._started_s > _STABLE_S:
            self._restarts = 0
        self._emit(observations.GuardDown(enforcer=self.name, reason=reason, restarts=self._restarts))
        self._restarting = asyncio.get_running_loop().create_task(self._come_back())

    async def _come_back(self) -> None:
        while self._wanted.table is not None:
            await asyncio.sleep(_BACK_OFF_S[min(self._restarts, len(_BACK_OFF_S) - 1)])
            self._restarts += 1
            error = await self._start()
            if not error:
                return
            self._emit(observations.GuardDown(enforcer=self.name, reason=error, restarts=self._restarts))

    def _heard(self, packet: dict[str, object]) -> None:
        now = time.time_ns() // 1_000_000
        match packet["kind"]:
            case "judged":
                self._emit(self._judged(packet))
            case "dropped":
                count = int(str(packet["count"]))
                self._emit(
                    observations.Missed(
                        what="reports of the exec responder", from_unix_ms=now, to_unix_ms=now, count=count,
                        count_known=True,
                    )
                )  # fmt: skip
            case "table":
                self._answers.put_nowait(str(packet["error"]))
            case "error" | "unmarked":
                said = f"{packet.get('mount', 'a decision')}: {packet['error']}"
                self._emit(observations.SensorDown(sensor=f"enforcer {self.name}", error=said))
            case _:
                pass

    def _tell_unsaid(self) -> None:
        """What a responder decided while its service was gone: enforced, and known only as a figure."""
        if self._closing:
            return  # the next service tells
        left = self._table_file.with_name(self._table_file.name + UNSAID)
        try:
            count, ended_ms = int(left.read_text()), left.stat().st_mtime_ns // 1_000_000
            left.unlink()
        except (OSError, ValueError):
            return
        self._emit(
            observations.Missed(
                what="decisions of the exec responder while its service was gone", from_unix_ms=ended_ms,
                to_unix_ms=ended_ms, count=count, count_known=True,
            )
        )  # fmt: skip

    def _judged(self, packet: dict[str, object]) -> observations.ExecutionJudged:
        user_id = int(str(packet["uid"]))
        return observations.ExecutionJudged(
            path=plain_text(str(packet["path"])),
            decision=DecisionKind(str(packet["decision"])),
            asked=DecisionKind(str(packet["asked"])),
            rule_id=str(packet["rule"]),
            reason=str(packet["reason"]),
            process_id=int(str(packet["pid"])),
            account=self._accounts.name(user_id),
            user_id=user_id,
            sha256=bytes.fromhex(str(packet["sha256"])),
        )

    @property
    def _folder(self) -> Path:
        """What the responder reads and leaves: with a guard in its folder, which outlives this service."""
        guard = self._context.guard
        return self._context.run_dir if guard is None else guard.path.parent

    @property
    def _table_file(self) -> Path:
        return self._folder / TABLE

    @property
    def _pid_file(self) -> Path:
        return self._folder / "exec-responder.pid"

    def _write_table(self) -> None:
        """Written beside, then renamed: a reader sees the old table or the new one."""
        content = {
            "table": self._wanted.table,
            "place": self._wanted.place,
            "groups": {str(user_id): list(names) for user_id, names in self._wanted.groups},
            "base_ms": self._wanted.base_ms,
            "packages": packages.programs_of(self._wanted.packages, self._lists),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = self._table_file.with_suffix(".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file)
        beside.replace(self._table_file)


def end_program(process_id: int, path: str) -> str:
    """Ends a process that still executes this file; empty, or why it was left alone.

    By a descriptor of the process (pidfd_open(2)): a number that another process has by now ends nobody.
    """
    try:
        process = os.pidfd_open(process_id)
    except OSError as error:
        return f"process {process_id} is not there: {error.strerror}"
    try:
        now = os.readlink(f"/proc/{process_id}/exe").removesuffix(" (deleted)")  # noqa: PTH115
        if plain_text(now) != path:
            return f"process {process_id} runs something else by now"
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError as error:
        return f"process {process_id} could not be ended: {error.strerror}"
    finally:
        os.close(process)
    return ""
