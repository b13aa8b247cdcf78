"""Reads what the kernel's dm-log-writes target recorded: every write to a device, in the order in which a power cut
could have made it the last.

The layout is that of the kernel's drivers/md/dm-log-writes.c: a super block of one sector, then for each entry one
sector with its head, followed by its data. All numbers are little-endian. The target holds a write back in the log
until the flush after it has ended, so whatever stands before a flush was durable when that flush returned.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import BinaryIO

from support.lab.cache import LabError

_SUPER = struct.Struct("<QQQI")  # magic, version, number of entries, bytes per sector
_HEAD = struct.Struct("<QQQQ")  # sector, number of sectors, flags, bytes of a mark's name
_MAGIC = 0x6A736677736872
_VERSION = 1


class Flag(IntFlag):
    FLUSH = 1
    FUA = 2
    DISCARD = 4
    MARK = 8
    METADATA = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One write. ``offset`` and ``length`` are bytes on the device; ``data`` is empty for discards and marks."""

    number: int
    flags: Flag
    offset: int
    length: int
    data: bytes
    mark: str

    @property
    def is_barrier(self) -> bool:
        """Whether what comes before it in the log was durable when it ended."""
        return bool(self.flags & (Flag.FLUSH | Flag.FUA | Flag.MARK))

    def apply(self, device: BinaryIO, length: int | None = None) -> None:
        """Do this write again on ``device``, or only its first ``length`` bytes."""
        data = bytes(self.length) if self.flags & Flag.DISCARD else self.data
        if data:
            device.seek(self.offset)
            device.write(data[:length])


def read_write_log(path: Path) -> Iterator[Entry]:
    """The entries of a log device's image.

    Raises:
        LabError: the image holds no log, or ends within one.
    """
    with path.open("rb") as log:
        head = log.read(_SUPER.size)
        magic, version, count, sector = _SUPER.unpack(head) if len(head) == _SUPER.size else (0, 0, 0, 0)
        if (magic, version) != (_MAGIC, _VERSION):
            raise LabError(
                f"{path}: not a log of dm-log-writes (was the target removed before the image was read?)"
            )
        log.seek(sector)
        for number in range(count):
            yield _read_entry(log, number, sector)


def _read_entry(log: BinaryIO, number: int, sector: int) -> Entry:
    block = _read(log, sector)
    start, sectors, raw_flags, named = _HEAD.unpack_from(block)
    flags = Flag(raw_flags)
    length = sectors * sector
    return Entry(
        number=number,
        flags=flags,
        offset=start * sector,
        length=length,
        data=b"" if flags & Flag.DISCARD else _read(log, length),
        mark=block[_HEAD.size : _HEAD.size + named].rstrip(b"\0").decode() if flags & Flag.MARK else "",
    )


def _read(log: BinaryIO, length: int) -> bytes:
    data = log.read(length)
    if len(data) < length:
        raise LabError("the write log ends within an entry: its device was too small")
    return data
