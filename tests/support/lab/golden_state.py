"""The virtual laptop as it is just after booting, saved once: a test restores it in about a second."""

import shlex
import tempfile
import time
from pathlib import Path

from support.lab import qemu
from support.lab.cache import CachedFolder, LabError, hash_inputs
from support.lab.commands import run_tool
from support.lab.guest_image import GuestFiles, build_guest_image, guest_image
from support.lab.qemu import Qemu

_BOOT_TIMEOUT = 240.0
_SAVE_TIMEOUT = 60.0
# Loaded now rather than in each test; services that a laptop has running.
_SETTLE = """
systemctl is-system-running --wait >/dev/null
modprobe -a usb-storage uas sd_mod virtio_net af_packet dm-crypt dm-log-writes || exit
modprobe -a ata_piix sr_mod isofs vfat exfat xts nls_ascii nls_cp437 || exit
systemctl start udisks2 polkit || exit
udevadm settle
ip link set lo up
sync
"""


def golden_state() -> CachedFolder:
    """The saved state for the inputs of today and this machine's QEMU, built or not."""
    key = hash_inputs((guest_image().key, Path(__file__), Path(qemu.__file__), _qemu_version()))
    return CachedFolder(name="golden", key=key)


def build_golden_state() -> Path:
    """Boot the virtual laptop once and save it; about a minute, after its image."""
    files = build_guest_image()
    return golden_state().build(lambda folder: _fill(folder, files))


def start_restored(folder: Path, *, disk: str = "") -> Qemu:
    """A QEMU that continues from the golden state; what it writes to its root disk is forgotten with it.

    Unless ``disk`` (options of ``-drive``) is an overlay of the golden disk: then it is kept there.
    """
    golden = golden_state().path
    files = GuestFiles(folder=guest_image().path)
    disk = disk or f"file={golden}/disk.qcow2,format=qcow2,if=virtio,snapshot=on,cache=unsafe"
    machine = Qemu(files, disk=disk, folder=folder, restore_from=golden / "memory")
    try:
        while machine.qmp.run("query-status")["status"] == "inmigrate":
            time.sleep(0.02)
        machine.qmp.run("cont")
        machine.port.wake()
    except BaseException:
        machine.kill()
        raise
    return machine


def _fill(folder: Path, files: GuestFiles) -> None:
    run_tool(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", files.disk, "-F", "raw", folder / "disk.qcow2"]
    )
    with tempfile.TemporaryDirectory(prefix="schoolkeeper-golden-") as scratch:
        disk = f"file={folder}/disk.qcow2,format=qcow2,if=virtio,cache=unsafe"
        machine = Qemu(files, disk=disk, folder=Path(scratch))
        try:
            machine.port.wait_until_up(_BOOT_TIMEOUT)
            machine.port.sh(_SETTLE, _BOOT_TIMEOUT).check()
            _save(machine, folder / "memory")
        except LabError as error:
            raise LabError(
                f"{error}; its console: {machine.console.read_text(errors='replace')[-2000:]}"
            ) from error
        finally:
            machine.kill()


def _save(machine: Qemu, target: Path) -> None:
    machine.qmp.run("stop")
    machine.qmp.run("migrate-set-parameters", max_bandwidth=10**10)
    machine.qmp.run("migrate", uri=f"exec:cat >{shlex.quote(str(target))}")
    deadline = time.monotonic() + _SAVE_TIMEOUT
    while (status := machine.qmp.run("query-migrate")["status"]) != "completed":
        if status in ("failed", "cancelled") or time.monotonic() > deadline:
            raise LabError(f"the virtual laptop's state could not be saved: {status}")
        time.sleep(0.05)
    machine.quit()


def _qemu_version() -> str:
    return run_tool([qemu.PROGRAM, "--version"]).splitlines()[0]
