"""Real USB sticks in the virtual laptop: blocked, read-only, encrypted; and a clock that is set (T-44, T-45)."""

import subprocess
from pathlib import Path

import pytest

from support.lab.commands import run_tool
from support.lab.media import MIB, start, until
from support.lab.virtual_laptop import VirtualLaptop

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(240)]
WITHIN_S = 2.0


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    image = tmp_path / "stick.img"
    with image.open("wb") as blank:
        blank.truncate(32 * MIB)
    run_tool(["mkfs.vfat", image])
    return image


@pytest.mark.requirement("T-44", "W-69")
def test_a_blocked_stick_is_gone_within_two_seconds(
    virtual_laptop: VirtualLaptop, stick: Path, tmp_path: Path
) -> None:
    before = stick.read_bytes()
    start(virtual_laptop, tmp_path, "block")
    virtual_laptop.plug_without_waiting(stick, serial="BLOCKME1")
    seen = until(virtual_laptop, "media.attached BLOCKME1 usb none vfat")
    gone = until(virtual_laptop, "media.refused BLOCKME1")
    assert gone - seen < WITHIN_S
    until(virtual_laptop, "tell This removable medium is not allowed here")
    assert virtual_laptop.sh("ls /dev/sd*").rc != 0
    assert stick.read_bytes() == before


@pytest.mark.requirement("T-44", "T-45", "W-69")
def test_encrypted_only_makes_a_plain_stick_read_only_and_leaves_a_luks_stick_alone(
    virtual_laptop: VirtualLaptop, stick: Path, tmp_path: Path
) -> None:
    before = stick.read_bytes()
    start(virtual_laptop, tmp_path, "encrypted-only")
    plain = virtual_laptop.plug_stick(stick, serial="PLAIN1")
    seen = until(virtual_laptop, "media.attached PLAIN1 usb none vfat")
    assert until(virtual_laptop, "media.made_read_only PLAIN1") - seen < WITHIN_S
    written = virtual_laptop.sh(f"dd if=/dev/zero of={plain.device} bs=512 count=1 conv=fsync")
    assert written.rc != 0
    assert stick.read_bytes() == before
    virtual_laptop.unplug(plain)
    until(virtual_laptop, "media.ejected PLAIN1")

    encrypted = tmp_path / "luks.img"
    with encrypted.open("wb") as blank:
        blank.truncate(32 * MIB)
    command = [
        "cryptsetup",
        "luksFormat",
        "-q",
        "--pbkdf",
        "pbkdf2",
        "--pbkdf-force-iterations",
        "1000",
        "--key-file=-",
    ]
    subprocess.run([*command, encrypted], input=b"correct horse", check=True)
    luks = virtual_laptop.plug_stick(encrypted, serial="LUKS1")
    until(virtual_laptop, "media.attached LUKS1 usb luks2")
    assert virtual_laptop.sh(f"blockdev --getro {luks.device}").out.strip() == "0"


@pytest.mark.requirement("T-12", "W-20")
def test_a_clock_that_is_set_is_noticed_at_once(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    start(virtual_laptop, tmp_path, "block")
    virtual_laptop.sh("date -s '+2 hours' && sleep 0.3 && date -s '-2 hours'").check()
    until(virtual_laptop, "clock.changed  7")
    until(virtual_laptop, "clock.changed  -7")
