"""What `status` says while the service waits to be enrolled: the real service, as a process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from schoolkeeper_agent.waiting import NAME, WaitingNote, read_waiting, words
from support.ports import free_port
from support.school_stage import Stage, until

AGENT = Path(sys.executable).with_name("schoolkeeper-agent")
RUN = (
    "import sys; from pathlib import Path; from schoolkeeper_agent import cli, enrol_unattended as u\n"
    "defaults = u.enrol_unattended.__kwdefaults__; defaults['preseed'] = Path(sys.argv.pop(1))\n"
    "sys.exit(cli.main(sys.argv[1:]))"
)
"""The service as it is installed, with the enrolment file of this test instead of the machine's."""


def closed_address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.mark.timeout(300)
def test_status_says_that_it_waits_for_enrolment_since_when_and_why(tmp_path: Path) -> None:
    stage, address = Stage(tmp_path), closed_address()
    preseed = tmp_path / "enrol.toml"
    assert "NOT running" in stage.tell_agent("status").stdout
    running = subprocess.Popen([sys.executable, "-c", RUN, preseed, "--config", stage.config, "run"])
    try:
        until(lambda: "Last try" in stage.tell_agent("status").stdout, 60, "it says that it waits")
        said = stage.tell_agent("status")
        assert said.returncode == 1, "waiting is not fine"
        assert "The agent is waiting for enrolment since 20" in said.stdout
        assert "Nothing is seen or enforced now" in said.stdout
        assert f"not enrolled: waiting for {preseed}" in said.stdout
        token = "sk1-" + "A" * 20
        preseed.write_text(f'addresses = ["{address}"]\ntoken = "{token}"\n')
        until(lambda: "token" in stage.tell_agent("status").stdout, 60, "the file was read")
        assert token not in stage.tell_agent("status").stdout
        found = json.loads(stage.tell_agent("status", "--json").stdout)
        assert found["running"] is False
        assert found["waiting"]["what"] == "enrolment"
        assert found["waiting"]["since_unix_ms"] <= found["waiting"]["tried_unix_ms"]
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    assert (tmp_path / "run" / NAME).exists()
    assert "NOT running" in stage.tell_agent("status").stdout, "a dead service waits for nothing"


def test_a_note_counts_while_its_writer_lives_and_is_gone_at_its_end(tmp_path: Path) -> None:
    note = WaitingNote(tmp_path, "enrolment", 1_000)
    waiting = read_waiting(tmp_path)
    assert waiting is not None
    assert words(waiting).endswith("The first try is under way.\n")
    for number in range(3):
        note.tried(f"reason {number}", 2_000 + number)
    waiting = read_waiting(tmp_path)
    assert waiting is not None
    assert (waiting.since_unix_ms, waiting.tried_unix_ms, waiting.because) == (1_000, 2_002, "reason 2")
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0
    note.close()
    assert read_waiting(tmp_path) is None
    (tmp_path / NAME).write_text("{")
    assert read_waiting(tmp_path) is None
