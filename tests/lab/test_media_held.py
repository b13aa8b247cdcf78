"""Media wait until they are judged: at the start, after a suspend, and part by part of a device (T-44, T-45)."""

import subprocess
from pathlib import Path

import pytest

from support.lab.cache import REPOSITORY
from support.lab.cold_boot import cold_boot
from support.lab.commands import run_tool
from support.lab.media import FLAG, MIB, install_rule, start, until
from support.lab.seat import as_person, mount
from support.lab.virtual_laptop import VirtualLaptop

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(400)]
GADGET = REPOSITORY / "tests/lab/programs/keyboard_with_disk"


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    return plain_stick(tmp_path / "stick.img")


def plain_stick(image: Path) -> Path:
    with image.open("wb") as blank:
        blank.truncate(32 * MIB)
    run_tool(["mkfs.vfat", image])
    return image


def luks_stick(image: Path) -> Path:
    with image.open("wb") as blank:
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
    subprocess.run([*command, image], input=b"correct horse", check=True)
    return image


def suspend(laptop: VirtualLaptop) -> None:
    """To memory and back, as by the lid: every USB port loses power."""
    laptop.sh("(sleep 0.3; echo mem >/sys/power/state) >/run/suspended 2>&1 &").check()
    laptop.suspend_and_wake()
    assert laptop.sh("until grep -q . /sys/power/state; do sleep 0.1; done; cat /run/suspended").out == ""


@pytest.mark.requirement("T-44", "W-69")
def test_a_stick_cannot_be_mounted_before_it_is_judged_and_only_as_it_was_judged(
    virtual_laptop: VirtualLaptop, stick: Path, tmp_path: Path
) -> None:
    plugged = virtual_laptop.plug_stick(stick, serial="EARLY1")
    assert mount(virtual_laptop, plugged.device).rc == 0, "nothing is held before a policy limits media"
    as_person(virtual_laptop, f"udisksctl unmount -b {plugged.device}").check()
    virtual_laptop.unplug(plugged)

    install_rule(virtual_laptop)
    virtual_laptop.sh(f"touch {FLAG}").check()  # the policy of the last start
    plugged = virtual_laptop.plug_stick(stick, serial="EARLY2")
    refused = mount(virtual_laptop, plugged.device)
    assert "Not authorized" in refused.out, refused.out
    assert "Permission denied" in as_person(virtual_laptop, f"head -c 512 {plugged.device}").out

    start(virtual_laptop, tmp_path, "encrypted-only")
    until(virtual_laptop, "media.made_read_only EARLY2")
    virtual_laptop.sh("udevadm settle").check()
    mounted = mount(virtual_laptop, plugged.device)
    assert "Mounted" in mounted.out, mounted.out
    written = virtual_laptop.sh("touch /media/pupil/*/homework")  # not even root
    assert "Read-only file system" in written.out, written.out


@pytest.mark.requirement("T-44", "T-45")
def test_after_a_suspend_what_was_allowed_is_allowed_and_what_was_refused_is_refused(
    virtual_laptop: VirtualLaptop, tmp_path: Path
) -> None:
    install_rule(virtual_laptop)
    start(virtual_laptop, tmp_path, "encrypted-only")
    allowed = virtual_laptop.plug_stick(luks_stick(tmp_path / "luks.img"), serial="MINE1")
    noise = tmp_path / "noise.img"
    noise.write_bytes(b"\x8f\x1d" * (16 * MIB))
    refused = virtual_laptop.plug_stick(noise, serial="ODD1")
    until(virtual_laptop, "media.refused ODD1")
    unlock = f"udisksctl unlock --no-user-interaction -b {allowed.device} --key-file /run/passphrase"
    virtual_laptop.put("/run/passphrase", b"correct horse")
    virtual_laptop.sh("udevadm settle").check()
    assert "Unlocked" in as_person(virtual_laptop, unlock).out
    as_person(virtual_laptop, f"udisksctl lock -b {allowed.device}").check()

    suspend(virtual_laptop)

    until(virtual_laptop, "media.refused ODD1", times=2)
    until(virtual_laptop, "media.attached MINE1", times=2)
    virtual_laptop.sh("udevadm settle; sleep 1; udevadm settle").check()
    assert "Unlocked" in as_person(virtual_laptop, unlock).out
    assert "Permission denied" in as_person(virtual_laptop, f"head -c 512 {refused.device}").out


@pytest.mark.requirement("T-44")
def test_a_blocked_stick_is_still_gone_after_a_suspend(
    virtual_laptop: VirtualLaptop, stick: Path, tmp_path: Path
) -> None:
    install_rule(virtual_laptop)
    start(virtual_laptop, tmp_path, "block")
    virtual_laptop.plug_without_waiting(stick, serial="BLOCKED2")
    until(virtual_laptop, "media.refused BLOCKED2")
    suspend(virtual_laptop)
    assert virtual_laptop.sh("udevadm settle; sleep 2; ls /dev/sd*").rc != 0


@pytest.mark.requirement("T-44")
def test_a_keyboard_that_claims_a_disk_loses_the_disk_and_goes_on_typing(
    virtual_laptop: VirtualLaptop, tmp_path: Path
) -> None:
    install_rule(virtual_laptop)
    start(virtual_laptop, tmp_path, "block")
    virtual_laptop.put("/run/keyboard_with_disk", GADGET.read_bytes(), 0o755)
    virtual_laptop.sh("/run/keyboard_with_disk").check()
    until(virtual_laptop, "media.refused KEYDISK")
    assert virtual_laptop.sh("ls /dev/sd*").rc != 0
    # A key is pressed on the device's side and read on the laptop's.
    typed = virtual_laptop.sh(
        "(timeout 10 head -c 24 /dev/input/by-id/*KEYDISK*-kbd | od -An -tx1 >/run/typed &) ; sleep 1;"
        " printf '\\0\\0\\004\\0\\0\\0\\0\\0' >/dev/hidg0; sleep 1; cat /run/typed"
    )
    assert typed.out.strip(), "the keyboard is dead"
    assert "1" in virtual_laptop.sh("cat /sys/bus/usb/devices/*/bInterfaceClass | grep -c 08").out


@pytest.mark.requirement("T-44", "W-69")
def test_a_machine_that_starts_with_a_stick_in_it_holds_it_before_anybody_can_mount_it(
    stick: Path, tmp_path: Path, can_boot_virtual_laptops: None
) -> None:
    def prepare(laptop: VirtualLaptop) -> None:
        install_rule(laptop)
        laptop.sh(f"touch {FLAG}; sync").check()

    with cold_boot(tmp_path, prepare, stick=stick, serial="ATBOOT") as laptop:
        laptop.sh("udevadm settle; systemctl start udisks2", 120).check()
        device = laptop.sh("readlink -f /dev/disk/by-id/usb-*_ATBOOT-0:0").check().strip()
        assert "Not authorized" in mount(laptop, device).out
        start(laptop, tmp_path, "encrypted-only")
        until(laptop, "media.made_read_only ATBOOT")
        laptop.sh("udevadm settle").check()
        assert "Mounted" in mount(laptop, device).out
        # The machine is as usable as ever: a person signs in, a program runs, packages can be asked about.
        assert as_person(laptop, "dpkg-query -W dpkg").out.startswith("dpkg")
