"""System calls on the process itself that Python lacks. Linux on any architecture: only libc is called."""

from __future__ import annotations

import ctypes
import os

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def lock_memory(library: ctypes.CDLL) -> bool:
    """Keeps every page that was touched in memory (mlockall(2)): an answer never waits for swap."""
    return bool(library.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) == 0)


def die_with_parent(library: ctypes.CDLL, signal_number: int) -> None:
    library.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def set_name(library: ctypes.CDLL, name: bytes) -> None:
    """At most 15 bytes, as ``ps`` shows it."""
    library.prctl(_PR_SET_NAME, name, 0, 0, 0)


def be_preferred() -> None:
    """Before others at the processor, last to be killed for memory; without the right to it, as everybody."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - pathlib costs memory here
            file.write("-900")
    except OSError:
        return
