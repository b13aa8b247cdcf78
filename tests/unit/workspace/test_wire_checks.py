"""The two checks of the wire, seen to fail: stale generated code, and a change that an older device cannot read."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUF = Path(sys.executable).parent / "buf"


@pytest.fixture
def wire(tmp_path: Path) -> Path:
    """A copy of what the checks read; return the folder of the definitions."""
    shutil.copytree(ROOT / "proto/src/schoolkeeper_proto/v1", tmp_path / "proto/src/schoolkeeper_proto/v1")
    (tmp_path / "packaging/dev").mkdir(parents=True)
    shutil.copy(ROOT / "packaging/dev/generate.py", tmp_path / "packaging/dev")
    shutil.copytree(ROOT / "policies/docs", tmp_path / "policies/docs")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path / "proto/src/schoolkeeper_proto/v1"


def run(wire: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command at the root of the copy."""
    return subprocess.run(command, cwd=wire.parents[3], capture_output=True, text=True, check=False)


def test_generated_code_that_is_stale_missing_or_left_over_is_named(wire: Path) -> None:
    script = "packaging/dev/generate.py"
    assert run(wire, sys.executable, script, "--check").returncode == 0
    (wire / "event_pb2.pyi").write_text("# by hand\n")
    (wire / "policy_pb2.py").unlink()
    (wire / "old_pb2.py").touch()
    done = run(wire, sys.executable, script, "--check")
    assert done.returncode == 1
    for said in (
        "stale: event_pb2.pyi",
        "missing: policy_pb2.py",
        "no longer generated: old_pb2.py",
        "make generate",
    ):
        assert said in done.stderr


def test_a_definition_that_does_not_compile_is_refused_with_its_place(wire: Path) -> None:
    (wire / "event.proto").write_text('syntax = "proto3";\nmessage {\n')
    done = run(wire, sys.executable, "packaging/dev/generate.py", "--check")
    assert done.returncode == 1
    assert "event.proto:2:" in done.stderr


def test_a_field_that_changes_its_number_is_refused(wire: Path) -> None:
    image = wire.parents[3] / "released.binpb"
    assert run(wire, BUF, "build", "-o", image).returncode == 0
    assert run(wire, BUF, "breaking", "--against", image).returncode == 0
    text = (wire / "uplink.proto").read_text()
    (wire / "uplink.proto").write_text(text.replace("uint32 major = 1;", "uint32 major = 901;", 1))
    done = run(wire, BUF, "breaking", "--against", image)
    assert done.returncode != 0
    assert 'Previously present field "1" with name "major"' in done.stdout
