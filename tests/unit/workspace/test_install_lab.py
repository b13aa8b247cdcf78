"""`make lab`: quick when all is there, plain words when it cannot install; nothing is installed here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "packaging" / "dev" / "install-lab"
pytestmark = pytest.mark.skipif(
    shutil.which("dpkg-query") is None, reason="not a Debian system: no dpkg-query"
)


def install(tmp_path: Path, text: str, *, user: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a copy of the script on a list with `text`, with an apt-get that only fails."""
    tmp_path.chmod(0o755)
    script = shutil.copy(SCRIPT, tmp_path / "install-lab")
    (tmp_path / "list").write_text(text)
    (tmp_path / "apt-get").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "apt-get").chmod(0o755)
    command = ["bash", str(script), "list"]
    path = f"{tmp_path}:{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=tmp_path, env={"PATH": path}, user=user, capture_output=True, text=True, check=False
    )


def test_what_is_installed_needs_neither_root_nor_apt(tmp_path: Path) -> None:
    done = install(tmp_path, "# the system's own\ndpkg   # by itself\n\nbash\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "all 2 packages are installed" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_root_it_says_what_is_missing_and_what_to_run(tmp_path: Path) -> None:
    for parent in (tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    done = install(tmp_path, "bash\nno-such-package\n", user=65534)
    assert done.returncode == 1
    assert "installing 1 of 2 packages: no-such-package" in done.stdout
    assert "sudo make lab" in done.stderr
