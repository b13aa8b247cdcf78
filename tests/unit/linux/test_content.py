"""What a medium holds, told from images that the real tools made, and from headers made by the documents."""

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schoolkeeper_agent.sensors.linux.block_device import look_inside
from schoolkeeper_agent.sensors.linux.content import MOST_READ, recognise
from schoolkeeper_agent.sensors.linux.volume import Content
from schoolkeeper_proto.model import MediumEncryption

SIZE = 32 << 20
FVE_AT = 1 << 20


def image(folder: Path, *command: str) -> Path:
    path = folder / "medium.img"
    path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(SIZE)
    try:
        subprocess.run([*command, str(path)], check=True, capture_output=True, input=b"secret")
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed")
    return path


def of(data: bytes, size: int = SIZE) -> Content:
    return recognise(
        lambda offset, length: (data + bytes(max(0, size - len(data))))[offset : offset + length], size
    )


LUKS = ("cryptsetup", "luksFormat", "-q", "--pbkdf-force-iterations")


@pytest.mark.requirement("T-45")
@pytest.mark.parametrize(
    ("command", "encryption", "file_system"),
    [
        (("cryptsetup", "luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", "--key-file=-"),
         "luks1", "luks1"),
        (("cryptsetup", "luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000",
          "--key-file=-"), "luks2", "luks2"),
        (("mkfs.ext4", "-q", "-F"), "none", "ext4"),
        (("mkfs.ext2", "-q", "-F"), "none", "ext2"),
        (("mkfs.vfat",), "none", "vfat"),
        (("mkfs.vfat", "-F", "12"), "none", "vfat"),
        (("mkfs.exfat",), "none", "exfat"),
        (("mkfs.ntfs", "-F", "-Q"), "none", "ntfs"),
        (("mkfs.btrfs", "-q", "--mixed"), "none", "btrfs"),
        (("mkswap",), "none", "swap"),
        (("true",), "none", "blank"),
    ],
)  # fmt: skip
def test_images_of_the_real_tools(
    tmp_path: Path, command: tuple[str, ...], encryption: str, file_system: str
) -> None:
    path = image(tmp_path, *command)
    assert look_inside(path, SIZE) == Content(
        encryption=MediumEncryption(encryption), file_system=file_system
    )


def luks_bytes() -> bytes:
    return b"LUKS\xba\xbe\x00\x02" + bytes(504)


def fat_bytes(label: bytes = b"mkfs.fat") -> bytes:
    head = bytearray(512)
    head[0:3] = b"\xeb\x3c\x90"
    head[3:11] = label
    struct.pack_into("<HBHBHHB", head, 11, 512, 4, 1, 2, 512, 65000, 0xF8)
    head[510:] = b"\x55\xaa"
    return bytes(head)


def bitlocker_bytes(*, to_go: bool = False, metadata: bool = True) -> bytes:
    head = bytearray(fat_bytes(b"MSWIN4.1") if to_go else bytes(512))
    if not to_go:
        head[0:11] = b"\xeb\x58\x90-FVE-FS-"
    at = 424 if to_go else 160
    head[at : at + 16] = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
    struct.pack_into("<3Q", head, at + 16, FVE_AT, FVE_AT * 2, FVE_AT * 3)
    head[510:] = b"\x55\xaa"
    data = bytes(head) + bytes(FVE_AT - 512)
    return data + (fve_metadata() if metadata else b"")


def fve_metadata(*, state: int = 4, onward: int = 4, method: int = 0x8004, protection: int = 0x2000) -> bytes:
    """One copy, with one master key in it."""
    key = struct.pack("<HHHH", 64, 2, 8, 1) + bytes(26) + struct.pack("<H", protection) + bytes(28)
    block = b"-FVE-FS-" + struct.pack("<HHHH", 8, 2, state, onward) + bytes(48)
    header = struct.pack("<IIII", 48 + len(key), 1, 48, 48 + len(key)) + bytes(20) + struct.pack("<I", method)
    return block + header.ljust(48, b"\0") + key


def mbr(*parts: bytes, kind: int = 0x83, status: int = 0) -> bytes:
    table = bytearray(512)
    body = bytearray()
    start = 2048
    for number, part in enumerate(parts):
        length = max(2048, (len(part) + 511) // 512)
        struct.pack_into("<B3xB3xII", table, 446 + 16 * number, status, kind, start, length)
        body[(start - 2048) * 512 :] = part.ljust(length * 512, b"\0")
        start += length
    table[510:] = b"\x55\xaa"
    return bytes(table) + bytes(2047 * 512) + bytes(body)


def gpt(*parts: bytes, kind: bytes = b"\xa2" * 16, sector: int = 512) -> bytes:
    table = bytearray()
    body = bytearray()
    start = (1 << 20) // sector
    for part in parts:
        length = (1 << 20) // sector
        table += kind + b"u" * 16 + struct.pack("<QQ", start, start + length - 1) + bytes(80)
        body += part.ljust(1 << 20, b"\0")
        start += length
    header = b"EFI PART" + bytes(64) + struct.pack("<QII", 2, max(4, len(parts)), 128)
    head = bytes(sector) + header.ljust(sector, b"\0") + bytes(table)
    return head.ljust(1 << 20, b"\0") + bytes(body)


def with_table(data: bytes, *, start: int, part: bytes) -> bytes:
    """The same medium with an MBR that lists a partition which no other table names."""
    out = bytearray(data.ljust(start * 512, b"\0") + part.ljust(2048 * 512, b"\0"))
    struct.pack_into("<B3xB3xII", out, 446, 0, 0x0C, start, 2048)
    out[510:512] = b"\x55\xaa"
    return bytes(out)


def extended(*parts: bytes, goes_round: bool = False) -> bytes:
    """An MBR with one extended partition that holds a chain of logical ones, each with a table of its own."""
    first, room = 2048, 4096
    out = bytearray(512)
    struct.pack_into("<B3xB3xII", out, 446, 0, 0x0F, first, room * len(parts))
    out[510:512] = b"\x55\xaa"
    out = bytearray(bytes(out).ljust(first * 512, b"\0"))
    for number, part in enumerate(parts):
        table = bytearray(512)
        struct.pack_into("<B3xB3xII", table, 446, 0, 0x83, 2048, 2048)
        if number + 1 < len(parts):
            struct.pack_into("<B3xB3xII", table, 462, 0, 0x05, room * (number + 1), room)
        elif goes_round:
            struct.pack_into("<B3xB3xII", table, 462, 0, 0x05, 0, room)
        table[510:512] = b"\x55\xaa"
        out += bytes(table).ljust(2048 * 512, b"\0") + part.ljust(2048 * 512, b"\0")
    return bytes(out)


def gpt_copy_at_the_end(part: bytes) -> bytes:
    """The first header is gone; its copy in the last sector is what a repair, or ``gpt`` for Linux, goes by."""
    data = bytearray(gpt(part))
    header, data[512:1024] = data[512:1024], bytes(512)
    return bytes(data.ljust(SIZE - 512, b"\0")) + bytes(header)


EXT = bytes(1080) + b"\x53\xef" + bytes(2000)


@pytest.mark.parametrize(
    ("data", "encryption"),
    [
        (bitlocker_bytes(), "bitlocker"),
        (bitlocker_bytes(to_go=True), "bitlocker"),
        (bytes(32) + b"NXSB" + bytes(500), "apfs"),
        (mbr(luks_bytes()), "luks2"),
        (gpt(luks_bytes()), "luks2"),
        (gpt(luks_bytes(), sector=4096), "luks2"),
        (mbr(bitlocker_bytes()), "bitlocker"),
        (b"\x8f" * 4096, "unknown"),  # VeraCrypt looks like noise
    ],
)
def test_encrypted_media(data: bytes, encryption: str) -> None:
    assert of(data).encryption == encryption


@pytest.mark.parametrize(
    ("data", "encryption"),
    [
        # One plain partition beside an encrypted one makes the medium plain.
        (mbr(luks_bytes(), fat_bytes()), "none"),
        (gpt(luks_bytes(), EXT), "none"),
        # A label of BitLocker on a plain FAT, which Linux mounts as FAT.
        (fat_bytes(b"-FVE-FS-"), "none"),
        (bitlocker_bytes(metadata=False), "unknown"),
        (bitlocker_bytes(to_go=True, metadata=False), "unknown"),
        # LUKS magic before a file system that begins later.
        (luks_bytes() + EXT[512:], "unknown"),
        # A FAT in the first sector, and an encrypted partition for show.
        (fat_bytes()[:446] + mbr(luks_bytes())[446:], "none"),
        # Tables that point nowhere, or hide more than can be looked at.
        (mbr(luks_bytes())[:600], "none"),
        (gpt(*[luks_bytes()] * 4)[: (1 << 20) + 100], "none"),
        # An extended partition with no table in it.
        (mbr(luks_bytes(), kind=5), "unknown"),
        # A table that shows a plain file system in the same sector as the header of LUKS.
        (luks_bytes()[:446] + mbr(fat_bytes())[446:], "none"),
        # A GPT that lists the encrypted one, an MBR that lists the plain one: each system believes another.
        (with_table(gpt(luks_bytes()), start=8192, part=fat_bytes()), "none"),
        (extended(luks_bytes(), fat_bytes()), "none"),
        (extended(luks_bytes(), goes_round=True), "unknown"),
        (gpt_copy_at_the_end(EXT), "none"),
    ],
)
def test_what_pretends_to_be_encrypted(data: bytes, encryption: str) -> None:
    found = of(data)
    assert found.encryption == encryption or (encryption == "none" and found.file_system == "blank"), found


@pytest.mark.parametrize(
    ("metadata", "encryption", "file_system"),
    [
        (fve_metadata(), "bitlocker", "bitlocker"),
        (fve_metadata(state=2), "none", "bitlocker-unfinished"),
        (fve_metadata(onward=1), "none", "bitlocker-unfinished"),  # it is being decrypted
        (fve_metadata(state=5, onward=5), "none", "bitlocker-unfinished"),  # paused
        (fve_metadata(state=1, onward=1), "none", "bitlocker-decrypted"),
        (fve_metadata(method=0), "none", "bitlocker-decrypted"),
        (fve_metadata(protection=0), "none", "bitlocker-suspended"),
        (fve_metadata(method=0x8009), "unknown", "bitlocker"),
        (fve_metadata()[:130], "unknown", "bitlocker"),
        (fve_metadata().replace(b"\x40\x00\x02\x00", b"\x40\x00\x03\x00"), "unknown", "bitlocker"),  # no key
        (fve_metadata().replace(b"\x40\x00\x02\x00", b"\x02\x00\x02\x00"), "unknown", "bitlocker"),
    ],
)
def test_what_the_metadata_say_decides_and_not_the_label(
    metadata: bytes, encryption: str, file_system: str
) -> None:
    found = of(bitlocker_bytes(metadata=False) + metadata, size=FVE_AT + len(metadata))
    assert found == Content(encryption=MediumEncryption(encryption), file_system=file_system)


def test_a_table_beyond_the_end_of_the_medium_is_unknown() -> None:
    assert of(mbr(luks_bytes()), size=4096).encryption is MediumEncryption.UNKNOWN
    assert of(b"", size=0).encryption is MediumEncryption.UNKNOWN


@given(st.binary(max_size=2048), st.integers(0, 1 << 40))
def test_any_bytes_have_an_answer_within_bounds(data: bytes, size: int) -> None:
    read = 0

    def bounded(offset: int, length: int) -> bytes:
        nonlocal read
        assert offset >= 0
        assert length >= 0
        read += length
        return data[offset : offset + length]

    recognise(bounded, size)
    assert read <= MOST_READ
