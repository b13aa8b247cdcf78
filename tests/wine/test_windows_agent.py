"""The agent on Windows' Python: suites of the seams, and a real collector (sealed there, opened here, proved).

One file, and so one process: they share the registry of one Wine.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from schoolkeeper_proto import model
from support.lab.windows import Wine, windows_path
from support.school_stage import until
from support.windows_stage import WindowsStage

pytestmark = [pytest.mark.wine, pytest.mark.timeout(900)]
TESTS = Path(__file__).resolve().parents[1]
SUITES = (
    "contracts/test_system_contract.py",
    "contracts/test_spool_contract.py",
    "wine/inside/windows_parts.py",
)
SET = """
import sys, winreg
with winreg.CreateKey(winreg.HKEY_LOCAL_MACHINE, sys.argv[1]) as key:
    winreg.SetValueEx(key, sys.argv[2], 0, winreg.REG_DWORD, int(sys.argv[3]))
"""
FVE = r"SYSTEM\\CurrentControlSet\\Policies\\Microsoft\\FVE"


@pytest.fixture
def stage(tmp_path: Path, wine: Wine) -> Iterator[WindowsStage]:
    made = WindowsStage(folder=tmp_path, wine=wine)
    try:
        made.init()
        made.start_collector()
        yield made
    finally:
        made.close()
        wine.run_python(SET, FVE, "RDVDenyWriteAccess", "0")


def test_a_windows_device_enrols_reports_and_loses_nothing_when_it_is_killed(stage: WindowsStage) -> None:
    stage.wine.run_python(SET, FVE, "RDVDenyWriteAccess", "1")
    stage.enrol()
    key = (stage.state / "identity" / "device.key").read_bytes()
    assert key.startswith(b"schoolkeeper-dpapi-1\n")
    assert b"PRIVATE KEY" not in key

    stage.start_agent()
    wanted = {"agent.started", "policy.applied", "heartbeat", "posture"}
    until(lambda: wanted <= set(stage.kinds()), 120, "a heartbeat of the Windows device is stored")
    until(lambda: stage.pending() == 0, 120, "delivered with a proof")
    status = stage.status()
    assert (status["connected"], status["proof_failure"]) == (True, "")
    assert int(str(status["ledger_size"])) >= 1
    assert "preview" in str(status["version"])
    assert "preview" in str(status["mode"])
    said = stage.tell_agent("status").stdout
    assert "verified up to entry" in said
    assert "NO  media" in said
    assert "rules media.encrypted-only" in said
    assert found(stage, "removable-media") is model.PostureResult.PASS
    assert found(stage, "disk-encryption") is model.PostureResult.UNKNOWN
    applied = next(
        one.event.body for one in stage.stored() if isinstance(one.event.body, model.PolicyApplied)
    )
    assert any(
        line.startswith("media: the preview for Windows only reports") for line in applied.not_enforceable
    )

    stage.stop_collector()
    stage.wine.run_python(SET, FVE, "RDVDenyWriteAccess", "0")
    stage.terminate_agent()
    stage.start_agent()
    until(lambda: stage.pending() > 2, 120, "events wait in the spool")
    stage.terminate_agent()
    stage.start_collector()
    stage.start_agent()
    until(lambda: stage.kinds().count("agent.killed") == 2, 120, "both ends are told")
    until(lambda: stage.kinds().count("heartbeat") == 3, 120, "each run's heartbeat is stored")
    until(lambda: stage.pending() == 0, 120, "delivered with a proof")
    assert found(stage, "removable-media") is model.PostureResult.FAIL
    assert stage.kinds().count("agent.started") == 3
    assert max(Counter(one.event.id for one in stage.stored()).values()) == 1, "nothing is stored twice"
    spool = stage.status()["spool"]
    assert isinstance(spool, dict)
    assert (spool["lost_events"], spool["evicted_events"], spool["set_aside_events"]) == (0, 0, 0)

    assert stage.stop_agent() == 0
    until(lambda: "NOT running" in stage.tell_agent("status").stdout, 30, "it ended in order")
    assert json.loads(stage.tell_agent("status", "--json").stdout)["problems"] == []
    stage.stop_collector()
    stage.collect("fsck")


def found(stage: WindowsStage, check: str) -> model.PostureResult:
    """The last result of a check that the collector holds."""
    bodies = [one.event.body for one in stage.stored()]
    return [one.result for one in bodies if isinstance(one, model.Posture) and one.check == check][-1]


def test_the_suites_of_the_seams_hold_on_windows_python(wine: Wine) -> None:
    files = [windows_path(TESTS / one) for one in SUITES]
    settings = windows_path(TESTS / "wine" / "contracts.ini")
    done = wine.run(wine.python, "-X", "utf8", "-m", "pytest", "-q", "-c", settings, *files)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed|^([.s]+)", done.stdout, re.MULTILINE)
    assert passed, done.stdout
