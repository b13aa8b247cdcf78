"""The suite's own settings, seen by running pytest on a small suite with this conftest."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = ("requirements", "faults", "order", "shared", "shared_keeper", "warm", "warm_keeper")
"""What the conftest imports of `support`."""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A copy of the settings, the conftest and its helpers, with no test yet."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests" / "support").mkdir(parents=True)
    for name in ("conftest", *(f"support/{part}" for part in SUPPORT)):
        shutil.copy(ROOT / "tests" / f"{name}.py", tmp_path / "tests" / f"{name}.py")
    shutil.copytree(ROOT / "tests" / "data", tmp_path / "tests" / "data")
    return tmp_path


def run(suite: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on one file with `text`."""
    (suite / "tests" / "test_it.py").write_text(f"import pytest\n\n{text}")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "SCHOOLKEEPER_FAULT", "SCHOOLKEEPER_SECOND"))
    }
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "pytest", "-p", "pytest_timeout", "-p", "xdist.plugin", *arguments]
    return subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_run_says_which_demands_it_proved(suite: Path, workers: str) -> None:
    done = run(
        suite,
        "@pytest.mark.requirement('T-44', 'T-12')\ndef test_a(): pass\n"
        "@pytest.mark.requirement('T-12')\ndef test_b(): assert False\n"
        "@pytest.mark.requirement('W-72')\ndef test_c(): pytest.skip('no seat')\n",
        "-n",
        workers,
    )
    assert "T-44    proved" in done.stdout
    assert "T-12    failed" in done.stdout
    assert "1 proved, 1 failed, 1 skipped" in done.stdout
    assert "no seat" in done.stdout  # a skip prints its reason
    rows = {
        row["id"]: row for row in json.loads((suite / ".cache/requirements-proved.json").read_text())["rows"]
    }
    assert rows["T-44"]["tests"] == {"tests/test_it.py::test_a": "passed"}
    assert rows["W-72"]["state"] == "skipped"


def test_a_mark_that_nobody_could_look_up_stops_the_run(suite: Path) -> None:
    done = run(suite, "@pytest.mark.requirement('T-4444')\ndef test_a(): pass\n")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "tests/test_it.py::test_a: requirement('T-4444') is no id" in done.stderr


def test_long_runs_are_left_out_unless_named(suite: Path) -> None:
    marks = ("chaos", "bench", "laptop")
    text = "\n".join(f"@pytest.mark.{mark}\ndef test_{mark}(): pass" for mark in marks)
    assert "3 deselected" in run(suite, text).stdout
    assert "1 passed, 2 deselected" in run(suite, text, "-m", "chaos").stdout


def test_a_test_that_hangs_ends(suite: Path) -> None:
    done = run(suite, "import time\ndef test_a(): time.sleep(60)\n", "--timeout", "1")
    assert done.returncode != 0
    assert "Timeout" in done.stdout + done.stderr


def test_a_mark_with_a_slip_of_the_pen_is_refused(suite: Path) -> None:
    assert (
        "'requirment' not found in `markers`"
        in run(suite, "@pytest.mark.requirment('T-44')\ndef test_a(): pass\n").stdout
    )


SEEDED = "@pytest.mark.seeds(short=2, long=5)\ndef test_a(seed): print('seed is', seed)\n"


def test_fault_tests_have_few_seeds_at_first_and_many_random_ones_in_the_long_run(suite: Path) -> None:
    fast = run(suite, SEEDED)
    assert "2 passed" in fast.stdout
    runs = [run(suite, SEEDED, "-m", "chaos", "-v", "-n", workers) for workers in ("0", "2")]
    assert all("5 passed" in done.stdout for done in runs), runs[0].stdout + runs[1].stdout
    names = [{line.split("[")[1] for line in d.stdout.splitlines() if "seed-" in line} for d in runs]
    assert names[0] != names[1], "each long run has other seeds"
    assert "3 passed" in run(suite, SEEDED, "-m", "chaos", "--fault-rounds", "3").stdout


@pytest.mark.parametrize("marks", ["chaos", "not chaos"])
def test_a_failure_is_seen_again_by_its_seed(suite: Path, marks: str) -> None:
    done = run(suite, SEEDED, "-m", marks, "--fault-seed", "4711", "-rA")
    assert "1 passed" in done.stdout
    assert "seed is 4711" in done.stdout
