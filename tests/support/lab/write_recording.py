"""Records every write to a disk of the virtual laptop, to be replayed by ``power_cut.replay_to_every_flush``."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.lab.commands import run_tool
from support.lab.virtual_laptop import VirtualLaptop

RECORDED = "/mnt/recorded"
"""Where the recorded disk is mounted in the laptop (ext4)."""

MARK = "/usr/local/bin/lab-mark"
"""In the laptop: ``lab-mark NAME`` notes in the log that what came before was promised. No spaces in NAME."""

_MARK_SCRIPT = b'#!/bin/sh\nexec dmsetup message recorded 0 mark "$1"\n'
_LOG_MIB = 512
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """``before``: the disk's image when recording began; ``log``: all writes since then."""

    before: Path
    log: Path


@contextlib.contextmanager
def record_writes(laptop: VirtualLaptop, folder: Path, *, size_mib: int = 32) -> Iterator[Recording]:
    """Give the laptop a disk at ``RECORDED`` whose writes are recorded until the block ends; then the log can be read.

    Args:
        folder: for the images (sparse; the log may grow to 512 MiB).
        size_mib: of the disk.
    """
    before, disk, log = (folder / name for name in ("before.img", "disk.img", "writes.log"))
    _blank(before, size_mib)
    _blank(log, _LOG_MIB)
    run_tool(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", before])
    shutil.copyfile(before, disk)
    plugged_disk = laptop.attach_disk(disk, serial="RECORDED")
    plugged_log = laptop.attach_disk(log, serial="WRITELOG")
    laptop.put(MARK, _MARK_SCRIPT, 0o755)
    sectors = size_mib * _MIB // 512
    table = f"0 {sectors} log-writes {plugged_disk.device} {plugged_log.device}"
    laptop.sh(
        f"dmsetup create recorded --table '{table}' && mkdir -p {RECORDED} && mount /dev/mapper/recorded {RECORDED}"
    ).check()
    yield Recording(before=before, log=log)
    laptop.sh(f"umount {RECORDED} && udevadm settle && dmsetup remove --retry recorded", 60).check()
    laptop.unplug(plugged_disk)
    laptop.unplug(plugged_log)


def _blank(path: Path, size_mib: int) -> None:
    with path.open("wb") as blank:
        blank.truncate(size_mib * _MIB)
