"""Interfaces of USB devices that carry pictures: telephones, cameras, webcams, told by what they say they are (T-46).

A telephone that charges, tethers and shares its files is several interfaces; only those that give out files or pictures
are reported. Classes: USB-IF, 06h still image (PTP, and MTP of newer Android), 0Eh video. Vendor-specific (FFh): an
interface that calls itself "MTP" (as libmtp and udev recognise it), Android's debug bridge (42h/01h), which copies
files, too, and Apple's multiplexor (FEh/02h). A telephone that shows a disk is a medium: those have their own rules.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.observations import PeripheralArrived, PeripheralLeft
from schoolkeeper_agent.seams import Emit
from schoolkeeper_agent.sensors.linux.uevents import DeviceEvent
from schoolkeeper_proto import model
from schoolkeeper_proto.policy import PeripheralKind

_APPLE = "05ac"
_CAMERA_MAKERS = frozenset({"04a9", "04b0", "04cb", "07b4", "2672"})
"""Canon, Nikon, Fujifilm, Olympus, GoPro: they make no telephones. A number is the device's and not the person's."""
_PHONE, _CAMERA, _BUILT_IN = (
    str(PeripheralKind.PHONE),
    str(PeripheralKind.EXTERNAL_CAMERA),
    str(PeripheralKind.CAMERA),
)
_MAX_TEXT = 256


def kinds_of(interface: Path) -> tuple[tuple[str, ...], str]:
    """(every kind it may be of, what it speaks) of an interface's folder; nothing for what carries no pictures."""
    marks = tuple(
        _text(interface / name) for name in ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
    )
    device = interface.resolve().parent
    vendor = _text(device / "idVendor")
    says_mtp = "mtp" in _text(interface / "interface").lower()
    if marks[0] == "0e":
        return _video(_text(device / "removable")), "uvc"
    if marks[0] == "06":
        speaks = "mtp" if says_mtp else "ptp"
        if vendor == _APPLE:
            return (_PHONE,), speaks
        # A picture interface says nothing of what is behind it: what may be either is judged by the rules on both.
        return ((_CAMERA,) if vendor in _CAMERA_MAKERS else (_PHONE, _CAMERA)), speaks
    if marks[0] == "ff":
        if marks[1:] == ("42", "01"):
            return (_PHONE,), "adb"
        if vendor == _APPLE and marks[1:] == ("fe", "02"):
            return (_PHONE,), "usbmux"
        if says_mtp:
            return (_PHONE,), "mtp"
    return (), ""


def _video(removable: str) -> tuple[str, ...]:
    """The firmware says whether the port can be reached from outside; where it does not, both kinds of rule count."""
    if removable == "fixed":
        return (_BUILT_IN,)
    return (_CAMERA,) if removable == "removable" else (_BUILT_IN, _CAMERA)


class UsbInterfaces:
    """What is there at the start, then each change; ``person`` names who sits at the screen."""

    def __init__(
        self, context: Context, person: Callable[[], tuple[str, int, frozenset[str] | None]]
    ) -> None:
        self._root = context.sys_root / "bus" / "usb" / "devices"
        self._person = person
        self._held: set[str] = set()

    def start(self, emit: Emit) -> None:
        for interface in sorted(self._root.glob("*:*")):
            self._look(interface.name, emit)

    def heard(self, event: DeviceEvent, emit: Emit) -> None:
        """An event of the subsystem ``usb``."""
        name = event.device_path.rpartition("/")[2]
        if event.properties.get("DEVTYPE") == "usb_device":
            # An interface's own name ('MTP') can be read only after its event; the device's 'bind' comes last.
            if event.action == "bind":
                for interface in sorted(self._root.glob(f"{name}:*")):
                    self._look(interface.name, emit)
        elif event.action == "remove":
            if name in self._held:
                self._held.discard(name)
                emit(PeripheralLeft(kernel_name=name))
        else:
            self._look(name, emit)

    def _look(self, name: str, emit: Emit) -> None:
        interface = self._root / name
        kinds, speaks = kinds_of(interface)
        if name in self._held or not kinds:
            return
        self._held.add(name)
        device = interface.resolve().parent
        medium = model.Medium(
            kernel_name=name,
            vendor_id=_text(device / "idVendor"),
            product_id=_text(device / "idProduct"),
            serial=_text(device / "serial"),
            bus="usb",
            file_system=speaks,
        )
        account, user_id, groups = self._person()
        emit(
            PeripheralArrived(
                medium=medium,
                kinds=kinds,
                withheld=_text(interface / "authorized") == "0",
                account=account,
                user_id=user_id,
                groups=groups,
            )
        )


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_TEXT).decode(errors="replace").strip().strip("\0")
    except OSError:
        return ""
