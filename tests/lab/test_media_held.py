"""Media wait until they are judged: at the start, after a suspend, and part by part of a device (T-44, T-45)."""

from pathlib import Path

import pytest

from support.lab.cache import REPOSITORY
from support.lab.cold_boot import cold_boot
from support.lab.media import FLAG, MIB, install_rule, luks_stick, plain_stick, start, until
from support.lab.seat import as_person, mount
from support.lab.virtual_laptop import LaptopsInTurn, VirtualLaptop

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(400)]
GADGET = REPOSITORY / "tests/lab/programs/keyboard_with_disk"


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    return plain_stick(tmp_path / "stick.img")


@pytest.mark.requirement("T-44", "W-69")
@pytest.mark.scenario(
    tier="laptop", name="a stick waits until it is judged, and is mounted only as it was judged"
)
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
@pytest.mark.scenario(tier="laptop", name="suspend and resume: allowed stays allowed, refused stays refused")
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

    virtual_laptop.suspend_and_wake()

    until(virtual_laptop, "media.refused ODD1", times=2)
    until(virtual_laptop, "media.attached MINE1", times=2)
    virtual_laptop.sh("udevadm settle; sleep 1; udevadm settle").check()
    assert "Unlocked" in as_person(virtual_laptop, unlock).out
    assert "Permission denied" in as_person(virtual_laptop, f"head -c 512 {refused.device}").out


@pytest.mark.requirement("T-44")
@pytest.mark.scenario(tier="laptop", name="suspend and resume with a blocked stick")
def test_a_blocked_stick_is_still_gone_after_a_suspend(
    virtual_laptop: VirtualLaptop, stick: Path, tmp_path: Path
) -> None:
    install_rule(virtual_laptop)
    start(virtual_laptop, tmp_path, "block")
    virtual_laptop.plug_without_waiting(stick, serial="BLOCKED2")
    until(virtual_laptop, "media.refused BLOCKED2")
    virtual_laptop.suspend_and_wake()
    assert virtual_laptop.sh("udevadm settle; sleep 2; ls /dev/sd*").rc != 0


@pytest.mark.requirement("T-44")
@pytest.mark.scenario(tier="laptop", name="a keyboard with storage loses the storage and types")
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
@pytest.mark.scenario(tier="laptop", name="boot with a stick inserted")
def test_a_machine_that_starts_with_a_stick_in_it_holds_it_before_anybody_can_mount_it(
    laptops: LaptopsInTurn, stick: Path, tmp_path: Path
) -> None:
    def prepare(laptop: VirtualLaptop) -> None:
        install_rule(laptop)
        laptop.sh(f"touch {FLAG}; sync").check()

    laptop = laptops.start(cold_boot(tmp_path, prepare, stick=(stick, "ATBOOT")))
    laptop.sh("udevadm settle; systemctl start udisks2", 120).check()
    device = laptop.sh("readlink -f /dev/disk/by-id/usb-*_ATBOOT-0:0").check().strip()
    assert "Not authorized" in mount(laptop, device).out
    start(laptop, tmp_path, "encrypted-only")
    until(laptop, "media.made_read_only ATBOOT")
    laptop.sh("udevadm settle").check()
    assert "Mounted" in mount(laptop, device).out
