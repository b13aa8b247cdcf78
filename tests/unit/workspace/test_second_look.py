"""A test that passes alone is named as unsteady; what fails again, or fails in numbers, stays a failure."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
BROKEN = "def test_broken():\n    raise AssertionError\n"
UNSTEADY = (
    "from pathlib import Path\n\n\ndef test_at_the_second_try():\n"
    "    was = Path(__file__).with_suffix('.seen')\n    seen = was.exists()\n    was.touch()\n    assert seen\n"
)


@pytest.fixture(scope="module")
def second_look() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "second_look", ROOT / "packaging" / "dev" / "second_look.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_what_passes_alone_is_let_through(
    second_look: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    unsteady, broken = tmp_path / "test_unsteady.py", tmp_path / "test_broken.py"
    unsteady.write_text(UNSTEADY)
    broken.write_text(BROKEN)
    tests = [f"{unsteady}::test_at_the_second_try", f"{broken}::test_broken"]
    assert (
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-n", "0", tests[0]], check=False).returncode
        == 1
    )
    assert second_look.look_again(1, tests[:1]) == 0
    assert f"UNSTEADY {tests[0]}" in capfd.readouterr().out
    assert second_look.look_again(1, tests) == 1, "one of them is broken"
    said = capfd.readouterr().out
    assert f"UNSTEADY {tests[0]}" in said
    assert f"UNSTEADY {tests[1]}" not in said


@pytest.mark.parametrize(("status", "failed"), [(0, 0), (1, 0), (1, 6), (2, 1), (4, 1), (5, 1)])
def test_a_run_that_could_not_be_or_failed_in_numbers_is_not_looked_at_again(
    second_look: ModuleType, status: int, failed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert second_look.look_again(status, ["no/such/test.py::test"] * failed) == status
    assert "second look" not in capfd.readouterr().out
