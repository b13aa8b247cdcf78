"""`--version` of each program says what is installed."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support import warm

ROOT = Path(__file__).resolve().parents[3]
MEMBERS = {
    "schoolkeeper-agent": "agent",
    "schoolkeeper-collector": "collector",
    "schoolkeeper-officer": "policies",
    "schoolkeeper-policy": "policies",
    "schoolkeeper-verify": "proto",
}


@pytest.mark.parametrize("program", MEMBERS)
def test_a_program_says_its_version_and_ends(program: str) -> None:
    if program in warm.PROGRAMS:
        done = warm.run(program, "--version")
    else:
        command = [Path(sys.executable).with_name(program), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    with (ROOT / MEMBERS[program] / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{program} {version}\n", "")
