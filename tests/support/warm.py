"""Programs started from a process that has loaded them already: a second of processor time less for each start.

A keeper per program imports it once for a whole run (``shared.py``); each start is a fork of the keeper: a process of
its own with the arguments, environment, folder and descriptors that it was asked for, and with the program's own
``main``. What a fork leaves out is the start of the interpreter and the imports: tests of those, of services and of
kills start the real thing.
``SCHOOLKEEPER_TEST_COLD=1`` starts the real thing everywhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support import shared

BIN = Path(sys.executable).parent
PROGRAMS = {
    "schoolkeeper-collector": "schoolkeeper_collector.cli",
    "schoolkeeper-officer": "schoolkeeper_policies.officer.cli",
    "schoolkeeper-policy": "schoolkeeper_policies.cli",
}
COLD = bool(os.environ.get("SCHOOLKEEPER_TEST_COLD"))


@dataclass(frozen=True, slots=True)
class Keeper:
    """A process that forks one program for whoever asks."""

    asking: socket.socket

    def start(
        self,
        argv: list[str],
        *,
        files: tuple[int, int, int],
        env: Mapping[str, str],
        cwd: str,
        umask: int = -1,
    ) -> tuple[int, socket.socket]:
        """Forks the program with these standard files; returns its process id, and what will say its exit status."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, tempfile.TemporaryFile() as request:
            request.write(json.dumps({"argv": argv, "env": dict(env), "cwd": cwd, "umask": umask}).encode())
            request.seek(0)
            socket.send_fds(self.asking, [b"s"], [request.fileno(), theirs.fileno(), *files])
        pid = int(_line(ours))
        return pid, ours


@cache
def keeper(module: str, parent: int) -> Keeper:
    """A way to the run's keeper of a module's ``main``, one for each process of the run (``parent`` is its id)."""
    assert parent == os.getpid()
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asking.connect(shared.ask(f"warm {module}"))
    return Keeper(asking)


def run(
    program: str,
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run([BIN / program, ...], capture_output=True, text=True)`` returns; without an input."""
    argv = [str(BIN / program), *map(str, arguments)]
    wanted = dict(os.environ if env is None else env)
    if COLD or "LD_PRELOAD" in wanted:
        return subprocess.run(argv, env=wanted, cwd=cwd, capture_output=True, text=True, check=False)
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        Path(os.devnull).open("rb") as nothing,
    ):
        files = (nothing.fileno(), out.fileno(), err.fileno())
        made = keeper(PROGRAMS[program], os.getpid())
        _, said = made.start(argv, files=files, env=wanted, cwd=str(cwd or Path.cwd()))
        with said:
            status = int(_line(said))
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(argv, status, out.read().decode(), err.read().decode())


class WarmChild:
    """As much of ``asyncio.subprocess.Process`` as the agent's conversation with its verifying process takes."""

    def __init__(self, pid: int, said: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._said = said
        self.stdin: asyncio.StreamWriter
        self.stdout: asyncio.StreamReader
        self.stderr: asyncio.StreamReader

    def kill(self) -> None:
        """As of a process that may have ended by itself."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """The exit status; closes what leads to the process."""
        if self.returncode is None:
            self._said.setblocking(False)
            self.returncode = int((await asyncio.get_running_loop().sock_recv(self._said, 32)).decode())
            self._said.close()
            self.stdin.close()
        return self.returncode


async def verifying_child() -> WarmChild:
    """In place of ``schoolkeeper_agent.trust.start_child``."""
    loop = asyncio.get_running_loop()
    made = keeper("schoolkeeper_agent.trust_child", os.getpid())
    (in_theirs, in_ours), (out_ours, out_theirs), (err_ours, err_theirs) = os.pipe(), os.pipe(), os.pipe()
    pid, said = made.start(
        [sys.executable, "-m", "schoolkeeper_agent.trust_child"],
        files=(in_theirs, out_theirs, err_theirs),
        env=os.environ,
        cwd=str(Path.cwd()),
        umask=0o077,  # as its own start says
    )
    for number in (in_theirs, out_theirs, err_theirs):
        os.close(number)
    child = WarmChild(pid, said)
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(in_ours, "wb", 0)
    )
    child.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
    child.stdout, child.stderr = await _reader(out_ours), await _reader(err_ours)
    return child


async def _reader(number: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=1 << 16)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(number, "rb", 0))
    return reader


def _line(said: socket.socket) -> str:
    """One number; empty when the keeper is gone."""
    data = said.recv(32)
    if not data:
        raise AssertionError("the keeper of a warm program ended; its own words stand on standard error")
    return data.decode()
