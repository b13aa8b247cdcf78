"""A disk at every moment at which a power cut could have stopped it.

The moments: after each flush or forced write (what a device owes us, and no more), after each mark (the program has
just been told that its data is safe), and between two flushes with some of the writes done, some not and some torn
in the middle, as a disk that reorders its cache leaves them.
"""

import contextlib
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from support.lab.commands import run_tool
from support.lab.write_log import Entry, Flag, read_write_log
from support.lab.write_recording import Recording

_SECTOR = 512
_NONE, _ALL, _TORN = range(3)


class Cause(StrEnum):
    FLUSHED = "after a flush"
    MARKED = "after a mark"
    TORN = "between two flushes"


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerCut:
    """One moment. ``promised`` are the marks before it, in order: what they stand for must be on the disk."""

    entry: int
    cause: Cause
    promised: tuple[str, ...]

    def __str__(self) -> str:
        last = self.promised[-1] if self.promised else "nothing"
        return f"{self.cause}, at entry {self.entry} of the write log, last promised: {last}"


def replay_to_every_flush(
    recording: Recording, check: Callable[[PowerCut, Path], None], *, torn_seed: int | None = 1
) -> int:
    """Call ``check`` with each moment and the disk as it was then, mounted (after ext4's own recovery).

    Args:
        check: raises (asserts) if what was promised is not there. It may write: each call has its own copy.
        torn_seed: chooses what is torn; None leaves the moments between two flushes out.

    Returns:
        How many moments were checked.
    """
    checked = 0
    with tempfile.TemporaryDirectory(prefix="schoolkeeper-replay-", dir=recording.log.parent) as name:
        folder = Path(name)
        for moment in _moments(recording, folder / "device.img", torn_seed):
            with _mounted_copy(folder) as mounted:
                try:
                    check(moment, mounted)
                except BaseException as error:
                    error.add_note(f"power cut {moment}")
                    raise
            checked += 1
    return checked


def _moments(recording: Recording, device_path: Path, torn_seed: int | None) -> Iterator[PowerCut]:
    """Each moment, with the file at ``device_path`` as the disk was then."""
    shutil.copyfile(recording.before, device_path)
    chance = random.Random(torn_seed)
    promised: list[str] = []
    for run in _runs_to_barriers(read_write_log(recording.log)):
        *writes, barrier = run
        if torn_seed is not None and writes:
            untorn = device_path.with_suffix(".untorn")
            _copy_sparse(device_path, untorn)
            with device_path.open("r+b") as device:
                _apply_some(writes, device, chance)
            yield PowerCut(entry=barrier.number, cause=Cause.TORN, promised=tuple(promised))
            untorn.rename(device_path)
        with device_path.open("r+b") as device:
            for entry in run:
                entry.apply(device)
        if barrier.flags & Flag.MARK:
            promised.append(barrier.mark)
        cause = Cause.MARKED if barrier.flags & Flag.MARK else Cause.FLUSHED
        yield PowerCut(entry=barrier.number, cause=cause, promised=tuple(promised))


def _runs_to_barriers(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The entries cut after each barrier; what follows the last one was never owed to anybody."""
    run: list[Entry] = []
    for entry in entries:
        run.append(entry)
        if entry.is_barrier:
            yield run
            run = []


def _apply_some(writes: list[Entry], device: BinaryIO, chance: random.Random) -> None:
    for write in chance.sample(writes, len(writes)):
        fate = chance.choice((_NONE, _ALL, _TORN))
        if fate == _ALL:
            write.apply(device)
        elif fate == _TORN:
            write.apply(device, chance.randrange(0, write.length + 1, _SECTOR))


@contextlib.contextmanager
def _mounted_copy(folder: Path) -> Iterator[Path]:
    image, mount = folder / "mounted.img", folder / "mounted"
    _copy_sparse(folder / "device.img", image)
    mount.mkdir(exist_ok=True)
    run_tool(["mount", "-t", "ext4", "-o", "loop,noatime", image, mount])
    try:
        yield mount
    finally:
        run_tool(["umount", mount])


def _copy_sparse(source: Path, target: Path) -> None:
    run_tool(["cp", "--sparse=always", source, target])
