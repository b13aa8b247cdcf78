"""Whether this machine can run the lab's tests, and if not, why: the reason that a skipped test prints."""

import os
from collections.abc import Callable, Sequence

import pytest

from support.lab.commands import missing_tools


def need(*, tools: Sequence[str] = (), built: Callable[[], bool] = lambda: True, what: str = "") -> None:
    """Skip the calling test unless root, ``tools`` and the built ``what`` are there.

    With ``SCHOOLKEEPER_LAB=required`` in the environment (as in CI) it fails instead: there, a skipped test would
    be a gap that nobody sees.
    """
    reasons = []
    if os.geteuid() != 0:
        reasons.append("needs root")
    if missing := missing_tools(tools):
        reasons.append(f"not installed: {', '.join(missing)} (`make lab` installs them)")
    elif not built():
        reasons.append(f"{what} not built (`make lab` builds it)")
    if not reasons:
        return
    message = "the lab: " + "; ".join(reasons)
    if os.environ.get("SCHOOLKEEPER_LAB") == "required":
        pytest.fail(message)
    pytest.skip(message)
