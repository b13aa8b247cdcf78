"""How much is written to removable media: files and a class of their size together, never a name (T-44, T-45).

The kernel tells of each file of a medium's own file system that was closed after writing. A file counts once within a
minute, however often it is saved. Told when the medium goes, or a minute after the first file; without writes nothing
runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from schoolkeeper_agent import observations
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.seams import Ability, Emit, SensorError
from schoolkeeper_agent.sensors.linux.block_device import is_removable
from schoolkeeper_agent.sensors.linux.fanotify_writes import WriteWatch
from schoolkeeper_agent.sensors.linux.media import all_of, mounts_of_disks, watch_mounts
from schoolkeeper_proto import model

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
        for device, (disk, point) in now.items():
            if device in self._watched:
                continue
            try:
                watched = _Watched(disk=disk, watch=WriteWatch(point))
            except OSError as error:
                _log.warning("what is written to %s is not counted: %s", disk, error)
                emit(_missed(int(time.time() * 1000)))
                continue
            self._watched[device] = watched
            loop.add_reader(watched.watch.fd, self._drain, watched, loop, emit)

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


def _missed(since_ms: int) -> observations.Missed:
    return observations.Missed(
        what="files written to a removable medium",
        from_unix_ms=since_ms,
        to_unix_ms=int(time.time() * 1000),
    )
