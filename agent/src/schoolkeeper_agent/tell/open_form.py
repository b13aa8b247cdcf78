"""Whether somebody here is telling something just now: then no other window of ours comes between (W-23).

A lock of the account's own in its run folder; who has none there is never waited for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_NAME = "schoolkeeper-tell.lock"


@contextlib.contextmanager
def held_open() -> Iterator[None]:
    """While the form is open. Nothing that goes wrong here keeps it from being shown."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            file = stack.enter_context(_path().open("ab"))
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield


def is_open() -> bool:
    try:
        with _path().open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _path() -> Path:
    """In a folder that nobody else can write to: root makes it for each account (XDG Base Directory)."""
    return Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")) / _NAME
