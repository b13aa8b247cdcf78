"""What `.ci/run` makes of its steps' results, with a `make` that does as it is told."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MAKE = """\
#!/bin/sh
echo "$@ lab=$SCHOOLKEEPER_LAB" >>"$CALLS"
for argument; do [ "$argument" != "$FAILING" ] || exit 7; done
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The script, and a `make` on PATH that writes down its arguments and fails for the targets in $FAILING."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    tools = tmp_path / "tools"
    tools.mkdir()
    make = tools / "make"
    make.write_text(
        '#!/bin/sh\necho "$@ lab=$SCHOOLKEEPER_LAB" >>"$CALLS"\nfor a; do [ "$a" != "$FAILING" ] || exit 7; done\n'
    )
    make.chmod(0o755)
    return tmp_path


def run(
    checkout: Path, *arguments: str, failing: str = ""
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the script; return what it said and the calls of make."""
    calls = checkout / "calls"
    environment = os.environ | {
        "PATH": f"{checkout / 'tools'}:{os.environ['PATH']}",
        "CALLS": str(calls),
        "FAILING": failing,
        "SCHOOLKEEPER_LAB": "",
    }
    done = subprocess.run(
        [checkout / ".ci/run", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_the_fast_tier_runs_its_steps_in_order_and_times_them(checkout: Path) -> None:
    done, calls = run(checkout)
    targets = [call.split(" lab=")[0] for call in calls]
    assert [target for target in targets if target != "lab"] == ["setup", "-k lint", "test"]
    assert done.returncode == 0
    assert "test              0 s  passed" in done.stdout


def test_a_failed_step_fails_the_run_and_the_rest_still_runs(checkout: Path) -> None:
    done, calls = run(checkout, failing="lint")
    assert done.returncode == 1
    assert "FAILED (exit 7)" in done.stdout
    assert calls[-1].startswith("test")


def test_without_a_set_up_nothing_else_runs(checkout: Path) -> None:
    done, calls = run(checkout, failing="setup")
    assert (done.returncode, len(calls)) == (1, 1)


def test_the_demo_is_checked_and_cleaned_where_there_is_one(checkout: Path) -> None:
    (checkout / "packaging" / "demo").mkdir(parents=True)
    (checkout / "packaging" / "demo" / "run.py").touch()
    _, calls = run(checkout)
    assert [call.split(" lab=")[0] for call in calls[-2:]] == ["demo ARGS=--check", "demo-clean"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs the lab")
def test_where_the_lab_is_installed_its_tests_may_not_skip(checkout: Path) -> None:
    (checkout / "tools" / "apt-get").symlink_to("/bin/true")
    _, calls = run(checkout)
    assert "test lab=required" in calls
    _, calls = run(checkout, failing="lab")
    assert calls[-1] == "test lab="


def test_a_longer_tier_runs_by_its_name(checkout: Path) -> None:
    done, calls = run(checkout, "chaos")
    assert done.returncode == 0
    assert calls[-1].startswith("chaos")


def test_a_tier_that_does_not_exist_is_refused(checkout: Path) -> None:
    done, calls = run(checkout, "fats")
    assert (done.returncode, calls) == (2, [])
    assert "usage:" in done.stderr
