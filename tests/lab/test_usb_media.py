"""Real USB sticks in the virtual laptop: blocked, read-only, encrypted; and a clock that is set (T-44, T-45)."""

from pathlib import Path

import pytest

from support.lab.media import luks_stick, plain_stick, start, until
from support.lab.virtual_laptop import VirtualLaptop

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(240)]
WITHIN_S = 2.0


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    return plain_stick(tmp_path / "stick.img")


@pytest.mark.requirement("T-44", "W-69")
@pytest.mark.scenario(tier="laptop", name="a refused stick is gone within two seconds")
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
@pytest.mark.scenario(tier="laptop", name="a plain stick is read-only, an encrypted one writable")
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

    encrypted = luks_stick(tmp_path / "luks.img")
    luks = virtual_laptop.plug_stick(encrypted, serial="LUKS1")
    until(virtual_laptop, "media.attached LUKS1 usb luks2")
    assert virtual_laptop.sh(f"blockdev --getro {luks.device}").out.strip() == "0"


@pytest.mark.requirement("T-12", "W-20")
@pytest.mark.scenario(tier="laptop", name="the clock is set forward and back")
def test_a_clock_that_is_set_is_noticed_at_once(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    start(virtual_laptop, tmp_path, "block")
    virtual_laptop.sh("date -s '+2 hours' && sleep 0.3 && date -s '-2 hours'").check()
    until(virtual_laptop, "clock.changed  7")
    until(virtual_laptop, "clock.changed  -7")
