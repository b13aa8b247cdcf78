"""What a block device is, by what sysfs says: drives for discs (T-44)."""

from pathlib import Path

from schoolkeeper_agent.enforcers.linux import media as media_enforcer
from schoolkeeper_agent.sensors.linux.block_device import bus_of, describe, is_removable


def test_a_drive_for_discs_has_a_class_of_its_own_unless_it_hangs_on_usb(tmp_path: Path) -> None:
    """A stick may call itself a disc: rules on USB hold for it."""
    built_in = tmp_path / "devices/pci0/ata1/host0/block/sr0"
    stick = tmp_path / "devices/pci0/usb1/1-1/1-1:1.0/host1/block/sr1"
    for drive in (built_in, stick):
        drive.mkdir(parents=True)
        (drive / "removable").write_text("1\n")
    (stick.parents[3] / "authorized").write_text("1\n")
    (stick.parents[3] / "idVendor").write_text("0951\n")
    assert (bus_of(built_in), bus_of(stick)) == ("optical", "usb")
    assert is_removable(built_in)
    assert is_removable(stick)
    assert media_enforcer._is_built_in(built_in), "its next disc may be allowed: the drive stays"
    assert not media_enforcer._is_built_in(stick)


def test_a_drive_that_does_not_say_whether_a_disc_is_in_it_is_looked_at(tmp_path: Path) -> None:
    drive, node = tmp_path / "sr0", tmp_path / "node"
    drive.mkdir()
    (drive / "size").write_text("128\n")
    node.write_bytes(bytes(65536))
    medium = describe(drive, node)
    assert medium is not None
    assert (medium.bus, medium.file_system) == ("optical", "blank")
