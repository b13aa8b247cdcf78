"""The virtual laptop is a real one: it has a USB port that udev watches, disks, a network, and a power switch."""

import socket
import subprocess
import time
from pathlib import Path

import pytest

from support.lab.commands import run_tool
from support.lab.desktop import sign_in
from support.lab.product import PYTHON, bring_agent
from support.lab.virtual_laptop import COLLECTOR_ADDRESS, VirtualLaptop

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(240)]

PORT = 50051
MIB = 1024 * 1024
STICK_MIB = 32  # a LUKS header alone takes 16


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """The image of a small stick with a FAT file system and one file."""
    image = tmp_path / "stick.img"
    with image.open("wb") as blank:
        blank.truncate(STICK_MIB * MIB)
    run_tool(["mkfs.vfat", "-n", "HOLIDAY", image])
    subprocess.run(["mcopy", "-i", image, "-", "::photo.txt"], input=b"seaside", check=True)
    return image


def test_continues_from_the_saved_state_with_the_time_of_now(virtual_laptop: VirtualLaptop) -> None:
    # The state was saved hours or days ago: the clock is right again, whatever the answer took.
    before = time.time()
    guest = float(virtual_laptop.sh("date +%s.%N").check())
    assert before - 5 < guest < time.time() + 5
    assert virtual_laptop.sh("cat /proc/1/comm").out == "systemd\n"
    assert virtual_laptop.sh("exit 3").rc == 3


def test_two_restored_laptops_draw_different_random_numbers(virtual_laptop: VirtualLaptop) -> None:
    draw = "head -c 32 /dev/urandom | od -An -tx1"
    with VirtualLaptop() as other:
        assert virtual_laptop.sh(draw).check() != other.sh(draw).check()


def test_plugged_stick_reaches_udev_and_can_be_read(virtual_laptop: VirtualLaptop, stick: Path) -> None:
    plugged = virtual_laptop.plug_stick(stick, serial="SEASIDE1")

    known = virtual_laptop.sh(f"udevadm info --query=property {plugged.device}").check().splitlines()
    assert "ID_SERIAL_SHORT=SEASIDE1" in known
    assert "ID_BUS=usb" in known
    assert "ID_FS_LABEL=HOLIDAY" in known
    mounted = virtual_laptop.sh(f"udisksctl mount -b {plugged.device} && cat /media/root/HOLIDAY/photo.txt")
    assert mounted.check().endswith("seaside")

    virtual_laptop.sh(f"umount {plugged.device}").check()
    virtual_laptop.unplug(plugged)
    virtual_laptop.sh(f"until [ ! -e {plugged.device} ]; do sleep 0.1; done", 20).check()


def test_read_only_stick_refuses_writes(virtual_laptop: VirtualLaptop, stick: Path) -> None:
    before = stick.read_bytes()
    plugged = virtual_laptop.plug_stick(stick, serial="SEASIDE2")
    virtual_laptop.sh(f"blockdev --setro {plugged.device}").check()
    written = virtual_laptop.sh(f"dd if=/dev/zero of={plugged.device} bs=512 count=1 conv=fsync")
    assert written.rc != 0
    assert "not permitted" in written.out
    assert stick.read_bytes() == before


def test_encrypted_stick_is_opened_by_the_laptops_own_service(
    virtual_laptop: VirtualLaptop, stick: Path
) -> None:
    plugged = virtual_laptop.plug_stick(stick, serial="SEASIDE3")
    virtual_laptop.put("/run/passphrase", b"correct horse")
    virtual_laptop.sh(
        "cryptsetup luksFormat --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000"
        f" {plugged.device} /run/passphrase && udevadm settle",
        120,
    ).check()
    opened = virtual_laptop.sh(f"udisksctl unlock -b {plugged.device} --key-file /run/passphrase", 120)
    assert "Unlocked" in opened.check()
    run_tool(["cryptsetup", "isLuks", stick])


def test_reaches_the_collector_and_nothing_else(virtual_laptop: VirtualLaptop) -> None:
    connect = "python3 -c 'import socket; s = socket.create_connection((\"%s\", %d), 3); print(s.recv(7))'"
    with socket.create_server(("127.0.0.1", 0)) as collector:
        collector.settimeout(60)
        virtual_laptop.offer(PORT, to=collector.getsockname()[1])
        virtual_laptop.sh(f"({connect % (COLLECTOR_ADDRESS, PORT)}) >/run/answer 2>&1 &").check()
        connection, _ = collector.accept()
        with connection:
            connection.sendall(b"welcome")
        virtual_laptop.sh("until grep -q welcome /run/answer; do sleep 0.1; done", 20).check()
    # 10.0.2.2 is where QEMU's network would otherwise show this whole machine.
    assert virtual_laptop.sh(connect % ("10.0.2.2", 22)).rc != 0


def test_what_was_flushed_survives_a_power_cut(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    with image.open("wb") as blank:
        blank.truncate(32 * MIB)
    run_tool(["mkfs.ext4", "-q", "-F", image])
    disk = virtual_laptop.attach_disk(image, serial="KEPT")
    virtual_laptop.sh(f"mount {disk.device} /mnt && echo kept >/mnt/flushed && sync /mnt/flushed").check()
    virtual_laptop.sh("echo lost >/mnt/not-flushed").check()

    virtual_laptop.cut_power()

    with VirtualLaptop() as after:
        disk = after.attach_disk(image, serial="KEPT")
        assert after.sh(f"mount {disk.device} /mnt && cat /mnt/flushed").out == "kept\n"
        assert after.sh("cat /mnt/not-flushed").out != "lost\n"


@pytest.mark.scenario(tier="laptop", name="a locked screen on a machine with its own kernel")
def test_screen_locks_here_too(virtual_laptop: VirtualLaptop) -> None:
    desktop = sign_in(virtual_laptop)
    virtual_laptop.sh(f"loginctl lock-session {desktop.session}").check()
    desktop.wait_for("LockedHint", "yes")
    desktop.wait_for_grab()


def test_runs_the_agent_of_this_checkout(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    bring_agent(virtual_laptop, tmp_path)
    imports = "import schoolkeeper_agent as a, schoolkeeper_proto.sealing; print(a.__name__)"
    assert virtual_laptop.sh(f"{PYTHON} -c '{imports}'").out == "schoolkeeper_agent\n"
