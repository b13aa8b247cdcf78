"""Have pytest compile the tests once, before each of its processes would: `prepare_tests.py`.

pytest rewrites the asserts of a test file when it first imports it, which takes ten times as long as the import, and
keeps the result beside it. In a fresh checkout every process of a run would rewrite all of them by itself; here two
processes take half each. Quick when nothing changed; what cannot be imported is left for the run to say.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TAG = f"{sys.implementation.cache_tag}-pytest-{pytest.__version__}"
FEW = 20
"""So many take less time than the start of two more processes."""
PROCESSES = 2


def stale(tests: Path) -> list[Path]:
    """Test files that changed since pytest compiled them."""
    return [path for path in sorted(tests.rglob("test_*.py")) if not _is_compiled(path)]


def _is_compiled(path: Path) -> bool:
    kept = path.parent / "__pycache__" / f"{path.stem}.{TAG}.pyc"
    return kept.exists() and kept.stat().st_mtime >= path.stat().st_mtime


def main() -> int:
    """Always 0: a file that is broken is the run's to report."""
    found = stale(ROOT / "tests")
    if len(found) > FEW:
        parts = [found[part::PROCESSES] for part in range(PROCESSES)]
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--collect-only",
            "-p",
            "no:cacheprovider",
            "-n",
            "0",
        ]
        # As a second look, they leave the notes of runs as they are.
        env = {**os.environ, "SCHOOLKEEPER_SECOND_LOOK": "1"}
        quiet = subprocess.DEVNULL
        running = [
            subprocess.Popen([*command, *part], cwd=ROOT, env=env, stdout=quiet, stderr=quiet)
            for part in parts
        ]
        for process in running:
            process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
