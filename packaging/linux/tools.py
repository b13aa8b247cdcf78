"""What the builder's files share: places, and running a program with an error that shows what it said."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DIST = ROOT / "dist"
CACHE = Path(os.environ.get("SCHOOLKEEPER_PACKAGES_CACHE") or ROOT / ".cache/packages")

TIMESTAMP = 1767225600
"""Every file in a package is dated 1 January 2026: a date of its own would make two builds differ."""


def run(*command: str) -> str:
    """Standard output of a program; ends the build with what it said if it fails."""
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(TIMESTAMP),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"packages: {' '.join(command[:4])} … failed:\n{done.stdout}{done.stderr}")
    return done.stdout
