"""Classes of devices, each by real virtual hardware: discs, cards, telephones, network adapters, keyboards (T-44)."""

from pathlib import Path

import pytest

from support.lab.devices import (
    CARD,
    DISC,
    insert_disc,
    plug_keyboard,
    plug_network_adapter,
    plug_telephone,
    types,
)
from support.lab.media import MIB, install_rule, plain_stick, start, until
from support.lab.seat import as_person
from support.lab.virtual_laptop import LaptopsInTurn, VirtualLaptop

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(400)]


def disc(image: Path) -> Path:
    """The first sector of a volume descriptor is enough to be recognised (ECMA-119, 8.1)."""
    image.write_bytes(bytes(32768) + b"\x01CD001\x01".ljust(8 * MIB, b"\0"))
    return image


@pytest.mark.requirement("T-44")
@pytest.mark.scenario(tier="laptop", name="a disc is refused, and the drive takes the next one")
def test_a_refused_disc_leaves_the_drive_and_an_empty_drive_is_nothing(
    virtual_laptop: VirtualLaptop, tmp_path: Path
) -> None:
    install_rule(virtual_laptop)
    start(virtual_laptop, tmp_path, "block")
    assert "optical" not in virtual_laptop.sh("cat /run/said").out
    for times, name in enumerate(("first", "second"), 1):
        insert_disc(virtual_laptop, disc(tmp_path / name))
        until(virtual_laptop, "media.attached  optical none iso9660", times=times)
        until(virtual_laptop, "media.refused  optical", times=times)
        assert "Permission denied" in as_person(virtual_laptop, f"head -c 512 {DISC}").out
    assert virtual_laptop.sh("[ -e /sys/block/sr0 ]").rc == 0


@pytest.mark.requirement("T-44")
@pytest.mark.scenario(tier="laptop", name="boot with an SD card in the reader")
def test_a_card_that_is_there_at_the_start_is_held_and_made_read_only(
    laptops: LaptopsInTurn, tmp_path: Path
) -> None:
    from support.lab.cold_boot import cold_boot
    from support.lab.media import FLAG

    def prepare(laptop: VirtualLaptop) -> None:
        install_rule(laptop)
        laptop.sh(f"touch {FLAG}; sync").check()

    card = plain_stick(tmp_path / "card.img", 64 * MIB)
    laptop = laptops.start(cold_boot(tmp_path, prepare, card=card))
    laptop.wait_for(f"[ -e {CARD} ]")
    assert "Permission denied" in as_person(laptop, f"head -c 512 {CARD}").out
    start(laptop, tmp_path, "encrypted-only")
    until(laptop, "media.made_read_only 0xdeadbeef mmc none vfat")
    assert laptop.sh(f"dd if=/dev/zero of={CARD} bs=512 count=1 conv=fsync").rc != 0
    assert laptop.sh(f"blockdev --getro {CARD}").out.strip() == "1"


@pytest.mark.scenario(tier="laptop", name="a telephone by MTP charges and gives out no pictures")
def test_the_files_of_a_telephone_are_out_of_reach(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    start(virtual_laptop, tmp_path, "allow")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "one.jpg").write_bytes(b"a picture")
    plug_telephone(virtual_laptop, pictures)
    until(virtual_laptop, "media.refused PHONE1 usb")
    interface = "$(dirname $(grep -l 06 /sys/bus/usb/devices/*/bInterfaceClass))"
    assert virtual_laptop.sh(f"cat {interface}/authorized").out.strip() == "0"
    assert "QEMU filesharing" in virtual_laptop.sh("lsusb").out


@pytest.mark.scenario(
    tier="laptop", name="a network adapter and a keyboard by USB work where storage is refused"
)
def test_what_is_no_storage_goes_on(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    install_rule(virtual_laptop)
    start(virtual_laptop, tmp_path, "block")
    plug_network_adapter(virtual_laptop)
    plug_keyboard(virtual_laptop)
    stick = virtual_laptop.plug_without_waiting(plain_stick(tmp_path / "stick.img"), serial="GONE1")
    until(virtual_laptop, "media.refused GONE1")
    virtual_laptop.unplug(stick)
    virtual_laptop.sh("ip link set usb0 up").check()
    assert types(virtual_laptop)
    assert virtual_laptop.sh("cat /run/said").out.count("media.refused") == 1
