"""Builds the Debian packages: `make packages`, or `build.py agent` for one. They land in dist/.

Each package is one tree: our code and every library it needs under /usr/lib/<name>/lib, programs, manual pages; of a
service its systemd unit and default configuration, too. Two builds of the same sources give the same bytes; a build
whose inputs did not change is not done again.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from contents import PACKAGES, Package
from libraries import libraries_of
from tools import CACHE, DIST, HERE, ROOT, run
from tree import lay_out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("which", nargs="*", metavar="|".join(PACKAGES), help="which packages; all by default")
    parser.add_argument("--out", type=Path, default=DIST, help="where the .deb files go (dist/)")
    parser.add_argument("--version", help="instead of the one in pyproject.toml, to try an upgrade")
    parser.add_argument(
        "--quick", action="store_true", help="compress hardly at all: for a try, not for a release"
    )
    parser.add_argument("--again", action="store_true", help="build even if nothing changed")
    given = parser.parse_args()
    if unknown := set(given.which) - set(PACKAGES):
        parser.error(f"no package {', '.join(sorted(unknown))}: there are {', '.join(PACKAGES)}")
    if complaint := _complaint():
        sys.stderr.write(f"packages: {complaint}\n")
        return 2
    CACHE.mkdir(parents=True, exist_ok=True)
    for name in given.which or PACKAGES:
        package = PACKAGES[name]
        # Two builds in one checkout take turns, and the second finds the first one's work.
        with (CACHE / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            target, built = build(
                package, given.out, given.version or version_of(package), again=given.again, quick=given.quick
            )
        shown = target.relative_to(ROOT) if target.is_relative_to(ROOT) else target
        print(
            f"  packages  {shown} ({target.stat().st_size / 1e6:.1f} MB){'' if built else ', unchanged'}",
            flush=True,
        )
    return 0


def build(
    package: Package, out: Path, version: str, *, again: bool = False, quick: bool = False
) -> tuple[Path, bool]:
    """Builds one package; returns its file and whether there was anything to do."""
    architecture = run("dpkg", "--print-architecture").strip()
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{package.name}_{version}_{architecture}.deb"
    stamp = CACHE / f"{hashlib.sha256(str(target).encode()).hexdigest()[:16]}.inputs"
    inputs = f"{hash_inputs(package)} {version}{' quick' if quick else ''}\n"
    if not again and target.is_file() and stamp.is_file() and stamp.read_text() == inputs:
        return target, False
    libraries = libraries_of(package.requirements, short=package.short)
    with tempfile.TemporaryDirectory(prefix="tree-", dir=CACHE) as temporary:
        tree = Path(temporary) / "tree"
        lay_out(package, libraries, tree, version=version, architecture=architecture)
        unfinished = Path(temporary) / target.name
        # -z1: a quarter of the default's time for a tenth more bytes. One thread: xz cuts blocks by their number.
        how = ("-Zgzip", "-z1") if quick else ("-Zxz", "-z1", "--threads-max=1")
        run("dpkg-deb", "--root-owner-group", *how, "--build", str(tree), str(unfinished))
        shutil.copyfile(unfinished, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)
    stamp.write_text(inputs)
    return target, True


def hash_inputs(package: Package) -> str:
    """One hash over every file that the package is made from."""
    folders = [ROOT / member / "src" for member in package.members] + [HERE / package.folder]
    paths = [path for folder in folders for path in folder.rglob("*") if "__pycache__" not in path.parts]
    paths += HERE.iterdir()
    paths += [ROOT / member / "pyproject.toml" for member in package.members]
    paths += [ROOT / "packaging/requirements" / package.requirements, ROOT / "CHANGELOG.md"]
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(paths):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def version_of(package: Package) -> str:
    """The version in the pyproject.toml of the package's own member, the last."""
    with (ROOT / package.members[-1] / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _complaint() -> str:
    if sys.version_info[:2] != (3, 11):
        return "Python 3.11 is needed, since the libraries are compiled for Debian 12's Python; run `make packages`"
    if shutil.which("dpkg-deb") is None:
        return "dpkg-deb is missing; install the Debian package dpkg"
    return ""


if __name__ == "__main__":
    sys.exit(main())
