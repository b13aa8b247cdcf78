"""A virtual laptop that starts with a stick or a card in it: from its firmware on, not from a saved state."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from support.lab.commands import run_tool
from support.lab.golden_state import golden_state, start_restored
from support.lab.guest_image import GuestFiles, guest_image
from support.lab.qemu import Qemu
from support.lab.virtual_laptop import VirtualLaptop

_BOOT_TIMEOUT = 240.0


@contextlib.contextmanager
def cold_boot(
    folder: Path,
    prepare: Callable[[VirtualLaptop], None],
    *,
    stick: tuple[Path, str] | None = None,
    card: Path | None = None,
) -> Iterator[VirtualLaptop]:
    """The power is cut after ``prepare``, the stick (image, serial number) or card put in, and the power comes back."""
    disk = folder / "root.qcow2"
    base = golden_state().path / "disk.qcow2"
    run_tool(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk])
    options = f"file={disk},format=qcow2,if=virtio,cache=writethrough"
    with _laptop(start_restored(_scratch(folder, "before"), disk=options)) as laptop:
        prepare(laptop)
    files = GuestFiles(folder=guest_image().path)
    machine = Qemu(files, disk=options, folder=_scratch(folder, "after"), stick=stick, card=card)
    with _laptop(machine) as laptop:
        machine.port.wait_until_up(_BOOT_TIMEOUT)
        yield laptop


@contextlib.contextmanager
def _laptop(machine: Qemu) -> Iterator[VirtualLaptop]:
    laptop = VirtualLaptop.around(machine)
    try:
        yield laptop
    finally:
        laptop.cut_power()


def _scratch(folder: Path, name: str) -> Path:
    # A socket's path may have 107 bytes.
    place = Path(tempfile.mkdtemp(prefix=f"sk-{name}-", dir=folder if len(str(folder)) < 60 else None))
    shutil.rmtree(place)
    place.mkdir()
    return place
