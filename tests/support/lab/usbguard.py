"""USBGuard's own parser of rules, unpacked and not installed: its daemon would decide on this machine."""

import os
import subprocess
from pathlib import Path

from support.lab.cache import CachedFolder, LabError, hash_inputs
from support.lab.commands import run_tool
from support.lab.tree import RELEASE

TOOLS = ("apt-get", "dpkg-deb")
_PACKAGES = ("usbguard", "libusbguard1")


def usbguard_folder() -> CachedFolder:
    """The files of the packages, built or not; what its library needs beside comes with ``make lab``."""
    return CachedFolder(name="usbguard", key=hash_inputs((Path(__file__), RELEASE)))


def build_usbguard() -> Path:
    """Fetch and unpack it if it is not there; some seconds.

    Raises:
        LabError: apt could not fetch the packages.
    """
    return usbguard_folder().build(_fill)


def parse_rules(path: Path) -> tuple[str, ...]:
    """The rules of a file as USBGuard reads them; raises ``ValueError`` with what its parser says of a wrong one."""
    folder = usbguard_folder().path
    libraries = next(folder.glob("usr/lib/*/libusbguard.so.1"), None)
    if libraries is None:
        raise LabError(f"there is no library of USBGuard in {folder}; remove the folder and run `make lab`")
    done = subprocess.run(
        [folder / "usr/bin/usbguard-rule-parser", "-f", path],
        env={**os.environ, "LD_LIBRARY_PATH": str(libraries.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 127:
        raise LabError(f"USBGuard's parser does not start; `make lab` installs what it needs: {done.stderr}")
    if done.returncode != 0:
        raise ValueError(done.stderr)
    said = "OUTPUT: "
    return tuple(line.removeprefix(said) for line in done.stdout.splitlines() if line.startswith(said))


def _fill(folder: Path) -> None:
    run_tool(["apt-get", "download", "--quiet", *_PACKAGES], cwd=folder, timeout=300)
    for package in folder.glob("*.deb"):
        run_tool(["dpkg-deb", "--extract", package, folder], timeout=120)
        package.unlink()
