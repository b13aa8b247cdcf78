"""What a started agent still waits for (an enrolment, a policy), told to ``status`` by a file in the run folder.

The file counts only while its writer lives: the writer holds a lock on a file beside it, which the system drops with
the process. Written whole under another name and renamed, so that no reader sees half of it.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from schoolkeeper_agent.system import here

NAME = "waiting.json"
LOCK = "waiting.lock"


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
        self._held = here.hold(run_dir / LOCK)
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
        self._held.close()

    def _write(self) -> None:
        beside = self._path.with_name(f".{NAME}.new")
        file = os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        try:
            os.write(file, json.dumps(asdict(self._waiting)).encode())
        finally:
            os.close(file)
        beside.replace(self._path)


def read_waiting(run_dir: Path) -> Waiting | None:
    """What the agent of this run folder waits for now; None when nobody waits. Raises ``PermissionError``."""
    try:
        said = (run_dir / NAME).read_bytes()
        return Waiting(**json.loads(said)) if here.is_held(run_dir / LOCK) else None
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


def _time(unix_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_ms // 1000))
