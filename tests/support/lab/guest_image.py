"""The virtual laptop's disk: the laptop tree, a kernel's modules and the tests' agent as an ext4 image."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from support.lab.cache import DATA, CachedFolder, hash_inputs
from support.lab.commands import run_tool
from support.lab.guest_kernel import INPUTS as KERNEL_INPUTS
from support.lab.guest_kernel import Kernel, fetch_kernel
from support.lab.tree import build_laptop_tree, laptop_tree

_AGENT = DATA / "guest-agent.py"
_AGENT_UNIT = DATA / "guest-agent.service"
_DISK_SIZE = "1500M"  # of which the tree fills a third; the file is sparse


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFiles:
    """What QEMU boots from."""

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initramfs(self) -> Path:
        return self.folder / "initramfs.cpio"

    @property
    def disk(self) -> Path:
        return self.folder / "root.img"


def guest_image() -> CachedFolder:
    """The image for the inputs of today, built or not.

    The kernel's version is no input: what apt knows changes by itself, and would unbuild the image between two runs.
    """
    key = hash_inputs((laptop_tree().key, Path(__file__), *KERNEL_INPUTS, _AGENT, _AGENT_UNIT))
    return CachedFolder(name="guest", key=key)


def build_guest_image() -> GuestFiles:
    """Build it if it is not there; half a minute, after the laptop tree."""
    tree = build_laptop_tree()
    return GuestFiles(folder=guest_image().build(lambda folder: _fill(folder, tree)))


def _fill(folder: Path, tree: Path) -> None:
    scratch = folder / "scratch"
    scratch.mkdir()
    kernel = fetch_kernel(scratch)
    files = GuestFiles(folder=folder)
    shutil.copy(kernel.image, files.kernel)
    kernel.write_initramfs(files.initramfs, scratch)
    _write_disk(files.disk, tree, kernel, scratch / "root")
    shutil.rmtree(scratch)


def _write_disk(disk: Path, tree: Path, kernel: Kernel, root: Path) -> None:
    run_tool(["cp", "--archive", "--reflink=auto", tree, root], timeout=300)
    kernel.install_modules(root)
    (root / "usr/local/lib/guest-agent.py").write_bytes(_AGENT.read_bytes())
    units = root / "etc/systemd/system"
    (units / _AGENT_UNIT.name).write_bytes(_AGENT_UNIT.read_bytes())
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants" / _AGENT_UNIT.name).symlink_to(f"../{_AGENT_UNIT.name}")
    # Nobody looks at these consoles, and starting them costs a second each on an emulated processor.
    for unit in ("getty.target", "serial-getty@.service", "console-getty.service"):
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    run_tool(["mkfs.ext4", "-q", "-F", "-L", "root", "-d", root, disk, _DISK_SIZE], timeout=300)
