"""The guard's program as its socket unit starts it: one process for each connection, on standard input."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import schoolkeeper_agent
import schoolkeeper_proto
from schoolkeeper_agent.guard.door import Guard
from schoolkeeper_agent.peers import cgroups_of

PROGRAM = Path(schoolkeeper_agent.__file__).parent / "guard" / "__main__.py"
# Installed, both lie in one folder; in a checkout the second is named by hand.
_BEGIN = (
    "import runpy, sys; sys.path[:0] = [{proto!r}]; sys.argv[:] = {argv!r}; "
    "runpy.run_path({path!r}, run_name='__main__')"
)


def own_cgroup() -> str:
    return min(cgroups_of(os.getpid()))


class GuardUnit:
    """``started``: every process of it, in order."""

    def __init__(self, listener: socket.socket, path: Path, argv: list[str]) -> None:
        self._listener = listener
        proto = str(Path(schoolkeeper_proto.__file__ or "").parents[1])
        self._command = _BEGIN.format(proto=proto, argv=[str(PROGRAM), *argv], path=str(PROGRAM))
        self.door = Guard(path=path, cgroup=own_cgroup())
        self.started: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                command = [sys.executable, "-I", "-S", "-c", self._command]
                self.started.append(subprocess.Popen(command, stdin=connection, cwd="/", env={}))

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for process in self.started:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def guard_unit(*, only: str = "") -> Iterator[GuardUnit]:
    """``only``: the cgroup that may ask, this process's own unless another is named."""
    with tempfile.TemporaryDirectory(prefix="sk-guard-") as folder:  # names of sockets are short
        path = Path(folder) / "guard"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(path))
        listener.listen()
        unit = GuardUnit(listener, path, [folder, only or own_cgroup()])
        try:
            yield unit
        finally:
            unit.end()
