"""Each house rule of packaging/dev/hygiene.py finds what it looks for, in a repository made for the test."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "packaging" / "dev" / "hygiene.py"
HOST = ".".join(("files", "pythonhosted", "org"))
OWN_PATH = "/" + "work/main/thing"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository that keeps every rule."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    for name in ("packaging/dev", "packaging/requirements", "agent/src/schoolkeeper_agent/sensors"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "packaging/dev/hygiene.py")
    for name in ("packaging/dev", "agent", "agent/src/schoolkeeper_agent/sensors"):
        (tmp_path / name / "README.md").write_text("# here\n")
    for name in ("__init__.py", "sensors/clock.py"):
        (tmp_path / "agent/src/schoolkeeper_agent" / name).write_text('"""A part."""\n')
    (tmp_path / "packaging/requirements/dev.in").write_text("# tools\nRuff[extra]>=1\n")
    (tmp_path / "packaging/requirements/dev.txt").write_text("ruff==1.2 \\\n    --hash=sha256:00\n")
    return tmp_path


def check(repository: Path) -> subprocess.CompletedProcess[str]:
    """Run the script that lies in the repository."""
    command = [sys.executable, repository / "packaging/dev/hygiene.py"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_clean_repository_passes(repository: Path) -> None:
    done = check(repository)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("agent/notes.md", f"one\nsee https://{HOST}/x\n", "agent/notes.md:2: names the registry"),
        ("agent/notes.md", f"cd {OWN_PATH}\n", "agent/notes.md:1: names the machine's own path"),
        (
            "packaging/requirements/dev.txt",
            "ruff==1.2\n--index-url x\n",
            "dev.txt:2: says where to fetch from",
        ),
        ("packaging/requirements/dev.in", "ruff\nmypy\n", "dev.in:2: mypy is not in dev.txt"),
        ("tools/package-lock.json", "{}\n", "tools/package-lock.json: lock files are not committed"),
        ("packaging/__init__.py", "", "packaging/__init__.py: no __init__.py here"),
        ("tests/unit/__init__.py", "", "tests/unit/__init__.py: no __init__.py here"),
        ("agent/src/schoolkeeper_agent/linux/usb.py", "", "schoolkeeper_agent/linux/README.md: missing"),
        ("agent/big.bin", "x" * 1_500_001, "agent/big.bin: 1500001 bytes"),
    ],
)
def test_each_rule_names_file_line_and_remedy(repository: Path, name: str, text: str, finding: str) -> None:
    path = repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    done = check(repository)
    assert done.returncode == 1
    assert finding in done.stderr


def test_the_kinds_of_tests_are_described_in_one_place(repository: Path) -> None:
    (repository / "tests/unit/spool").mkdir(parents=True)
    (repository / "tests/unit/spool/test_spool.py").touch()
    assert check(repository).returncode == 0
    (repository / "tests/fakes").mkdir()
    (repository / "tests/fakes/clock.py").touch()
    assert "tests/fakes/README.md: missing" in check(repository).stderr


def test_what_git_ignores_is_nobody_s_business(repository: Path) -> None:
    (repository / ".gitignore").write_text("/build/\n")
    (repository / "build").mkdir()
    (repository / "build" / "uv.lock").write_text(HOST)
    assert check(repository).returncode == 0
