"""Lays out a package's tree: libraries, our code, programs, manuals, control files; of a service its unit, too."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from pathlib import Path

from contents import Package
from libraries import install_members
from tools import HERE, ROOT, TIMESTAMP

MAINTAINER = "The Schoolkeeper founders <maintainers@schoolkeeper.invalid>"
PROGRAM = """#!/bin/sh
# -I: neither the caller's environment nor the current folder decides what code runs as this program.
exec /usr/lib/{package}/bin/python3 -I -c 'import sys; sys.argv[0] = "{program}"
from {module} import main
sys.exit(main())' "$@"
"""
ENVIRONMENT = """home = /usr/bin
include-system-site-packages = false
version = 3.11
"""
CHANGELOG = """{name} ({version}) unstable; urgency=medium

  * See CHANGELOG.md in this folder.

 -- {maintainer}  Thu, 01 Jan 2026 00:00:00 +0000
"""


def lay_out(package: Package, libraries: Path, tree: Path, *, version: str, architecture: str) -> None:
    """Everything below ``tree`` as it will lie on the device, with one date and plain modes."""
    _code(package, libraries, tree / "usr/lib" / package.name, tree.with_name("members"))
    source = HERE / package.folder
    for place, module in package.programs:
        text = PROGRAM.format(package=package.name, program=Path(place).name, module=module)
        _put(tree, place, text, mode=0o755)
    for name, place in package.files:
        _put(tree, place, (source / name).read_text())
    if package.service:
        unit = f"{package.name}.service"
        _put(tree, f"lib/systemd/system/{unit}", (source / unit).read_text())
        toml = f"{package.folder}.toml"
        _put(tree, f"etc/schoolkeeper/{toml}", (source / toml).read_text())
    _documents(package, tree, version)
    if package.service:
        _list_of_files(tree, tree / "usr/lib" / package.name, version)
    _control(package, tree, version, architecture)
    _one_date(tree)


def _code(package: Package, libraries: Path, home: Path, members: Path) -> None:
    """A virtual environment of Debian's Python: what it starts as ``sys.executable`` finds the same libraries."""
    target = home / "lib/python3.11/site-packages"
    # Hard links: the cached libraries are only read, and their modes and dates are the same everywhere.
    shutil.copytree(libraries, target, copy_function=os.link)
    install_members(package.members, members, short=package.short)
    shutil.copytree(members, target, dirs_exist_ok=True)
    (home / "bin").mkdir()
    (home / "bin/python3").symlink_to("../../../bin/python3")
    _put(home, "pyvenv.cfg", ENVIRONMENT)


def _list_of_files(tree: Path, home: Path, version: str) -> None:
    """What lies on the device and must not change: officers sign the hash of this list with the package's release."""
    _put(home, "package-version", f"{version}\n")
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    listed = [
        path for path in files if path.relative_to(tree).parts[0] != "etc"
    ]  # settings are the administrator's
    lines = [f"{_sha256(path)}  {path.relative_to(tree)}\n" for path in listed]
    _put(home, "files.sha256", "".join(lines))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _documents(package: Package, tree: Path, version: str) -> None:
    documents = f"usr/share/doc/{package.name}"
    _put(tree, f"{documents}/copyright", (HERE / "copyright").read_text())
    _put(tree, f"{documents}/README.md", (HERE / "README.md").read_text())
    _put(tree, f"{documents}/CHANGELOG.md", (ROOT / "CHANGELOG.md").read_text())
    changes = CHANGELOG.format(name=package.name, version=version, maintainer=MAINTAINER)
    _put(tree, f"{documents}/changelog.gz", _packed(changes))
    for name in package.manuals:
        page = (HERE / package.folder / name).read_text().replace("@VERSION@", version)
        _put(tree, f"usr/share/man/man{name[-1]}/{name}.gz", _packed(page))
    overrides = (HERE / package.folder / "lintian-overrides").read_text()
    _put(tree, f"usr/share/lintian/overrides/{package.name}", overrides)


def _control(package: Package, tree: Path, version: str, architecture: str) -> None:
    # Policy 5.6.20: each file rounded up to whole KiB; the same figure on every file system, unlike du's.
    size = sum(-(-path.stat().st_size // 1024) for path in tree.rglob("*") if path.is_file())
    source = HERE / package.folder
    filled = (source / "control").read_text().format(
        version=version, architecture=architecture, installed_size=size, maintainer=MAINTAINER
    )  # fmt: skip
    _put(tree, "DEBIAN/control", filled)
    if not package.service:
        return
    in_etc = sorted(f"/{path.relative_to(tree)}\n" for path in (tree / "etc").rglob("*") if path.is_file())
    _put(tree, "DEBIAN/conffiles", "".join(in_etc))
    for name in ("postinst", "prerm", "postrm"):
        _put(tree, f"DEBIAN/{name}", (source / name).read_text(), mode=0o755)


def _packed(text: str) -> bytes:
    return gzip.compress(text.encode(), 9, mtime=0)


def _put(tree: Path, place: str, content: str | bytes, *, mode: int = 0o644) -> None:
    path = tree / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)


def _one_date(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (TIMESTAMP, TIMESTAMP), follow_symlinks=False)
