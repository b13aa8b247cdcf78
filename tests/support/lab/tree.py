"""The laptops' root file system: Debian 12 by debootstrap from the machine's own configured mirror."""

import os
import shutil
from pathlib import Path

from support.lab.cache import DATA, CachedFolder, LabError, hash_inputs, read_list
from support.lab.commands import run_tool

RELEASE = "bookworm"
PUPIL = "pupil"
TEACHER = "teacher"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PACKAGES = DATA / "laptop-packages.txt"
_BUILD_TIMEOUT = 900.0

# Started by nothing that is tested: they cost seconds of boot or wake up during a measurement.
_MASKED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-timesyncd.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
)
# Tests start these when they want them.
_NOT_ENABLED = ("fapolicyd.service", "usbguard.service", "usbguard-dbus.service", "nftables.service")


def laptop_tree() -> CachedFolder:
    """The tree for the package list of today, built or not."""
    return CachedFolder(name="tree", key=hash_inputs((Path(__file__), _PACKAGES)))


def build_laptop_tree() -> Path:
    """Build the tree if it is not there; about two minutes the first time.

    Raises:
        LabError: not root, no mirror configured, or debootstrap failed.
    """
    if os.geteuid() != 0:
        raise LabError("building the laptop tree needs root (debootstrap makes devices and changes root)")
    return laptop_tree().build(_fill)


def configured_mirror() -> str:
    """The address that this machine's own apt takes Debian 12 from."""
    targets = run_tool(["apt-get", "indextargets", "--format", "$(CREATED_BY) $(CODENAME) $(REPO_URI)"])
    for line in targets.splitlines():
        kind, codename, address = line.split(maxsplit=2)
        if kind == "Packages" and codename == RELEASE:
            return address
    raise LabError(f"apt has no source for Debian {RELEASE}; add one to /etc/apt and run `apt-get update`")


def _fill(folder: Path) -> None:
    packages = ",".join(read_list(_PACKAGES))
    run_tool(
        ["debootstrap", "--variant=minbase", f"--keyring={_KEYRING}", f"--include={packages}", RELEASE, folder,
         configured_mirror()],
        timeout=_BUILD_TIMEOUT,
    )  # fmt: skip
    _make_it_a_laptop(folder)
    _forget_where_it_came_from(folder)


def _make_it_a_laptop(root: Path) -> None:
    for name in (PUPIL, TEACHER):
        run_tool(["chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", name])
    (root / "etc/hostname").write_text("laptop\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost laptop\n::1 localhost\n")
    (root / "etc/fstab").write_text("")
    # Empty and not missing: systemd makes an id at each boot and does not take the boot for the very first one.
    (root / "etc/machine-id").write_text("")
    run_tool(["systemctl", f"--root={root}", "--quiet", "set-default", "multi-user.target"])
    run_tool(["systemctl", f"--root={root}", "--quiet", "mask", *_MASKED_UNITS])
    run_tool(["systemctl", f"--root={root}", "--quiet", "disable", *_NOT_ENABLED])


def _forget_where_it_came_from(root: Path) -> None:
    (root / "etc/apt/sources.list").write_text("")
    for folder in (
        "var/cache/apt/archives",
        "var/lib/apt/lists",
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
    ):
        for entry in (root / folder).iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
