"""How much is written to removable media: files and a class of their size together, never a name (T-44, T-45).

The kernel tells of each file of a medium's own file system that was closed after writing. A file counts once within a
minute, however often it is saved. Told when the medium goes, or a minute after the first file; without writes nothing
runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schoolkeeper_agent import observations
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.seams import Ability, Emit, SensorError
from schoolkeeper_agent.sensors.linux.block_device import is_removable
from schoolkeeper_agent.sensors.linux.fanotify_writes import WriteWatch
from schoolkeeper_agent.sensors.linux.media import all_of, watch_mounts
from schoolkeeper_agent.sensors.linux.mounted import mounts_of_disks
from schoolkeeper_proto import model

if TYPE_CHECKING:
    from schoolkeeper_agent.guard.door import Answer, Guard

WINDOW_S = 60.0
MOST_REMEMBERED = 20_000
"""Files told apart in a window; beyond it every closing counts."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watched:
    """One mounted file system of a medium."""

    disk: str
    watch: WriteWatch
    files: int = 0
    size: int = 0
    since_ms: int = 0
    lost: bool = False
    seen: set[int] = field(default_factory=set)
    timer: asyncio.TimerHandle | None = None


class MediaWritesSensor:
    """``include`` lets a test name devices of its own that are not removable, such as a loop device."""

    name = "media-writes"
    kinds = (model.MediumCopy.KIND,)

    def __init__(
        self, context: Context, *, include: frozenset[str] = frozenset(), window: float = WINDOW_S
    ) -> None:
        self._context = context
        self._include = include
        self._window = window
        self._watched: dict[str, _Watched] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}

    def ability(self) -> Ability:
        if not self._context.has_root:
            return Ability(
                able=False, because="needs root: the kernel tells nobody else what is written to media"
            )
        return Ability(able=True)

    async def run(self, emit: Emit) -> None:
        loop = asyncio.get_running_loop()
        stopped: asyncio.Future[None] = loop.create_future()
        try:
            mounts = (self._context.proc_root / "self" / "mountinfo").open("rb", buffering=0)
        except OSError as error:
            raise SensorError(f"the mount table cannot be read: {error}") from error
        with mounts:

            def look() -> None:
                self._look(mounts.fileno(), loop, emit)

            stop_watching = watch_mounts(loop, mounts.fileno(), look, stopped)
            try:
                look()
                await stopped
            finally:
                stop_watching()
                for opening in self._opening.values():
                    opening.cancel()
                for device in tuple(self._watched):
                    self._forget(device, loop, emit)

    def _look(self, mounts: int, loop: asyncio.AbstractEventLoop, emit: Emit) -> None:
        """A mark on each file system of a medium that can be written; an end to those that went."""
        now = {
            device: (disk, point)
            for disk, device, point, read_only in mounts_of_disks(all_of(mounts), self._context.sys_root)
            if not read_only
            and (disk in self._include or is_removable(self._context.sys_root / "block" / disk))
        }
        for device in self._watched.keys() - now.keys():
            self._forget(device, loop, emit)
        for device in self._opening.keys() - now.keys():
            self._opening.pop(device).cancel()
        for device, (disk, point) in now.items():
            if device in self._watched or device in self._opening:
                continue
            if self._context.guard is not None:
                self._opening[device] = loop.create_task(
                    self._ask(self._context.guard, device, disk, point, emit)
                )
                continue
            try:
                self._begin(device, disk, WriteWatch(point), emit)
            except OSError as error:
                self._not_counted(disk, str(error), emit)

    async def _ask(self, guard: Guard, device: str, disk: str, point: str, emit: Emit) -> None:
        """The guard marks the file system; what it gives is read here."""
        from schoolkeeper_agent.guard.requests import Watch

        asked = asyncio.ensure_future(asyncio.to_thread(guard.ask, Watch(point)))
        try:
            answer = await asyncio.shield(asked)
        except asyncio.CancelledError:  # the medium went, or the sensor ends: nobody else would close it
            asked.add_done_callback(_let_go)
            raise
        del self._opening[device]
        if answer.error or answer.descriptor < 0:
            self._not_counted(disk, answer.error or "the guard gave no descriptor", emit)
        else:
            self._begin(device, disk, WriteWatch(point, answer.descriptor), emit)

    def _begin(self, device: str, disk: str, watch: WriteWatch, emit: Emit) -> None:
        watched = _Watched(disk=disk, watch=watch)
        self._watched[device] = watched
        loop = asyncio.get_running_loop()
        loop.add_reader(watch.fd, self._drain, watched, loop, emit)

    def _not_counted(self, disk: str, because: str, emit: Emit) -> None:
        _log.warning("what is written to %s is not counted: %s", disk, because)
        emit(_missed(int(time.time() * 1000)))

    def _drain(self, watched: _Watched, loop: asyncio.AbstractEventLoop, emit: Emit) -> None:
        written, lost = watched.watch.read()
        if not written and not lost:
            return
        for one in written:
            if one.inode in watched.seen:
                continue
            if len(watched.seen) < MOST_REMEMBERED:
                watched.seen.add(one.inode)
            watched.files += 1
            watched.size += one.size
        watched.lost = watched.lost or lost
        if watched.timer is None:
            watched.since_ms = int(time.time() * 1000)
            watched.timer = loop.call_later(self._window, self._tell, watched, emit)

    def _tell(self, watched: _Watched, emit: Emit) -> None:
        if watched.timer is not None:
            watched.timer.cancel()
            watched.timer = None
        if watched.files:
            emit(observations.MediumWritten(kernel_name=watched.disk, files=watched.files, size=watched.size))
        if watched.lost:
            emit(_missed(watched.since_ms))
        watched.files = watched.size = 0
        watched.lost = False
        watched.seen.clear()

    def _forget(self, device: str, loop: asyncio.AbstractEventLoop, emit: Emit) -> None:
        watched = self._watched.pop(device)
        self._drain_rest(watched, loop, emit)
        loop.remove_reader(watched.watch.fd)
        watched.watch.close()
        self._tell(watched, emit)

    def _drain_rest(self, watched: _Watched, loop: asyncio.AbstractEventLoop, emit: Emit) -> None:
        before = -1
        while before != watched.files:
            before = watched.files
            self._drain(watched, loop, emit)


def _let_go(asked: asyncio.Future[Answer]) -> None:
    if not asked.cancelled() and asked.result().descriptor >= 0:
        os.close(asked.result().descriptor)


def _missed(since_ms: int) -> observations.Missed:
    return observations.Missed(
        what="files written to a removable medium",
        from_unix_ms=since_ms,
        to_unix_ms=int(time.time() * 1000),
    )
