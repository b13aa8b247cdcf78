"""The virtual laptop's kernel: Debian's generic one, with only the modules that the lab lists."""

import shutil
from pathlib import Path

from support.lab.cache import DATA, LabError, read_list
from support.lab.commands import run_tool

_META_PACKAGE = "linux-image-amd64"
_MODULE_LIST = DATA / "guest-modules.txt"
_INIT = DATA / "initramfs-init.sh"
# Loaded before there is a root file system; the list's other modules are on it, and udev loads them when needed.
_FIRST_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "crc32c-intel", "ext4", "virtio_console")

INPUTS = (Path(__file__), _MODULE_LIST, _INIT)


def fetch_kernel(folder: Path) -> "Kernel":
    """Download and unpack the newest kernel package of Debian 12 that apt knows of, below ``folder``."""
    run_tool(["apt-get", "download", "--quiet", _package_name()], cwd=folder, timeout=300)
    package = next(folder.glob("linux-image-*.deb"))
    unpacked = folder / "unpacked"
    run_tool(["dpkg-deb", "--extract", package, unpacked], timeout=120)
    package.unlink()
    release = next((unpacked / "lib/modules").iterdir()).name
    run_tool(["depmod", "--basedir", unpacked, release], timeout=120)
    return Kernel(unpacked, release)


def _package_name() -> str:
    """The package that the meta package depends on now, such as linux-image-6.1.0-13-amd64."""
    for line in run_tool(["apt-cache", "depends", _META_PACKAGE]).splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind == "Depends":
            return name
    raise LabError(f"apt does not know {_META_PACKAGE}; run `apt-get update`")


class Kernel:
    """An unpacked kernel package with all its modules."""

    def __init__(self, root: Path, release: str) -> None:
        self._modules = root / "lib/modules" / release
        self.release = release
        self.image = root / "boot" / f"vmlinuz-{release}"
        dependencies = (self._modules / "modules.dep").read_text().splitlines()
        self._needs = {
            path: needed.split() for path, _, needed in (line.partition(":") for line in dependencies)
        }
        self._paths = {_module_name(path): path for path in self._needs}
        self._built_in = {
            _module_name(path) for path in (self._modules / "modules.builtin").read_text().split()
        }

    def install_modules(self, root: Path) -> None:
        """Put the listed modules, with what they depend on, below ``root``."""
        target = root / "lib/modules" / self.release
        for path in self._with_dependencies(read_list(_MODULE_LIST)):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self._modules / path, target / path)
        for index in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            shutil.copy(self._modules / index, target / index)
        run_tool(["depmod", "--basedir", root, self.release])

    def write_initramfs(self, target: Path, scratch: Path) -> None:
        """A busybox that loads what the root disk needs and mounts it."""
        root = scratch / "initramfs"
        for folder in ("bin", "dev", "root", "modules"):
            (root / folder).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin/busybox")
        shutil.copy(_INIT, root / "init")
        (root / "init").chmod(0o755)
        order = self._with_dependencies(_FIRST_MODULES)
        for path in order:
            shutil.copy(self._modules / path, root / "modules" / Path(path).name)
        (root / "modules/order").write_text("".join(f"{Path(path).name}\n" for path in order))
        script = 'find . | cpio --quiet --create --format=newc >"$1"'
        run_tool(["sh", "-e", "-c", script, "pack", target], cwd=root)

    def _with_dependencies(self, names: list[str] | tuple[str, ...]) -> list[str]:
        """The modules' paths, each after those it depends on."""
        ordered: dict[str, None] = {}
        for name in names:
            normal = _module_name(name)
            if normal in self._built_in:
                continue
            if normal not in self._paths:
                raise LabError(
                    f"{_MODULE_LIST.name}: kernel {self.release} has no module {name}; correct the list"
                )
            path = self._paths[normal]
            # modules.dep lists all dependencies, nearest first: loading needs them the other way round.
            for needed in [*reversed(self._needs[path]), path]:
                ordered.setdefault(needed)
        return list(ordered)


def _module_name(path: str) -> str:
    """The kernel's own name of a module: file names use ``-`` and ``_`` as they like."""
    return Path(path).name.partition(".ko")[0].replace("-", "_")
