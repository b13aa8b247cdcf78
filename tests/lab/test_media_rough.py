"""How sticks are really treated: swapped, pulled out, badly partitioned, behind a dock, written to (T-44, T-45)."""

import shutil
from pathlib import Path

import pytest

from support.lab.available import need
from support.lab.devices import plug_dock, plug_keyboard, types
from support.lab.encrypted_images import encrypted_images
from support.lab.media import FLAG, MIB, install_rule, luks_stick, plain_stick, start, until
from support.lab.seat import as_person, mount
from support.lab.virtual_laptop import VirtualLaptop

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(400)]
FILES = 200


@pytest.mark.requirement("T-44", "T-45")
@pytest.mark.scenario(tier="laptop", name="sticks swapped faster than anybody can look")
def test_a_quick_swap_never_gives_one_stick_the_verdict_of_another(
    virtual_laptop: VirtualLaptop, tmp_path: Path
) -> None:
    install_rule(virtual_laptop)
    start(virtual_laptop, tmp_path, "encrypted-only")
    plain, luks = plain_stick(tmp_path / "plain.img"), luks_stick(tmp_path / "luks.img")
    for number in range(6):
        image = luks if number % 2 else plain
        virtual_laptop.unplug(virtual_laptop.plug_without_waiting(image, serial=f"SWAP{number}"))
    allowed = virtual_laptop.plug_stick(luks, serial="LAST1")
    until(virtual_laptop, "media.attached LAST1 usb luks2")
    virtual_laptop.unplug(allowed)
    refused = virtual_laptop.plug_stick(plain, serial="LAST2")
    until(virtual_laptop, "media.made_read_only LAST2 usb none vfat")
    assert virtual_laptop.sh(f"blockdev --getro {refused.device}").out.strip() == "1"
    again = virtual_laptop.plug_stick(luks, serial="LAST3")
    until(virtual_laptop, "media.attached LAST3 usb luks2")
    virtual_laptop.sh("udevadm settle; sleep 1; udevadm settle").check()
    assert virtual_laptop.sh(f"blockdev --getro {again.device}").out.strip() == "0"
    said = virtual_laptop.sh("cat /run/said").out
    assert "sensor.failed" not in said, said
    assert "media.made_read_only LAST1" not in said


@pytest.mark.requirement("T-44", "T-45")
@pytest.mark.scenario(tier="laptop", name="a stick with a bad partition table")
def test_tables_that_contradict_themselves_are_unknown_and_refused(
    virtual_laptop: VirtualLaptop, tmp_path: Path
) -> None:
    install_rule(virtual_laptop)
    start(virtual_laptop, tmp_path, "encrypted-only")
    goes_round, beyond = tmp_path / "round.img", tmp_path / "beyond.img"
    table = bytearray(32 * MIB)
    for at in (0, 2048 * 512):  # an extended partition whose chain leads back to itself
        table[at + 446 : at + 462] = (
            bytes(4) + b"\x05\0\0\0" + (2048 if at == 0 else 0).to_bytes(4, "little") + b"\0\x10\0\0"
        )
        table[at + 510 : at + 512] = b"\x55\xaa"
    goes_round.write_bytes(table)
    table[446:462] = bytes(4) + b"\x83\0\0\0" + (2048).to_bytes(4, "little") + b"\xff\xff\xff\xff"
    beyond.write_bytes(table)
    for number, image in enumerate((goes_round, beyond)):
        virtual_laptop.plug_without_waiting(image, serial=f"BAD{number}")
        until(virtual_laptop, f"media.attached BAD{number} usb unknown")
        until(virtual_laptop, f"media.refused BAD{number}")


@pytest.mark.requirement("T-45")
@pytest.mark.scenario(tier="laptop", name="one plain partition beside an encrypted one")
def test_a_plain_partition_makes_the_stick_plain(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    start(virtual_laptop, tmp_path, "encrypted-only")
    image = tmp_path / "two.img"
    table = bytearray(MIB)
    for entry, (begin, kind) in enumerate(((1, 0x83), (33, 0x0C))):
        at = 446 + 16 * entry
        table[at : at + 16] = (
            bytes(4)
            + bytes([kind, 0, 0, 0])
            + (begin * 2048).to_bytes(4, "little")
            + (32 * 2048).to_bytes(4, "little")
        )
    table[510:] = b"\x55\xaa".ljust(MIB - 510, b"\0")
    parts = luks_stick(tmp_path / "luks.img"), plain_stick(tmp_path / "plain.img")
    image.write_bytes(bytes(table) + b"".join(part.read_bytes() for part in parts))
    stick = virtual_laptop.plug_stick(image, serial="TWO1")
    until(virtual_laptop, "media.made_read_only TWO1 usb none luks2+vfat")
    assert virtual_laptop.sh(f"blockdev --getro {stick.device}2").out.strip() == "1"


@pytest.mark.requirement("T-44")
@pytest.mark.scenario(tier="laptop", name="a stick pulled out in the middle of writing")
def test_what_was_pulled_out_in_the_middle_is_told_and_the_next_one_works(
    virtual_laptop: VirtualLaptop, tmp_path: Path
) -> None:
    start(virtual_laptop, tmp_path, "allow")
    image = plain_stick(tmp_path / "stick.img")
    stick = virtual_laptop.plug_stick(image, serial="PULLED1")
    until(virtual_laptop, "media.attached PULLED1")
    assert "Mounted" in mount(virtual_laptop, stick.device).out
    virtual_laptop.sh(
        "(while echo more; do :; done | dd of=/media/pupil/PLAIN/big bs=64k oflag=sync) >/dev/null 2>&1 &"
        " until [ -s /media/pupil/PLAIN/big ]; do sleep 0.05; done"
    ).check()
    virtual_laptop.unplug(stick)
    until(virtual_laptop, "media.ejected PULLED1")
    plain_stick(image)
    stick = virtual_laptop.plug_stick(image, serial="NEXT1")
    until(virtual_laptop, "media.attached NEXT1")
    assert "Mounted" in mount(virtual_laptop, stick.device).out
    assert "sensor.failed" not in virtual_laptop.sh("cat /run/said").out


@pytest.mark.requirement("T-44", "T-45")
@pytest.mark.scenario(tier="laptop", name="suspend and resume with a dock")
def test_behind_a_dock_a_stick_is_judged_again_after_a_suspend_and_its_keyboard_types(
    virtual_laptop: VirtualLaptop, tmp_path: Path
) -> None:
    install_rule(virtual_laptop)
    start(virtual_laptop, tmp_path, "encrypted-only")
    plug_dock(virtual_laptop, "4")
    plug_keyboard(virtual_laptop, "4.2")
    stick = virtual_laptop.plug_stick(plain_stick(tmp_path / "stick.img"), serial="DOCKED1", port="4.1")
    until(virtual_laptop, "media.made_read_only DOCKED1")
    assert types(virtual_laptop)

    virtual_laptop.suspend_and_wake()

    until(virtual_laptop, "media.made_read_only DOCKED1", times=2)
    virtual_laptop.wait_for(f"[ -e {stick.device} ]")
    assert virtual_laptop.sh(f"blockdev --getro {stick.device}").out.strip() == "1"
    virtual_laptop.wait_for("ls /dev/input/by-id/*-event-kbd")
    assert types(virtual_laptop)


@pytest.mark.requirement("T-45")
@pytest.mark.scenario(tier="laptop", name="what is written to a stick is counted, and never named")
def test_files_written_are_counted_and_never_named(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    start(virtual_laptop, tmp_path, "allow")
    stick = virtual_laptop.plug_stick(plain_stick(tmp_path / "stick.img"), serial="WRITE1")
    until(virtual_laptop, "media.attached WRITE1")
    assert "Mounted" in mount(virtual_laptop, stick.device).out
    until(virtual_laptop, "media.mounted WRITE1")
    program = f"for n in range({FILES}): open(f'/media/pupil/PLAIN/folder/secret{{n}}', 'w').write('x')"
    as_person(virtual_laptop, f'mkdir /media/pupil/PLAIN/folder; python3 -c "{program}"', timeout=300).check()
    as_person(virtual_laptop, f"udisksctl unmount -b {stick.device}").check()

    def counted() -> int:
        lines = [line.split() for line in virtual_laptop.sh("cat /run/said").out.splitlines()]
        return sum(int(line[6]) for line in lines if line[1:3] == ["media.copy", "WRITE1"])

    for _ in range(60):
        if counted() >= FILES:
            break
        virtual_laptop.sh("sleep 0.5")
    assert counted() == FILES
    assert "secret" not in virtual_laptop.sh("cat /run/said").out


@pytest.mark.requirement("T-45")
@pytest.mark.scenario(tier="laptop", name="BitLocker To Go is recognised, suspended protection is plain")
def test_what_windows_encrypted_may_be_used_and_what_it_left_open_not(
    virtual_laptop: VirtualLaptop, tmp_path: Path
) -> None:
    need(built=lambda: encrypted_images().is_built, what="the encrypted images")
    start(virtual_laptop, tmp_path, "encrypted-only")
    images = encrypted_images().path / "bitlk-images"
    told = {
        "togo-aes-xts-128": "bitlocker bitlocker-to-go",
        "aes-xts-128-eow": "bitlocker bitlocker",
        "clearkey-aes-cbc-128": "none bitlocker-suspended",
    }
    for number, (name, content) in enumerate(told.items()):
        image = shutil.copy(images / f"bitlk-{name}.img", tmp_path)
        stick = virtual_laptop.plug_stick(Path(image), serial=f"WIN{number}")
        until(virtual_laptop, f"media.attached WIN{number} usb {content}")
        if content.startswith("none"):
            until(virtual_laptop, f"media.made_read_only WIN{number}")
        virtual_laptop.sh("udevadm settle; sleep 1").check()
        read_only = virtual_laptop.sh(f"blockdev --getro {stick.device}").out.strip()
        assert read_only == ("1" if content.startswith("none") else "0"), name
        # The small FAT in front of BitLocker To Go is no way round: nobody can mount it, and so nobody write to it.
        assert "Mounted" not in mount(virtual_laptop, stick.device).out
        virtual_laptop.unplug(stick)


@pytest.mark.requirement("T-44")
@pytest.mark.scenario(tier="laptop", name="the agent is killed under load; what comes meanwhile waits for it")
def test_while_the_agent_is_dead_nothing_opens(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    install_rule(virtual_laptop)
    start(virtual_laptop, tmp_path, "encrypted-only")
    virtual_laptop.wait_for(f"[ -e {FLAG} ]")
    virtual_laptop.sh(
        "for n in 1 2; do (timeout 120 sh -c 'while :; do :; done' >/dev/null 2>&1 &) ; done"
    ).check()
    virtual_laptop.sh("pkill -KILL -f [m]edia_script").check()
    stick = virtual_laptop.plug_stick(plain_stick(tmp_path / "stick.img"), serial="ALONE1")
    assert "Not authorized" in mount(virtual_laptop, stick.device).out
    virtual_laptop.sh("umount /opt/agent").check()
    (tmp_path / "again").mkdir()
    start(virtual_laptop, tmp_path / "again", "encrypted-only")
    until(virtual_laptop, "media.made_read_only ALONE1")
    virtual_laptop.sh("udevadm settle; sleep 1; udevadm settle").check()
    assert "Mounted" in mount(virtual_laptop, stick.device).out
