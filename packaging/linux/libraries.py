"""The libraries that a package carries: installed once for each requirements file and kept under .cache/packages/.

What is kept is already trimmed and compiled, so that a build after a change of our own code copies and packs only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from contents import DROPPED_FROM_LIBRARIES, KEPT_LOCALES
from tools import CACHE, HERE, ROOT, run

UV = Path(sys.executable).with_name("uv")


def libraries_of(requirements: str, *, short: bool) -> Path:
    """The folder with everything that this requirements file asks for, installed by hash; ``short``: no docstrings."""
    source = ROOT / "packaging/requirements" / requirements
    folder = CACHE / f"libraries-{Path(requirements).stem}-{_key(source)}"
    if folder.is_dir():
        return folder
    building = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    run(*_uv_install(building), "--require-hashes", "-r", str(source))
    make_plain(building, short=short)
    for other in CACHE.glob(f"libraries-{Path(requirements).stem}-*"):
        shutil.rmtree(other)
    building.rename(folder)
    return folder


def install_members(members: tuple[str, ...], target: Path, *, short: bool) -> None:
    """Our own distributions, built from this checkout; the libraries are not looked at."""
    target.mkdir(parents=True)
    sources = (str(ROOT / member) for member in members)
    run(*_uv_install(target), "--no-deps", "--no-build-isolation", *sources)
    make_plain(target, short=short)


def make_plain(folder: Path, *, short: bool) -> None:
    """Drops what no device needs, sets the modes of files that are only read, and compiles to bytecode."""
    for pattern in DROPPED_FROM_LIBRARIES:
        for path in list(folder.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in folder.glob("babel/locale-data/*.dat"):
        if path.stem.partition("_")[0] not in KEPT_LOCALES:
            path.unlink()
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    # One process in one order: two builds give the same bytes. Unchecked: a start reads no time stamps, and a package
    # never meets a source newer than its bytecode, since dpkg replaces both.
    how = ["--short"] if short else []
    run(sys.executable, "-I", str(HERE / "compile_tree.py"), *how, str(folder))


def _uv_install(target: Path) -> tuple[str, ...]:
    quietly = ("pip", "install", "--quiet", "--link-mode=copy")
    return (str(UV), *quietly, "--python", sys.executable, "--target", str(target))


def _key(requirements: Path) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in (requirements, HERE / "libraries.py", HERE / "contents.py", HERE / "compile_tree.py"):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
