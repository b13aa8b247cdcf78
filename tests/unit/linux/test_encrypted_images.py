"""What Windows, macOS, VeraCrypt and Linux themselves wrote on media, told by content: every variant (T-45)."""

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from schoolkeeper_agent.sensors.linux.block_device import look_inside
from schoolkeeper_agent.sensors.linux.content import recognise
from schoolkeeper_agent.sensors.linux.volume import Content, Read
from schoolkeeper_proto.model import MediumEncryption
from support.lab.available import need
from support.lab.encrypted_images import TOOLS, encrypted_images

pytestmark = pytest.mark.lab
BITLOCKER = {
    "aes-cbc-128": "bitlocker",
    "aes-cbc-128-4k": "bitlocker",
    "aes-cbc-256": "bitlocker",
    "aes-cbc-elephant-128": "bitlocker",  # Windows 7
    "aes-cbc-elephant-256": "bitlocker",
    "aes-xts-128": "bitlocker",
    "aes-xts-128-4k": "bitlocker",
    "aes-xts-128-eow": "bitlocker",  # used space only, ended
    "aes-xts-128-new-entry": "bitlocker",
    "aes-xts-128-smart-card": "bitlocker",
    "aes-xts-128-startup-key": "bitlocker",
    "aes-xts-128-startup-key-win11": "bitlocker",
    "aes-xts-256": "bitlocker",
    "clearkey-aes-cbc-128": "bitlocker-suspended",
    "togo-aes-cbc-128": "bitlocker-to-go",
    "togo-aes-xts-128": "bitlocker-to-go",
}
MIB = 1 << 20


@pytest.fixture
def images() -> Path:
    need(tools=(*TOOLS, "cryptsetup"), built=lambda: encrypted_images().is_built, what="the encrypted images")
    return encrypted_images().path


def reading(path: Path) -> Read:
    def read(offset: int, length: int) -> bytes:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)

    return read


def with_changes(read: Read, changes: dict[int, bytes]) -> Read:
    """The same medium with other bytes at these places."""

    def changed(offset: int, length: int) -> bytes:
        data = bytearray(read(offset, length))
        for at, new in changes.items():
            for number, byte in enumerate(new, at - offset):
                if 0 <= number < len(data):
                    data[number] = byte
        return bytes(data)

    return changed


@pytest.mark.requirement("T-45")
def test_every_variant_of_bitlocker_that_windows_made(images: Path) -> None:
    found = {}
    for path in sorted((images / "bitlk-images").glob("bitlk-*.img")):
        seen = look_inside(path, path.stat().st_size)
        found[path.stem.removeprefix("bitlk-")] = seen.file_system
        plain = seen.file_system == "bitlocker-suspended"
        assert seen.encryption is (MediumEncryption.NONE if plain else MediumEncryption.BITLOCKER), path.name
    assert found == BITLOCKER


@pytest.mark.requirement("T-45")
@pytest.mark.parametrize("copy", [0, 1, 2])
@pytest.mark.parametrize("states", [(2, 4), (5, 5), (3, 4), (4, 1)])
def test_half_way_is_plain_whichever_copy_says_so(images: Path, copy: int, states: tuple[int, int]) -> None:
    """Being encrypted, paused, encrypted on writing, being decrypted: cryptsetup, too, refuses what is not 4 and 4."""
    path = images / "bitlk-images/bitlk-aes-xts-128-eow.img"
    read = reading(path)
    (at,) = struct.unpack("<Q", read(176 + 8 * copy, 8))
    changed = with_changes(read, {at + 12: struct.pack("<HH", *states)})
    assert recognise(changed, path.stat().st_size) == Content(
        encryption=MediumEncryption.NONE, file_system="bitlocker-unfinished"
    )


def test_cryptsetup_reads_the_state_at_the_same_place(images: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.img"
    subprocess.run(["cp", "--sparse=always", images / "bitlk-images/bitlk-aes-xts-128.img", path], check=True)
    (at,) = struct.unpack("<Q", reading(path)(176, 8))
    with path.open("r+b") as file:
        file.seek(at + 12)
        file.write(struct.pack("<HH", 2, 4))
    said = subprocess.run(
        ["cryptsetup", "--debug", "bitlkDump", path], capture_output=True, text=True, check=False
    )
    assert "Current state: 2, next state: 4" in said.stdout
    assert look_inside(path, path.stat().st_size).encryption is MediumEncryption.NONE


@pytest.mark.requirement("T-45")
def test_veracrypt_and_truecrypt_look_like_noise_and_are_unknown(images: Path) -> None:
    paths = [path for path in (images / "tcrypt-images").iterdir() if re.match(r"(tc|vc|sys)", path.name)]
    assert len(paths) > 60
    told = {path.name: look_inside(path, path.stat().st_size) for path in paths}
    assert {
        name: seen for name, seen in told.items() if seen.encryption is not MediumEncryption.UNKNOWN
    } == {}


def in_a_partition(volume: Read, length: int, beside: bytes = b"") -> tuple[Read, int]:
    """A medium with a table: the volume at 1 MiB and, where there is one, another after it."""
    table = bytearray(512)
    struct.pack_into("<B3xB3xII", table, 446, 0, 0x07, 2048, length // 512)
    if beside:
        struct.pack_into("<B3xB3xII", table, 462, 0, 0x0C, 2048 + length // 512, 2048)
    table[510:] = b"\x55\xaa"

    def read(offset: int, most: int) -> bytes:
        if offset < MIB:
            return bytes(table)[offset:].ljust(MIB - offset, b"\0")[:most]
        if offset < MIB + length:
            return volume(offset - MIB, most)
        return beside.ljust(MIB, b"\0")[offset - MIB - length :][:most]

    return read, MIB + length + (MIB if beside else 0)


@pytest.mark.requirement("T-45")
def test_each_partition_counts_by_what_is_in_it(images: Path) -> None:
    path = images / "bitlk-images/bitlk-togo-aes-xts-128.img"
    length = path.stat().st_size
    assert recognise(*in_a_partition(reading(path), length)) == Content(
        encryption=MediumEncryption.BITLOCKER, file_system="bitlocker-to-go"
    )
    ext = bytes(1080) + b"\x53\xef" + bytes(2000)
    assert recognise(*in_a_partition(reading(path), length, ext)).encryption is MediumEncryption.NONE
    suspended = images / "bitlk-images/bitlk-clearkey-aes-cbc-128.img"
    assert recognise(*in_a_partition(reading(suspended), length)).encryption is MediumEncryption.NONE


@pytest.mark.requirement("T-45")
def test_filevault_on_corestorage_is_told_by_its_metadata(images: Path) -> None:
    path = images / "fvault2-images/small"
    read, size = reading(path), path.stat().st_size
    assert recognise(read, size) == Content(encryption=MediumEncryption.FILEVAULT, file_system="corestorage")
    for old, new, kind in (
        (b">Complete<", b">Pausing!<", MediumEncryption.NONE),
        (b">AES-XTS<", b">None<  ", MediumEncryption.NONE),
        (b"ConversionStatus", b"ConversionSomewh", MediumEncryption.UNKNOWN),
    ):
        assert recognise(with_changes(read, _in_the_context(read, old, new)), size).encryption is kind, old
    assert recognise(with_changes(read, {176: bytes(16)}), size).encryption is MediumEncryption.UNKNOWN


def _in_the_context(read: Read, old: bytes, new: bytes) -> dict[int, bytes]:
    """Block 1 of the encrypted metadata, which begins at block 2049 of this image, opened, changed and closed."""
    head = read(0, 512)
    cipher = Cipher(algorithms.AES(head[176:192] + head[304:320]), modes.XTS((1).to_bytes(16, "little")))
    at = 2049 * 4096 + 8192
    block = cipher.decryptor().update(read(at, 8192))
    changed = block.replace(old, new)
    assert changed != block
    return {at: cipher.encryptor().update(changed[:8192].ljust(8192, b"\0"))}


@pytest.mark.requirement("T-45")
def test_apfs_is_told_by_the_flags_of_each_volume(tmp_path: Path) -> None:
    """A container by Linux' own tool; what macOS sets for an encrypted one is set by its reference."""
    need(tools=("mkapfs",))
    path = tmp_path / "apfs.img"
    with path.open("wb") as blank:
        blank.truncate(600 * MIB)
    subprocess.run(["mkapfs", path], check=True)
    read, size = reading(path), 600 * MIB
    assert recognise(read, size) == Content(encryption=MediumEncryption.NONE, file_system="apfs")
    (at,) = [number * 4096 for number in range(20_000, 20_100) if read(number * 4096 + 32, 4) == b"APSB"]
    onekey = with_changes(read, {at + 264: struct.pack("<Q", 8)})
    assert recognise(onekey, size) == Content(encryption=MediumEncryption.FILEVAULT, file_system="apfs")
    rolling = with_changes(onekey, {at + 976: struct.pack("<Q", 1030)})
    assert recognise(rolling, size).encryption is MediumEncryption.NONE
    lost = with_changes(onekey, {at + 32: b"BSPA"})
    assert recognise(lost, size).encryption is MediumEncryption.APFS
