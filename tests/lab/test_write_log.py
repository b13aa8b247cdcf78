"""Reading a write log: the layout of the kernel's dm-log-writes, and what cannot be read is said."""

import io
import struct
from pathlib import Path

import pytest

from support.lab.cache import LabError
from support.lab.write_log import Flag, read_write_log

SECTOR = 512
MAGIC = 0x6A736677736872


def entry(sector: int, sectors: int, flags: Flag, data: bytes = b"", mark: bytes = b"") -> bytes:
    head = struct.pack("<QQQQ", sector, sectors, flags, len(mark)) + mark
    return head.ljust(SECTOR, b"\0") + data


def write_log(folder: Path, *entries: bytes, magic: int = MAGIC) -> Path:
    log = folder / "writes.log"
    head = struct.pack("<QQQI", magic, 1, len(entries), SECTOR)
    log.write_bytes(head.ljust(SECTOR, b"\0") + b"".join(entries))
    return log


def test_writes_discards_and_marks_are_told_apart(tmp_path: Path) -> None:
    log = write_log(
        tmp_path,
        entry(1, 2, Flag(0), b"a" * 1024),
        entry(0, 0, Flag.FLUSH),
        entry(2, 1, Flag.DISCARD),
        entry(0, 0, Flag.MARK, mark=b"promised"),
        entry(3, 1, Flag.FUA | Flag.METADATA, b"b" * SECTOR),
    )
    entries = list(read_write_log(log))
    assert [found.is_barrier for found in entries] == [False, True, False, True, True]
    assert [found.mark for found in entries] == ["", "", "", "promised", ""]

    device = io.BytesIO(b"." * 2048)
    for found in entries:
        found.apply(device)
    assert device.getvalue() == b"." * 512 + b"a" * 512 + bytes(512) + b"b" * 512


def test_torn_write_does_only_its_beginning(tmp_path: Path) -> None:
    (write,) = read_write_log(write_log(tmp_path, entry(0, 2, Flag(0), b"a" * 1024)))
    device = io.BytesIO(b"." * 1024)
    write.apply(device, SECTOR)
    assert device.getvalue() == b"a" * 512 + b"." * 512


def test_image_without_a_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="not a log of dm-log-writes"):
        list(read_write_log(write_log(tmp_path, magic=0)))


def test_log_that_ends_within_an_entry_is_refused(tmp_path: Path) -> None:
    log = write_log(tmp_path, entry(0, 2, Flag(0), b"a" * SECTOR))
    with pytest.raises(LabError, match="ends within an entry"):
        list(read_write_log(log))
