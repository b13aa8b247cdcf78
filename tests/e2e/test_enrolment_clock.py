"""A laptop whose clock died, or was set years ahead: real programs as processes, the clock bent by libfaketime."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.school_stage import BIN, Stage

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed: `make lab`"),
]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    made.init()
    made.start_collector()
    yield made
    assert made.collector is not None
    made.collector.terminate()
    made.collector.wait(60)


def agent_at(stage: Stage, when: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["faketime", "-f", when, BIN / "schoolkeeper-agent", "--config", stage.config, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("when", "said"), [("@1975-03-01 10:00:00", "behind"), ("@2061-03-01 10:00:00", "ahead of")]
)
def test_a_clock_off_by_decades_is_named_and_does_not_keep_a_device_out(
    stage: Stage, when: str, said: str
) -> None:
    printed = stage.collect("token", "create", "--group", "ks2-laptops")
    token = re.search(r"\bsk1-\S+", printed)
    assert token
    enrol = ["enrol", f"127.0.0.1:{stage.enrol_port}", "--token", token.group()]
    refused = agent_at(stage, when, *enrol)
    assert refused.returncode == 1
    assert "clock-off" in refused.stderr
    assert f"years {said} the collector's" in refused.stderr
    assert "timedatectl" in refused.stderr
    accepted = agent_at(stage, when, *enrol, "--accept-clock")
    assert accepted.returncode == 0, accepted.stderr
    doctor = agent_at(stage, when, "doctor")
    assert re.search(rf"fault +clock .*{said} the school's signed time", doctor.stdout), doctor.stdout
    assert re.search(r"ok +uplink .*takes this device's certificate", doctor.stdout), doctor.stdout
    assert (
        json.loads((stage.state / "identity" / "identity.json").read_text())["school_id"] == "tests.example"
    )
    right = stage.tell_agent("doctor")
    assert re.search(r"ok +clock ", right.stdout), right.stdout
