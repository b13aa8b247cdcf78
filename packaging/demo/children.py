"""The demonstration's own processes: started, remembered on disk, ended by their id and by no other way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

_STOP_SECONDS = 15.0


class ChildError(Exception):
    """A process of the demonstration ended or did not start; names its log."""


@dataclass(slots=True, kw_only=True)
class Children:
    """Processes by name. ``folder`` holds their logs and the list that `demo-clean` reads."""

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str, environment: dict[str, str] | None = None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )
        self._remember()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def check(self) -> None:
        """Raises ``ChildError`` when one has ended that should run."""
        for name, process in self.running.items():
            if process.poll() is not None:
                raise ChildError(f"{name} ended with exit code {process.returncode}: {tail(self.log(name))}")

    def stop(self, name: str) -> None:
        process = self.running.pop(name, None)
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._remember()

    def stop_all(self) -> None:
        for name in reversed(list(self.running)):
            self.stop(name)

    def _remember(self) -> None:
        listed = {name: [p.pid, _started(p.pid)] for name, p in self.running.items() if p.poll() is None}
        if self.folder.exists():
            (self.folder / "children.json").write_text(json.dumps(listed))


def end_forgotten(folder: Path) -> list[str]:
    """Ends what an earlier run left behind: only processes whose id and start time are those it wrote down."""
    file = folder / "children.json"
    if not file.exists():
        return []
    ended = []
    for name, (pid, started) in json.loads(file.read_text()).items():
        if _started(pid) == started and started:
            os.kill(pid, signal.SIGTERM)
            ended.append(name)
            _await_end(pid, started)
    return ended


def _await_end(pid: int, started: str) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    while _started(pid) == started:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline += _STOP_SECONDS
        time.sleep(0.05)


def _started(pid: int) -> str:
    """The start time of a process in clock ticks since boot; empty when there is none or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def tail(path: Path, lines: int = 12) -> str:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return f"(no log at {path})"
    return f"the end of {path}:\n" + "\n".join(text.splitlines()[-lines:])
