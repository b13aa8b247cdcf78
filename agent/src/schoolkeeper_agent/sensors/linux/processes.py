"""Programs that start and end: every one by the kernel's events with root, what a look now and then shows without."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import socket
import time
from pathlib import Path

from schoolkeeper_agent import observations
from schoolkeeper_agent.accounts import Accounts, plain_text
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.linux.exec_responder.origin import SYSTEM, Origin
from schoolkeeper_agent.people import FIRST_PERSON_UID
from schoolkeeper_agent.seams import Ability, Emit, SensorError
from schoolkeeper_agent.sensors.linux import proc_connector, process_table, scripts
from schoolkeeper_proto import model

POLL_S = 2.0
MAX_HASHED = 64 << 20
"""Files beyond this many bytes are not hashed here: the exec responder examines them, this sensor only looks on."""
_BURST = 256
_LEARN_S = 5.0
"""The table of mounts is read again after so long, and only when the origin of a program is asked for."""


class ProcessSensor:
    """Events of the proc connector.

    A burst that the kernel had to drop is said as a gap without a figure; what runs is then looked at, so that no
    program stays in the books that has ended.
    """

    name = "processes"
    # Usage is counted from the same look, but only where the policy has a notice for it (`may_record`).
    kinds = (model.ApplicationStarted.KIND,)

    def __init__(self, context: Context) -> None:
        self._context = context
        self._accounts = Accounts()
        self._known: dict[int, str] = {}
        """What was told as running and has not ended, and the path it runs."""
        self._overrun = False
        section = context.bundle.applications
        used = {str(match.by) for rule in section.rules for match in (*rule.matches, *rule.unless)}
        self._needs_sha256 = "sha256" in used
        self._needs_origin = "origin" in used
        self._origin = Origin()
        self._learnt_s = -_LEARN_S
        self._hashes: dict[tuple[int, int, int, int], bytes] = {}

    def ability(self) -> Ability:
        if not self._context.has_root:
            return Ability(
                able=True,
                because=f"without root only its own processes are seen, every {POLL_S:.0f} s: short ones are missed",
            )
        try:
            proc_connector.listen().close()
        except OSError as error:
            return Ability(
                able=False, because=f"the kernel's process events cannot be read: {error.strerror}"
            )
        return Ability(able=True)

    async def run(self, emit: Emit) -> None:
        if self._context.has_root:
            await self._by_events(emit)
        else:
            await self._by_looking(emit)

    async def _by_events(self, emit: Emit) -> None:
        try:
            connector = proc_connector.listen()
        except OSError as error:
            raise SensorError(f"the kernel's process events cannot be read: {error}") from error
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[None] = loop.create_future()
        with connector:
            loop.add_reader(connector.fileno(), self._drain, connector, emit, stopped)
            try:
                for process_id in process_table.running(self._context.proc_root):
                    self._started(process_id, emit, already_running=True)
                await stopped
            finally:
                loop.remove_reader(connector.fileno())

    def _drain(self, connector: socket.socket, emit: Emit, stopped: asyncio.Future[None]) -> None:
        for _ in range(_BURST):
            try:
                event = proc_connector.receive(connector)
            except BlockingIOError:
                if self._overrun:
                    self._overrun = False
                    self._look(emit)
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    now = time.time_ns() // 1_000_000
                    emit(observations.Missed(what="process events", from_unix_ms=now, to_unix_ms=now))
                    self._overrun = True
                    continue
                if not stopped.done():
                    stopped.set_exception(SensorError(f"reading process events failed: {error}"))
                return
            if event is None:
                continue
            if event.what == proc_connector.EXEC:
                self._started(event.process_id, emit)
            elif event.process_id in self._known:
                del self._known[event.process_id]
                emit(observations.ProcessEnded(process_id=event.process_id))

    def _look(self, emit: Emit) -> None:
        """What changed unseen, once the queue is read to its end: what has ended first, then what runs."""
        running = set(process_table.running(self._context.proc_root))
        for process_id in sorted(self._known.keys() - running):
            del self._known[process_id]
            emit(observations.ProcessEnded(process_id=process_id))
        for process_id in sorted(running):
            info = process_table.look_up(self._context.proc_root, process_id)
            if info is not None and self._known.get(process_id) != info.path:
                self._tell(info, emit, already_running=True)

    async def _by_looking(self, emit: Emit) -> None:
        """Audit mode: honest about what it is, a look at a tree of processes every other second."""
        first = True
        seen: dict[int, str] = {}
        while True:
            now = {info.process_id: info for info in self._visible()}
            for process_id in list(seen):
                if process_id not in now:
                    del seen[process_id]
                    emit(observations.ProcessEnded(process_id=process_id))
            for process_id, info in now.items():
                if seen.get(process_id) != info.path:
                    seen[process_id] = info.path
                    self._tell(info, emit, already_running=first)
            first = False
            await asyncio.sleep(POLL_S)

    def _visible(self) -> list[process_table.ProcessInfo]:
        root = self._context.proc_root
        ids = (
            process_table.descendants(root, self._context.root_pid)
            if self._context.root_pid
            else process_table.running(root)
        )
        found = [process_table.look_up(root, process_id) for process_id in ids]
        return [info for info in found if info is not None]

    def _started(self, process_id: int, emit: Emit, *, already_running: bool = False) -> None:
        info = process_table.look_up(self._context.proc_root, process_id)
        if info is not None:
            self._tell(info, emit, already_running=already_running)

    def _tell(self, info: process_table.ProcessInfo, emit: Emit, *, already_running: bool) -> None:
        self._known[info.process_id] = info.path
        emit(
            observations.ProcessStarted(
                process_id=info.process_id,
                parent_process_id=info.parent_process_id,
                path=plain_text(info.path),
                account=self._accounts.name(info.user_id),
                user_id=info.user_id,
                groups=self._accounts.groups(info.user_id),
                sha256=self._sha256(info.process_id) if self._needs_sha256 else b"",
                already_running=already_running,
                origin=self._origin_of(info) if self._needs_origin else "",
                script=self._script_of(info),
                script_origin="" if scripts.is_loader(info.path) else SYSTEM,
            )
        )

    def _origin_of(self, info: process_table.ProcessInfo) -> str:
        """As the exec responder tells it. Of what has ended already nothing can be told."""
        if 0 <= info.user_id < FIRST_PERSON_UID:
            return SYSTEM
        now = time.monotonic()
        if now - self._learnt_s >= _LEARN_S:
            self._learnt_s = now
            self._origin.learn()
        try:
            found = (self._context.proc_root / str(info.process_id) / "exe").stat()
        except OSError:
            return ""
        return self._origin.of(info.path, found)

    def _script_of(self, info: process_table.ProcessInfo) -> str:
        name = info.path.rpartition("/")[2]
        if not scripts.runs_others(name):
            return ""
        words, folder = process_table.command_of(self._context.proc_root, info.process_id)
        return plain_text(scripts.script_of(name, words, folder))

    def _sha256(self, process_id: int) -> bytes:
        """Of the file that runs; empty when it is too big or cannot be read."""
        try:
            with (self._context.proc_root / str(process_id) / "exe").open("rb") as file:
                found = Path(f"/proc/self/fd/{file.fileno()}").stat()
                key = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
                if found.st_size > MAX_HASHED:
                    return b""
                if key not in self._hashes:
                    if len(self._hashes) > 4096:
                        self._hashes.clear()
                    self._hashes[key] = hashlib.file_digest(file, "sha256").digest()
                return self._hashes[key]
        except OSError:
            return b""
