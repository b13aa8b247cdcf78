"""What a started agent still waits for (an enrolment, a policy), told to ``status`` by a file in the run folder.

The file counts only while its writer lives: the writer holds a lock on it (flock(2)), which the kernel drops with the
process. Written whole under another name and renamed, so that no reader sees half of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "waiting.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """``what`` it waits for, in words; times are Unix milliseconds, ``tried_unix_ms`` 0 before the first try."""

    what: str
    since_unix_ms: int
    tried_unix_ms: int = 0
    because: str = ""


class WaitingNote:
    """The writer's end: ``tried`` after each attempt, ``close`` once the waiting is over."""

    def __init__(self, run_dir: Path, what: str, now_ms: int) -> None:
        self._path = run_dir / NAME
        self._held = -1
        self._waiting = Waiting(what=what, since_unix_ms=now_ms)
        self._write()

    def tried(self, because: str, now_ms: int) -> None:
        """Another attempt came to nothing."""
        now = self._waiting
        self._waiting = Waiting(
            what=now.what, since_unix_ms=now.since_unix_ms, tried_unix_ms=now_ms, because=because
        )
        self._write()

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        self._let_go()

    def _write(self) -> None:
        beside = self._path.with_name(f".{NAME}.new")
        held = os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        os.write(held, json.dumps(asdict(self._waiting)).encode())
        beside.replace(self._path)
        self._let_go()
        self._held = held

    def _let_go(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def read_waiting(run_dir: Path) -> Waiting | None:
    """What the agent of this run folder waits for now; None when nobody waits. Raises ``PermissionError``."""
    try:
        with (run_dir / NAME).open("rb") as file:
            if not _is_held(file.fileno()):
                return None
            return Waiting(**json.loads(file.read()))
    except PermissionError:
        raise
    except (OSError, ValueError, TypeError):
        return None


def words(waiting: Waiting) -> str:
    """For a person at a terminal."""
    since = _time(waiting.since_unix_ms)
    lines = [f"The agent is waiting for {waiting.what} since {since}. Nothing is seen or enforced now."]
    if waiting.tried_unix_ms:
        lines.append(f"Last try {_time(waiting.tried_unix_ms)}, in vain because: {waiting.because}")
    else:
        lines.append("The first try is under way.")
    return "\n".join(lines) + "\n"


def _is_held(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _time(unix_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_ms // 1000))
