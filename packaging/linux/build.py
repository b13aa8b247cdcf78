"""Builds the Debian packages: `make packages`, or `build.py agent` for one. They land in dist/.

Each package is one tree: our code and every library it needs under /usr/lib/<name>/lib, a launcher in /usr/bin, a
systemd unit, default configuration. Libraries are installed from hashed requirements; nothing is built on the device.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DIST = ROOT / "dist"
LAUNCHER = """#!/bin/sh
# -I: neither the caller's environment nor the current folder decides what code runs as this program.
exec /usr/bin/python3 -I -c 'import sys; sys.path.insert(0, "/usr/lib/{name}/lib"); sys.argv[0] = "{name}"
from {module} import main
sys.exit(main())' "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One .deb: which members of the workspace it holds and which hashed requirements they need."""

    name: str
    folder: str
    members: tuple[str, ...]
    requirements: str
    launchers: tuple[tuple[str, str], ...]
    extra_files: tuple[tuple[str, str], ...] = ()


PACKAGES = {
    "agent": Package(
        name="schoolkeeper-agent",
        folder="agent",
        members=("proto", "agent"),
        requirements="agent.txt",
        launchers=(("schoolkeeper-agent", "schoolkeeper_agent.cli"),),
        extra_files=(("schoolkeeper-session.desktop", "etc/xdg/autostart/schoolkeeper-session.desktop"),),
    ),
    "collector": Package(
        name="schoolkeeper-collector",
        folder="collector",
        members=("proto", "policies", "collector"),
        requirements="collector.txt",
        launchers=(
            ("schoolkeeper-collector", "schoolkeeper_collector.cli"),
            ("schoolkeeper-verify", "schoolkeeper_proto.verify"),
            ("schoolkeeper-policy", "schoolkeeper_policies.cli"),
            ("schoolkeeper-officer", "schoolkeeper_policies.officer.cli"),
        ),
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", nargs="*", choices=[*PACKAGES, []], help="which packages; both by default")
    chosen = parser.parse_args().which or list(PACKAGES)
    if sys.version_info[:2] != (3, 11):
        sys.stderr.write(
            "packages: Python 3.11 is needed, since the libraries are built for Debian 12's Python 3.11\n"
        )
        return 2
    if shutil.which("dpkg-deb") is None:
        sys.stderr.write("packages: dpkg-deb is missing; install the Debian package dpkg\n")
        return 2
    DIST.mkdir(exist_ok=True)
    for name in chosen:
        print(f"  packages  {build(PACKAGES[name])}", flush=True)
    return 0


def build(package: Package) -> str:
    """Builds one package and returns its file's name and size."""
    version = _version(package.folder)
    with tempfile.TemporaryDirectory(prefix="schoolkeeper-package-") as temporary:
        tree = Path(temporary) / "tree"
        tree.mkdir()
        tree.chmod(0o755)
        _libraries(package, tree / "usr/lib" / package.name / "lib")
        _files(package, tree)
        _control(package, tree, version)
        architecture = _architecture()
        target = DIST / f"{package.name}_{version}_{architecture}.deb"
        _run("dpkg-deb", "--root-owner-group", "-Zxz", "-z3", "--build", str(tree), str(target))
    return f"{target.relative_to(ROOT)} ({target.stat().st_size / 1e6:.1f} MB)"


def _libraries(package: Package, target: Path) -> None:
    target.mkdir(parents=True)
    requirements = ROOT / "packaging/requirements" / package.requirements
    uv = [
        str(ROOT / ".venv/bin/uv"),
        "pip",
        "install",
        "--quiet",
        "--python",
        sys.executable,
        "--target",
        str(target),
    ]
    _run(*uv, "--require-hashes", "-r", str(requirements))
    members = [str(ROOT / member) for member in package.members]
    _run(*uv, "--no-deps", "--no-build-isolation", *members)
    shutil.rmtree(target / "bin", ignore_errors=True)
    (target / ".lock").unlink(missing_ok=True)
    installed = f"/usr/lib/{package.name}/lib"
    if not compileall.compile_dir(target, quiet=2, workers=0, stripdir=str(target), prependdir=installed):
        print(
            "  packages  some files of libraries do not compile for this Python; they are not used",
            flush=True,
        )


def _files(package: Package, tree: Path) -> None:
    source = HERE / package.folder
    _put(
        tree,
        "usr/bin",
        0o755,
        {name: LAUNCHER.format(name=package.name, module=m) for name, m in package.launchers},
    )
    unit = f"{package.name}.service"
    _put(tree, "lib/systemd/system", 0o644, {unit: (source / unit).read_text()})
    toml = f"{package.folder}.toml"
    _put(tree, "etc/schoolkeeper", 0o644, {toml: (source / toml).read_text()})
    for name, place in package.extra_files:
        path = Path(place)
        _put(tree, str(path.parent), 0o644, {path.name: (source / name).read_text()})
    documents = {"copyright": (ROOT / "LICENSE").read_text(), "README.md": (HERE / "README.md").read_text()}
    _put(tree, f"usr/share/doc/{package.name}", 0o644, documents)


def _control(package: Package, tree: Path, version: str) -> None:
    size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024
    source = HERE / package.folder
    control = (source / "control").read_text()
    filled = control.format(version=version, architecture=_architecture(), installed_size=size)
    _put(tree, "DEBIAN", 0o644, {"control": filled, "conffiles": (source / "conffiles").read_text()})
    scripts = {name: (source / name).read_text() for name in ("postinst", "prerm", "postrm")}
    _put(tree, "DEBIAN", 0o755, scripts)


def _put(tree: Path, folder: str, mode: int, files: dict[str, str]) -> None:
    target = tree / folder
    target.mkdir(parents=True, exist_ok=True)
    for parent in (target, *target.parents):
        if parent == tree.parent:
            break
        parent.chmod(0o755)
    for name, text in files.items():
        path = target / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)


def _version(folder: str) -> str:
    with (ROOT / folder / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _architecture() -> str:
    return _run("dpkg", "--print-architecture").strip()


def _run(*command: str) -> str:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", "1767225600")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"packages: {' '.join(command[:4])} … failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
