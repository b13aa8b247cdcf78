"""Whether a file that holds a secret can be read by others than its owner."""

from __future__ import annotations

import os
from pathlib import Path


def readable_by_others(path: Path) -> bool:
    """As ssh looks at a private key: no right for anybody else, of one's own file or as root.

    A file that somebody else owns and shares with this program's group is theirs to decide, as long as not everybody
    may read it. Windows has no such rights in ``st_mode``: False. Raises ``OSError``.
    """
    if os.name != "posix":
        return False
    found = path.stat()
    ours = os.geteuid() in (0, found.st_uid)
    return bool(found.st_mode & (0o077 if ours else 0o007))
