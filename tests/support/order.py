"""Which files run first, so that the processes of a run end together.

xdist hands out whole files, by itself those with the most tests first: the slowest, which have few, would come last
and leave the other processes idle. Here they come first, in the order of this list; no test depends on it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

LONGEST = (
    "lab/test_packages.py",
    "wine/test_windows_agent.py",
    "e2e/test_installed_on_a_school_laptop.py",
    "e2e/test_heartbeat.py",
    "e2e/test_grants.py",
    "e2e/test_faults.py",
    "e2e/test_exception.py",
    "lab/test_sessions.py",
    "lab/test_screen_lock.py",
    "e2e/test_agreement.py",
    "e2e/test_rollout.py",
    "e2e/test_trust_attacks_seen.py",
    "unit/collector_ingest/test_process.py",
    "e2e/test_trust_attacks_independent.py",
    "contracts/test_expiry_contract.py",
    "e2e/console/test_browser.py",
)
"""Below `tests/`; those that keep processors or a test waiting longest, on two cores."""
SLOW_FOLDERS = ("e2e", "lab", "wine", "contracts")
"""What comes next: tests with processes and machines. The others take milliseconds each."""


def longest_first(items: list[pytest.Item], tests: Path) -> None:
    """Sorts in place; the tests of a file stay together and keep their order."""

    def place(item: pytest.Item) -> tuple[int, int]:
        path = item.path.relative_to(tests) if item.path.is_relative_to(tests) else item.path
        name, folder = path.as_posix(), path.parts[0]
        return (
            LONGEST.index(name) if name in LONGEST else len(LONGEST),
            SLOW_FOLDERS.index(folder) if folder in SLOW_FOLDERS else len(SLOW_FOLDERS),
        )

    items.sort(key=place)
