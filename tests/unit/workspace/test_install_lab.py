"""`make lab`: quick when all is there, plain words when it cannot install; nothing is installed here."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "packaging" / "dev" / "install-lab"
pytestmark = pytest.mark.skipif(
    shutil.which("dpkg-query") is None, reason="not a Debian system: no dpkg-query"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can read; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def install(folder: Path, text: str, *, user: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script on a list with `text`, with an apt-get that only fails."""
    script = shutil.copy(SCRIPT, folder / "install-lab")
    (folder / "list").write_text(text)
    (folder / "apt-get").write_text("#!/bin/sh\nexit 9\n")
    (folder / "apt-get").chmod(0o755)
    command = ["bash", str(script), "list"]
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=folder, env={"PATH": path}, user=user, capture_output=True, text=True, check=False
    )


def test_what_is_installed_needs_neither_root_nor_apt(folder: Path) -> None:
    done = install(folder, "# the system's own\ndpkg   # by itself\n\nbash\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "all 2 packages are installed" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_root_it_says_what_is_missing_and_what_to_run(folder: Path) -> None:
    done = install(folder, "bash\nno-such-package\n", user=65534)
    assert done.returncode == 1
    assert "installing 1 of 2 packages: no-such-package" in done.stdout
    assert "sudo make lab" in done.stderr
