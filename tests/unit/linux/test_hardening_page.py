"""agent/docs/hardening.md gives the reason for each privilege that the packaged units are left with."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UNITS = ROOT / "packaging/linux/agent"
PAGE = (ROOT / "agent/docs/hardening.md").read_text()
COLUMNS = {"schoolkeeper-agent.service": 1, "schoolkeeper-guard@.service": 2}
CLOSED = "–"


def _rows() -> dict[str, list[str]]:
    """Line of systemd-analyze -> the row's cells."""
    rows = (re.split(r"(?<!\\)\|", line)[1:-1] for line in PAGE.splitlines() if line.startswith("| `"))
    cells = ([cell.strip().replace("\\|", "|") for cell in row] for row in rows)
    return {row[0].strip("`"): row for row in cells if "=" in row[0]}


@pytest.mark.parametrize("unit", COLUMNS)
def test_every_open_line_has_its_reason_and_the_rate_is_the_page_s(unit: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    asked = ("systemd-analyze", "security", "--offline=true", "--no-pager")
    done = subprocess.run([*asked, "--json=short", UNITS / unit], capture_output=True, text=True, check=True)
    found = {line["name"]: line["exposure"] for line in json.loads(done.stdout)}
    reasons = {name: row[COLUMNS[unit]] for name, row in _rows().items()}
    # No mark: it rates nothing (what holds for root alone).
    still_open = {name for name, exposure in found.items() if exposure is not None}
    assert {name for name, reason in reasons.items() if reason != CLOSED and name in found} == still_open

    rated = subprocess.run([*asked, UNITS / unit], capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Overall exposure level .*: ([0-9.]+) ", rated)
    assert rate
    said = re.search(r"rates the service ([0-9.]+) and the guard ([0-9.]+)", " ".join(PAGE.split()))
    assert said
    assert float(rate[1]) <= float(said[COLUMNS[unit]]) < 3.0


@pytest.mark.parametrize("unit", COLUMNS)
def test_each_capability_of_a_unit_is_explained_in_it(unit: str) -> None:
    lines = (UNITS / unit).read_text().splitlines()
    granted = next(line.partition("=")[2] for line in lines if line.startswith("CapabilityBoundingSet="))
    explained = [line.split()[1] for line in lines if re.match(r"#   [A-Z_]+  ", line)]
    assert [f"CAP_{name}" for name in explained] == granted.split()
