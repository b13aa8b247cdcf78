"""Suites of the seams, run by Windows' own Python under Wine: the files that Linux runs, and what only Windows has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.lab.windows import Wine, windows_path

TESTS = Path(__file__).resolve().parents[1]
SUITES = (
    "contracts/test_system_contract.py",
    "contracts/test_spool_contract.py",
    "wine/inside/windows_parts.py",
)

pytestmark = [pytest.mark.wine, pytest.mark.timeout(600)]


def test_the_suites_of_the_seams_hold_on_windows_python(wine: Wine) -> None:
    files = [windows_path(TESTS / one) for one in SUITES]
    settings = windows_path(TESTS / "wine" / "contracts.ini")
    done = wine.run(wine.python, "-X", "utf8", "-m", "pytest", "-q", "-c", settings, *files)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed|^([.s]+)", done.stdout, re.MULTILINE)
    assert passed, done.stdout
