"""The example for a repository runs as its README says: on a real pack, with the real command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from schoolkeeper_policies.compile import compile_pack
from schoolkeeper_policies.parse import load_pack

SCRIPT = Path(__file__).parents[3] / "packaging" / "gitops" / "policy-checks"
RULE = """\
  - id: tests.minefield
    description: Minefield does not start.
    why: It is chat in disguise.
    resolution: Ask your teacher.
    safeguarding: true
    decision: block
    match: [{file-name: minefield}]

"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A school's repository: its pack, and the bundle in force of a group, with one safeguarding rule."""
    pack = tmp_path / "policy"
    shutil.copytree(str(files("schoolkeeper_policies") / "packs" / "default"), pack)
    rules = pack / "applications.yaml"
    text = rules.read_text()
    rules.write_text(text.replace("applications:\n", "applications:\n" + RULE, 1))
    command = Path(sys.executable).with_name("schoolkeeper-policy")
    subprocess.run([command, "fmt", pack], check=True, capture_output=True)
    (tmp_path / "in-force").mkdir()
    for group in load_pack(pack).groups:
        bundle = compile_pack(
            pack, school_id="s", group=group.name, version=1, compiled_at_unix_ms=0, pseudonym_key=b"k" * 32
        )
        (tmp_path / "in-force" / f"{group.name}.bundle").write_bytes(bundle)
    return tmp_path


def checks(repository: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = str(Path(sys.executable).with_name("schoolkeeper-policy"))
    return subprocess.run(
        ["sh", str(SCRIPT)],
        cwd=repository,
        env={**os.environ, "SCHOOLKEEPER_POLICY": command, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_change_passes_is_gated_and_is_refused(repository: Path) -> None:
    same = checks(repository)
    assert same.returncode == 0, same.stdout + same.stderr
    assert "nothing changes in" in same.stdout
    rules = repository / "policy" / "applications.yaml"
    strict = rules.read_text()
    weaker = strict.replace("- id: tests.minefield\n", "- id: tests.minefield\n    mode: warn\n", 1)
    assert weaker != strict
    rules.write_text(weaker)
    gated = checks(repository)
    assert gated.returncode == 3, gated.stdout + gated.stderr
    assert "weaker: applications tests.minefield changed [safeguarding]" in gated.stdout
    assert checks(repository, ALLOW_WEAKER="yes").returncode == 0
    rules.write_text(strict.replace("decision: block", "decision: blok", 1))
    wrong = checks(repository)
    assert wrong.returncode == 1
    assert "applications.yaml:" in wrong.stderr
