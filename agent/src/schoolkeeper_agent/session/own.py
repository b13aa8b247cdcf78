"""Which peer is the helper that systemd keeps, and not a program that says so: by the cgroup, which only root assigns.

The unit ``schoolkeeper-session@UID.service`` is the system's, not the person's: whoever kills its process cannot keep
systemd from starting it again, and no process of theirs gets into its cgroup. (A cgroup of that name below their own
``user@UID.service`` is another path.)
"""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

CGROUP = "/system.slice/system-schoolkeeper\\x2dsession.slice/schoolkeeper-session@{user_id}.service"
_PR_SET_DUMPABLE = 4


def is_own(process_id: int, user_id: int, proc_root: Path = Path("/proc")) -> bool:
    """Whether the process that connected is in that unit's cgroup, and still is the one that connected (cgroups(7))."""
    try:
        handle = os.pidfd_open(process_id)
    except (OSError, AttributeError):  # it is gone, or this is not Linux
        return False
    try:
        listed = (proc_root / str(process_id) / "cgroup").read_text()
        ended = select.select([handle], [], [], 0)[
            0
        ]  # a signal of 0 would need CAP_KILL, which the service has not
        if ended:
            return False
    except (OSError, ValueError):
        return False
    finally:
        os.close(handle)
    wanted = CGROUP.format(user_id=user_id)
    paths = {
        line.split(":", 2)[2] for line in listed.splitlines() if line.split(":", 2)[1] in ("", "name=systemd")
    }
    return wanted in paths


def keep_to_itself() -> None:
    """No other process of the account may trace this one or read its memory (prctl(2), PR_SET_DUMPABLE)."""
    if sys.platform == "linux":
        import ctypes  # the service needs none of this

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
