"""A block device as sysfs describes it: removable or not, on which bus, whose serial, and what its bytes hold."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the guard asks what sysfs says, and starts anew for each question
    from schoolkeeper_agent.sensors.linux.volume import Content
    from schoolkeeper_proto.model import Medium

_MAX_TEXT = 256
_CDROM_DRIVE_STATUS, _THE_DISC_IN_IT, _DISC_OK = 0x5326, 0x7FFFFFFF, 4
"""linux/cdrom.h"""


def is_removable(disk: Path) -> bool:
    """``disk`` is a folder of /sys/block. USB disks and cards count, whatever they call themselves.

    The udev rule ``99-schoolkeeper-media.rules`` has the same list: what it holds must be judged here.
    """
    return _text(disk / "removable") == "1" or bus_of(disk) in ("usb", "mmc", "firewire", "thunderbolt")


def sequence_of(disk: Path) -> int:
    """The kernel's number of this medium (``diskseq``): never given twice while it runs, new for each card in a reader.

    0 where the kernel has none (before 5.15).
    """
    said = _text(disk / "diskseq")
    return int(said) if said.isdigit() else 0


def has_medium(disk: Path) -> bool:
    """False for a reader without a card, and for a disk that is gone."""
    return _text(disk / "size") not in ("", "0")


def is_optical(disk: Path) -> bool:
    """The kernel's driver for discs has it (sr), by whatever cable."""
    return disk.name.startswith("sr") and disk.name[2:].isdigit()


def bus_of(disk: Path) -> str:
    """What rules name. A drive for discs on USB is 'usb': a stick may call itself one."""
    parts = str(_real(disk)).split("/")
    if usb_device(disk) is not None:
        return "usb"
    if is_optical(disk):
        return "optical"
    if any(part.startswith("mmc") for part in parts):
        # Soldered flash (eMMC) has no card that anybody could take out.
        return "mmc" if _text(disk / "device" / "type") != "MMC" else "emmc"
    if any(part.startswith("fw") and part[2:].isdigit() for part in parts):
        return "firewire"
    # A disk on PCI behind a port that faces outward: Thunderbolt and USB4 docks (ABI/testing/sysfs-devices-removable).
    if any(_text(parent / "removable") == "removable" for parent in _real(disk).parents):
        return "thunderbolt"
    return "virtual" if "virtual" in parts else "internal"


def usb_device(disk: Path) -> Path | None:
    """The folder of the USB device (it has ``authorized`` and ``idVendor``) that the disk hangs on."""
    place = _real(disk)
    for parent in place.parents:
        if (parent / "idVendor").exists() and (parent / "authorized").exists():
            return parent
    return None


def usb_interface(disk: Path) -> Path | None:
    """The one part of a USB device that the disk is: its other parts (keys, a network card) have their own switches."""
    for parent in _real(disk).parents:
        if (parent / "bInterfaceNumber").exists() and (parent / "authorized").exists():
            return parent
    return None


def describe(disk: Path, device: Path) -> Medium | None:
    """``device`` is its node (/dev/sdb). What cannot be read is left empty; content that cannot be read is unknown.

    None for a drive without a disc: sysfs gives the size of the last one, or of none at all.
    """
    from schoolkeeper_proto.model import Medium

    if is_optical(disk) and not _has_disc(device):
        return None
    usb = usb_device(disk)
    serial = _text(usb / "serial") if usb is not None else _text(disk / "device" / "serial")
    sectors = _text(disk / "size")
    size = int(sectors) * 512 if sectors.isdigit() else 0
    held = look_inside(device, size)
    return Medium(
        kernel_name=disk.name,
        vendor_id=_text(usb / "idVendor") if usb is not None else "",
        product_id=_text(usb / "idProduct") if usb is not None else "",
        serial=serial,
        bus=bus_of(disk),
        size_bytes=size,
        encryption=held.encryption,
        file_system=held.file_system,
    )


def _has_disc(drive: Path) -> bool:
    """True also where the drive does not say: then the disc is looked for in the ordinary way."""
    try:
        descriptor = os.open(drive, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        said = fcntl.ioctl(descriptor, _CDROM_DRIVE_STATUS, _THE_DISC_IN_IT)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return said in (_DISC_OK, 0)  # 0: it cannot tell


def look_inside(device: Path, size: int) -> Content:
    """Reads only heads of volumes; a medium that does not answer is unknown."""
    from schoolkeeper_agent.sensors.linux.content import recognise
    from schoolkeeper_agent.sensors.linux.volume import Content
    from schoolkeeper_proto.model import MediumEncryption

    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return Content(encryption=MediumEncryption.UNKNOWN)
    try:
        return recognise(lambda offset, length: os.pread(descriptor, length, offset), size)
    except OSError:
        return Content(encryption=MediumEncryption.UNKNOWN)
    finally:
        os.close(descriptor)


def _real(disk: Path) -> Path:
    return Path(os.path.realpath(disk))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_TEXT).decode(errors="replace").strip().strip("\0")
    except OSError:
        return ""
