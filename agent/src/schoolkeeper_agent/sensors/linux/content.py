"""What a medium holds, told from its own bytes: encrypted or not, and which file systems (pure, bounded; T-44, T-45).

A medium is called encrypted only if everything on it is: one plain partition makes it plain, and what cannot be told
or carries two signatures at once (a plain file system behind a forged header) is unknown. VeraCrypt and TrueCrypt have
no signature: they look like noise, and noise is unknown.

Sources: cryptsetup's LUKS1 and LUKS2 on-disk format documents; UEFI 2.10 section 5 (GPT); Microsoft's FAT and exFAT
specifications; Linux ``ext4.h``; ``bitlocker.py`` and ``apple.py`` name theirs.
"""

from __future__ import annotations

import struct

from schoolkeeper_agent.sensors.linux.apple import apfs, core_storage
from schoolkeeper_agent.sensors.linux.bitlocker import bitlocker, is_to_go
from schoolkeeper_agent.sensors.linux.volume import Content, Read
from schoolkeeper_proto.model import MediumEncryption

HEAD = 68 << 10
"""Bytes looked at per file system: btrfs has its signature last, at 64 KiB."""
MAX_PARTITIONS = 32
MOST_READ = 4 << 20
"""Bytes looked at of a medium, whatever its headers ask for; what lies beyond cannot be told."""
_SECTORS = (512, 4096)
UNFINISHED_MARK = b"schoolkeeper: this medium was not encrypted to the end\n"
UNFINISHED_SUBSYSTEM = "schoolkeeper-unfinished"
"""Where our own encryption was begun and not ended: the first bytes; then LUKS2's field 'subsystem' (at 208)."""
_EXTENDED, _PROTECTIVE = frozenset({0x05, 0x0F, 0x85}), 0xEE
_ENCRYPTED = (
    MediumEncryption.LUKS1,
    MediumEncryption.LUKS2,
    MediumEncryption.BITLOCKER,
    MediumEncryption.FILEVAULT,
)
# Parts that only help to start a machine: EFI system is not among them, people can write to it.
_NO_DATA_TYPES = frozenset(
    {
        bytes.fromhex("16e3c9e35c0bb84d817df92df00215ae"),  # Microsoft reserved
        bytes.fromhex("4861682149646f6e744e656564454649"),  # BIOS boot
    }
)


_UNFINISHED = Content(encryption=MediumEncryption.NONE, file_system="unfinished")


def recognise(read: Read, size: int) -> Content:
    """Looks at a whole medium of ``size`` bytes: itself, and its partitions.

    Every partition of every table counts: which table a system believes (the first GPT, its copy at the end, the MBR)
    hangs on checksums that whoever made the medium chose. A header that says 'encrypted' before a table that shows
    something plain is plain.
    """
    read = _bounded_reading(read)
    whole = volume(read, 0, size)
    parts = _partitions(read, size)
    if parts is None:
        return whole
    known = whole.file_system not in ("", "blank")
    if known and whole.encryption is MediumEncryption.NONE:
        return whole
    found = [volume(read, start, length) for start, length in parts]
    if not known:
        return _together(found)
    # In an encrypted volume's own first sector other fields lie where a table would: only what is plain counts.
    plain = [one for one in found if one.encryption is MediumEncryption.NONE and one.file_system != "blank"]
    return _together([whole, *plain])


def volume(read: Read, start: int, length: int) -> Content:
    """Looks at one volume: every signature is tried, and two at once are ambiguous."""
    head = read(start, min(HEAD, max(0, length)))
    if len(head) < 512:
        return Content(encryption=MediumEncryption.UNKNOWN)
    found = [content for test in _TESTS if (content := test(head, read, start, length)) is not None]
    if len(found) > 1:
        return Content(
            encryption=MediumEncryption.UNKNOWN, file_system="+".join(one.file_system for one in found)
        )
    if found:
        return found[0]
    if not any(head):
        return Content(encryption=MediumEncryption.NONE, file_system="blank")
    return Content(encryption=MediumEncryption.UNKNOWN)


def _bounded_reading(read: Read) -> Read:
    left = MOST_READ

    def bounded(offset: int, length: int) -> bytes:
        nonlocal left
        if not 0 <= length <= left or offset < 0:
            return b""
        left -= length
        return read(offset, length)

    return bounded


def _together(found: list[Content]) -> Content:
    """Plain wins over unknown, unknown over encrypted."""
    if not found:
        return Content(encryption=MediumEncryption.NONE, file_system="blank")
    names = "+".join(one.file_system for one in found if one.file_system)
    kinds = [one.encryption for one in found]
    if MediumEncryption.NONE in kinds:
        return Content(encryption=MediumEncryption.NONE, file_system=names)
    if all(kind in _ENCRYPTED for kind in kinds):
        return Content(encryption=kinds[0], file_system=names)
    return Content(encryption=MediumEncryption.UNKNOWN, file_system=names)


def _partitions(read: Read, size: int) -> list[tuple[int, int]] | None:
    """(start, length) in bytes of every partition of every table; None without one."""
    found: list[tuple[int, int]] | None = None
    for sector in _SECTORS:
        for at in (sector, size - size % sector - sector):
            header = read(at, 92) if at >= 0 else b""
            if header[:8] == b"EFI PART" and len(header) == 92:
                found = [*(found or []), *_gpt(read, header, sector, size)]
    first = read(0, 512)
    if len(first) == 512 and first[510:] == b"\x55\xaa" and (listed := _mbr(read, first, size)) is not None:
        found = [*(found or []), *listed]
    return None if found is None else list(dict.fromkeys(found))[: MAX_PARTITIONS + 1]


def _gpt(read: Read, header: bytes, sector: int, size: int) -> list[tuple[int, int]]:
    table, count, width = struct.unpack_from("<QII", header, 72)
    if not 128 <= width <= 4096 or table > size // sector or count > 1024:
        return [(0, 0)]  # one that cannot be told
    found = []
    for number in range(count):
        entry = read(table * sector + number * width, 128)
        if len(entry) < 128:
            return [(0, 0)]
        if not any(entry[:16]) or entry[:16] in _NO_DATA_TYPES:
            continue
        first, last = struct.unpack_from("<QQ", entry, 32)
        found.append(_bounded(first * sector, (last - first + 1) * sector, size))
        if len(found) > MAX_PARTITIONS:
            return [(0, 0)]
    return found


def _mbr(read: Read, first: bytes, size: int) -> list[tuple[int, int]] | None:
    found = []
    for status, kind, start, length in _entries(first):
        if kind == 0:
            continue
        if status not in (0, 0x80):
            return None  # boot code where a table would be: no partition table
        if kind in _EXTENDED:
            found += _logical(read, start, size)
        elif kind != _PROTECTIVE:
            found.append(_bounded(start * 512, length * 512, size))
    return found or None


def _logical(read: Read, extended: int, size: int) -> list[tuple[int, int]]:
    """The chain of tables in an extended partition; one that is broken, or goes round, cannot be told."""
    found: list[tuple[int, int]] = []
    at, seen = extended, set[int]()
    while at not in seen and len(seen) < MAX_PARTITIONS:
        seen.add(at)
        table = read(at * 512, 512)
        if len(table) < 512 or table[510:] != b"\x55\xaa":
            break
        onward = 0
        for _, kind, start, length in _entries(table):
            if kind in _EXTENDED:
                onward = extended + start
            elif kind:
                found.append(_bounded((at + start) * 512, length * 512, size))
        if not onward:
            return found
        at = onward
    return [*found, (0, 0)]


def _entries(table: bytes) -> list[tuple[int, int, int, int]]:
    """(status, kind, start, length), in sectors of 512 bytes."""
    return [struct.unpack_from("<B3xB3xII", table, 446 + 16 * number) for number in range(4)]


def _bounded(start: int, length: int, size: int) -> tuple[int, int]:
    if start <= 0 or length <= 0 or start + length > size:
        return (0, 0)
    return (start, length)


def _luks(head: bytes, _read: Read, _start: int, _length: int) -> Content | None:
    if head[:6] != b"LUKS\xba\xbe":
        return None
    kinds = {1: MediumEncryption.LUKS1, 2: MediumEncryption.LUKS2}
    version = int.from_bytes(head[6:8], "big")
    if version == 2 and head[208:256].rstrip(b"\0") == UNFINISHED_SUBSYSTEM.encode():
        return _UNFINISHED
    return Content(encryption=kinds.get(version, MediumEncryption.UNKNOWN), file_system=f"luks{version}")


def _unfinished(head: bytes, _read: Read, _start: int, _length: int) -> Content | None:
    return _UNFINISHED if head.startswith(UNFINISHED_MARK) else None


def _fat(head: bytes, _read: Read, _start: int, _length: int) -> Content | None:
    if head[510:512] != b"\x55\xaa" or head[0] not in (0xEB, 0xE9):
        return None
    if is_to_go(head):
        return None  # BitLocker To Go's small readable part: the other test says more
    sector, cluster, reserved, tables = struct.unpack_from("<HBHB", head, 11)
    if sector not in (512, 1024, 2048, 4096) or cluster == 0 or cluster & (cluster - 1):
        return None
    if reserved == 0 or tables not in (1, 2) or not (head[21] >= 0xF8 or head[21] == 0xF0):
        return None
    return Content(encryption=MediumEncryption.NONE, file_system="vfat")


def _ext(head: bytes, _read: Read, _start: int, _length: int) -> Content | None:
    if head[1080:1082] != b"\x53\xef":
        return None
    compatible, incompatible = struct.unpack_from("<II", head, 1024 + 92)
    name = "ext4" if incompatible & 0x2C0 else "ext3" if compatible & 0x4 else "ext2"
    return Content(encryption=MediumEncryption.NONE, file_system=name)


_PLAIN = (
    (3, b"NTFS    ", "ntfs"),
    (3, b"EXFAT   ", "exfat"),
    (0, b"XFSB", "xfs"),
    (1024, b"H+", "hfsplus"),
    (1024, b"HX", "hfsplus"),
    (1024, bytes.fromhex("1020f5f2"), "f2fs"),
    (32769, b"CD001", "iso9660"),
    (65536 + 64, b"_BHRfS_M", "btrfs"),
    (4086, b"SWAPSPACE2", "swap"),
    (0, b"hsqs", "squashfs"),
)


def _plain(head: bytes, _read: Read, _start: int, _length: int) -> Content | None:
    names = [name for offset, magic, name in _PLAIN if head[offset : offset + len(magic)] == magic]
    return Content(encryption=MediumEncryption.NONE, file_system="+".join(names)) if names else None


_TESTS = (_unfinished, _luks, bitlocker, _fat, _ext, core_storage, apfs, _plain)
