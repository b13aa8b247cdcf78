"""The console as a process writes the same kind of log as its parent: JSON lines, nothing beside them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from support.ports import free_port
from support.school import School

COMMAND = (sys.executable, "-m", "schoolkeeper_collector.console")


def environment(tmp_path: Path, state: Path) -> dict[str, str]:
    return {
        **os.environ,
        "SCHOOLKEEPER_CONFIG": os.devnull,
        "SCHOOLKEEPER_STATE_DIR": str(state),
        "SCHOOLKEEPER_CONSOLE_LISTEN": f"127.0.0.1:{free_port()}",
    }


def test_every_line_is_json(tmp_path: Path) -> None:
    school = School(tmp_path / "collector")
    school.close()
    process = subprocess.Popen(
        COMMAND, env=environment(tmp_path, school.folder), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "running" in line:
            process.send_signal(signal.SIGTERM)
    process.wait(30)
    told = [json.loads(line) for line in lines]
    assert any("Uvicorn running" in entry["event"] for entry in told), told


def test_a_start_that_fails_is_a_line_of_the_log_too(tmp_path: Path) -> None:
    done = subprocess.run(
        COMMAND, env=environment(tmp_path, tmp_path / "nothing"), capture_output=True, text=True, check=False
    )
    (line,) = done.stderr.splitlines()
    entry = json.loads(line)
    assert (done.returncode, entry["event"], entry["level"]) == (1, "console cannot start", "critical")
    assert "nothing" in entry["because"]
