"""Whether an officer's key file can be read by others, and whether its stick can keep anybody from that."""

from __future__ import annotations

import os
from pathlib import Path

from schoolkeeper_proto.private_files import readable_by_others

WITHOUT_RIGHTS = frozenset({"exfat", "fuseblk", "iso9660", "msdos", "ntfs", "ntfs3", "udf", "vfat"})
"""File systems of sticks and discs that know no owner: what `stat` shows of theirs is the mount's, not the file's."""
_MOUNTS = Path("/proc/self/mountinfo")


def exposed(path: Path, mounts: Path = _MOUNTS) -> bool:
    """As ssh looks at a key. Not on a stick that knows no rights: there the passphrase protects. Raises ``OSError``."""
    return readable_by_others(path) and _file_system(path, mounts) not in WITHOUT_RIGHTS


def _file_system(path: Path, mounts: Path) -> str:
    """Its type; empty where the machine does not say (proc(5), mountinfo)."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        if after and before.split()[2] == wanted:
            return after.split()[0]
    return ""
