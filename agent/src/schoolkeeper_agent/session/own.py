"""Which peer is the helper that systemd keeps, and not a program that says so: by the cgroup, which only root assigns.

The unit ``schoolkeeper-session@UID.service`` is the system's, not the person's: whoever kills its process cannot keep
systemd from starting it again, and no process of theirs gets into its cgroup. (A cgroup of that name below their own
``user@UID.service`` is another path.)
"""

from __future__ import annotations

import sys
from pathlib import Path

from schoolkeeper_agent.peers import cgroups_of

CGROUP = "/system.slice/system-schoolkeeper\\x2dsession.slice/schoolkeeper-session@{user_id}.service"
_PR_SET_DUMPABLE = 4


def is_own(process_id: int, user_id: int, proc_root: Path = Path("/proc")) -> bool:
    """Whether the process that connected is in that unit's cgroup, and still is the one that connected."""
    return CGROUP.format(user_id=user_id) in cgroups_of(process_id, proc_root)


def keep_to_itself() -> None:
    """No other process of the account may trace this one or read its memory (prctl(2), PR_SET_DUMPABLE)."""
    if sys.platform == "linux":
        import ctypes  # the service needs none of this

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
