"""A virtual laptop: real USB, udev, udisks2, device-mapper; about a second from a saved state.

Every start continues from the same golden state; what it writes to its root disk is forgotten. To keep what it
writes over a power cut, attach a disk image of your own.
"""

import contextlib
import io
import shlex
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from support.lab.cache import LabError
from support.lab.commands import Result
from support.lab.golden_state import golden_state, start_restored
from support.lab.nspawn import owned_by_root
from support.lab.qemu import PROGRAM, Qemu
from support.lab.qmp import Qmp

TOOLS = (PROGRAM, "qemu-img", "socat")
COLLECTOR_ADDRESS = "10.0.2.100"
"""Where the laptop finds what ``offer`` offers."""

_LAPTOP_ADDRESS = "10.0.2.15"
_DEVICE_TIMEOUT = 60.0
_POLL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugged:
    """A device that is in the laptop now; ``device`` is its block device there, such as ``/dev/sda``."""

    name: str
    device: str


class VirtualLaptop:
    """One throw-away virtual laptop for as long as the ``with`` block."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._qemu: Qemu | None = None
        self._count = 0
        self.restore_seconds = 0.0

    @classmethod
    def around(cls, machine: Qemu) -> Self:
        """A laptop that runs already; ``cut_power`` ends it."""
        laptop = cls()
        laptop._qemu = machine
        return laptop

    def __enter__(self) -> Self:
        if not golden_state().is_built:
            raise LabError("the virtual laptop is not built; `make lab` builds it")
        started = time.monotonic()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="schoolkeeper-virtual-"))
        try:
            self._qemu = start_restored(Path(folder))
        except BaseException:
            self._stack.close()
            raise
        self.restore_seconds = time.monotonic() - started
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut_power()
        self._stack.close()

    def sh(self, command: str, timeout: float = 120, *, user: str = "root", stdin: bytes = b"") -> Result:
        """Run a shell command inside. What it leaves running must not hold its output open.

        Raises:
            LabError: it did not end within ``timeout`` seconds.
        """
        if user != "root":
            command = f"runuser -u {user} -- sh -c {shlex.quote(command)}"
        return self._running.port.sh(command, timeout, stdin)

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file inside; missing folders are made."""
        self._running.port.put(path, data, mode)

    def copy_in(self, source: Path, destination: str) -> None:
        """Copy a file or a folder of this machine to the path ``destination`` inside; root owns the copy."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(source, arcname=Path(destination).name, filter=owned_by_root)
        parent = shlex.quote(str(Path(destination).parent))
        self.sh(f"mkdir -p {parent} && tar -xf - -C {parent}", 300, stdin=packed.getvalue()).check()

    def plug_stick(self, image: Path, *, serial: str, read_only: bool = False, port: str = "") -> Plugged:
        """Plug in a USB stick with the content of ``image`` and wait until udev knows it by its serial number."""
        name = self.plug_without_waiting(image, serial=serial, read_only=read_only, port=port)
        return Plugged(name=name, device=self._wait_for_device(f"/dev/disk/by-id/usb-*_{serial}-0:0"))

    def attach_disk(self, image: Path, *, serial: str, read_only: bool = False) -> Plugged:
        """Attach a fixed disk with the content of ``image``."""
        name = self._add_image(image, read_only)
        self._running.qmp.run(
            "device_add", driver="virtio-blk-pci", id=name, drive=f"{name}-image", serial=serial
        )
        return Plugged(name=name, device=self._wait_for_device(f"/dev/disk/by-id/virtio-{serial}"))

    def plug_without_waiting(
        self, image: Path, *, serial: str, read_only: bool = False, port: str = ""
    ) -> str:
        """As ``plug_stick``, for a stick that may be gone before udev has named it; its name for QEMU.

        ``port``: of the laptop, or of a dock, as "4.1"; by itself QEMU takes any of the laptop's.
        """
        name = self._add_image(image, read_only)
        where = {"port": port} if port else {}
        self._running.qmp.run(
            "device_add", driver="usb-storage", id=name, bus="usb.0", drive=f"{name}-image", serial=serial,
            removable=True, **where,
        )  # fmt: skip
        return name

    def suspend_and_wake(self) -> None:
        """To memory and back, as by the lid: every USB port loses power."""
        self.sh("(sleep 0.3; echo mem >/sys/power/state) >/run/suspended 2>&1 &").check()
        qmp = self._running.qmp
        qmp.wait_for_event("SUSPEND")
        qmp.run("system_wakeup")
        qmp.wait_for_event("WAKEUP")
        said = self.sh("until grep -q . /sys/power/state; do sleep 0.1; done; cat /run/suspended").out
        if said:
            raise LabError(f"the virtual laptop did not suspend: {said}")

    def unplug(self, plugged: Plugged | str) -> None:
        """Pull a device out, unasked, and close its image."""
        name = plugged if isinstance(plugged, str) else plugged.name
        qmp = self._running.qmp
        qmp.run("device_del", id=name)
        qmp.wait_for_event("DEVICE_DELETED", device=name)
        qmp.run("blockdev-del", node_name=f"{name}-image")

    def offer(self, port: int, *, to: int) -> None:
        """Give the laptop a network card on which ``COLLECTOR_ADDRESS:port`` leads to ``127.0.0.1:to`` here.

        Nothing else can be reached. At most once for a laptop.
        """
        forward = f"tcp:{COLLECTOR_ADDRESS}:{port}-cmd:socat - TCP:127.0.0.1:{to}"
        qmp = self._running.qmp
        qmp.run("netdev_add", type="user", id="net", restrict=True, guestfwd=[{"str": forward}])
        qmp.run("device_add", driver="virtio-net-pci", id="card", netdev="net", romfile="")
        self._wait_for_device("/sys/class/net/eth0")
        self.sh(f"ip address add {_LAPTOP_ADDRESS}/24 dev eth0 && ip link set eth0 up").check()

    def unplug_network(self) -> None:
        """Pull the network cable; the laptop notices."""
        self._running.qmp.run("set_link", name="card", up=False)

    def plug_network(self) -> None:
        self._running.qmp.run("set_link", name="card", up=True)

    def cut_power(self) -> None:
        """End it between two instructions.

        What the laptop has handed to a disk survives, as on a disk whose cache has a battery: the honest test of
        what was flushed is ``power_cut.replay_to_every_flush``.
        """
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu = None

    @property
    def is_on(self) -> bool:
        return self._qemu is not None

    @property
    def qmp(self) -> Qmp:
        """For ``devices.py``: whatever else can be plugged in."""
        return self._running.qmp

    def wait_for(self, condition: str, timeout: float = _DEVICE_TIMEOUT) -> None:
        """Until this shell command succeeds inside."""
        self.sh(f"until {condition}; do sleep {_POLL}; done; udevadm settle", timeout).check()

    @property
    def _running(self) -> Qemu:
        if self._qemu is None:
            raise LabError("the virtual laptop is off")
        return self._qemu

    def _add_image(self, image: Path, read_only: bool) -> str:
        self._count += 1
        name = f"plugged{self._count}"
        self._running.qmp.run(
            "blockdev-add", driver="raw", node_name=f"{name}-image", read_only=read_only,
            file={"driver": "file", "filename": str(image)},
        )  # fmt: skip
        return name

    def _wait_for_device(self, pattern: str) -> str:
        """The real path of what matches ``pattern`` inside, once udev is done with it."""
        found = self.sh(
            f"until set -- {pattern}; [ -e $1 ]; do sleep {_POLL}; done; udevadm settle; readlink -f $1",
            _DEVICE_TIMEOUT,
        )
        return found.check().strip()


class LaptopsInTurn(contextlib.ExitStack):
    """For a test that needs the laptop of the day after; each stays on until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[VirtualLaptop] = []

    def start(self, laptop: contextlib.AbstractContextManager[VirtualLaptop] | None = None) -> VirtualLaptop:
        """One that is restored, unless another is given."""
        started = self.enter_context(VirtualLaptop() if laptop is None else laptop)
        self.started.append(started)
        return started
