"""What else is put into a virtual laptop: discs, telephones, keyboards, network adapters."""

from pathlib import Path

from support.lab.qemu import OPTICAL_DRIVE
from support.lab.virtual_laptop import VirtualLaptop

CARD, DISC = "/dev/mmcblk0", "/dev/sr0"
_PRESSES = 20
_KEYBOARD = "/dev/input/by-id/usb-QEMU_QEMU_USB_Keyboard_*-event-kbd"


def insert_disc(laptop: VirtualLaptop, image: Path) -> None:
    """Whatever disc was in the drive is taken out, also while somebody holds the tray."""
    laptop.qmp.run(
        "blockdev-change-medium", id=OPTICAL_DRIVE, filename=str(image), format="raw",
        read_only_mode="read-only", force=True,
    )  # fmt: skip


def plug_telephone(laptop: VirtualLaptop, folder: Path) -> None:
    """It offers the files of ``folder`` by MTP."""
    laptop.qmp.run(
        "device_add", driver="usb-mtp", id="telephone", bus="usb.0", rootdir=str(folder), serial="PHONE1"
    )


def plug_network_adapter(laptop: VirtualLaptop) -> None:
    laptop.qmp.run("netdev_add", type="user", id="adapter-net", restrict=True)
    laptop.qmp.run("device_add", driver="usb-net", id="adapter", bus="usb.0", netdev="adapter-net")


def plug_keyboard(laptop: VirtualLaptop, port: str = "") -> None:
    where = {"port": port} if port else {}
    laptop.qmp.run("device_add", driver="usb-kbd", id="keyboard", bus="usb.0", **where)
    laptop.wait_for(f"ls {_KEYBOARD}")


def plug_dock(laptop: VirtualLaptop, port: str) -> None:
    """Its own ports are ``port`` and a number, as "4.1"."""
    laptop.qmp.run("device_add", driver="usb-hub", id="dock", bus="usb.0", port=port)


def types(laptop: VirtualLaptop) -> bool:
    """Whether a key that is pressed on the keyboard plugged in last arrives."""
    laptop.sh(f"rm -f /run/typed; (timeout 60 cat {_KEYBOARD} >/run/typed 2>&1 &)").check()
    for _ in range(_PRESSES):
        laptop.qmp.run("send-key", keys=[{"type": "qcode", "data": "a"}])
        if laptop.sh("sleep 0.5; [ -s /run/typed ]").rc == 0:
            return True
    return False
