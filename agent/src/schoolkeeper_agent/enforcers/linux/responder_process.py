"""The exec responder as a child process: started isolated, heard on a socket, its end noticed at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import schoolkeeper_agent
import schoolkeeper_proto
from schoolkeeper_agent.enforcers.linux.exec_responder.guardian import EXIT_DEADLINE, EXIT_DIED

_MAIN = Path(__file__).parent / "exec_responder" / "__main__.py"
_STOP_S = 3.0
_WHY = {
    EXIT_DEADLINE: "it did not answer the kernel in time and was ended by its guardian",
    EXIT_DIED: "it was killed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderConfig:
    """``decide_ms``: time for one decision; ``deadline_ms``: when the guardian ends it; see the folder's README."""

    table_file: Path
    mounts: tuple[str, ...] | None
    decide_ms: int = 400
    deadline_ms: int = 1000
    orphan_s: float = 30.0

    def argument(self, descriptor: int) -> str:
        roots = {
            str(Path(package.__file__ or "").parents[1])
            for package in (schoolkeeper_agent, schoolkeeper_proto)
        }
        return json.dumps(
            {
                "import_path": sorted(roots),
                "socket": descriptor,
                "table_file": str(self.table_file),
                "mounts": self.mounts,
                "decide_ms": self.decide_ms,
                "deadline_ms": self.deadline_ms,
                "orphan_s": self.orphan_s,
            }
        )


class ResponderProcess:
    """One run of it. ``on_end`` is called with the reason when it ends by itself."""

    def __init__(self, config: ResponderConfig, *, on_report: Callable[[dict[str, object]], None]) -> None:
        self._config = config
        self._on_report = on_report
        self.on_end: Callable[[str], None] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._pidfd = -1
        self._up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()

    @property
    def pid(self) -> int:
        return self._child.pid if self._child is not None else 0

    @property
    def identity(self) -> str:
        """Process id and start time: together they name one process for ever (until a reboot)."""
        return f"{self.pid} {_start_time(self.pid)}"

    async def start(self, timeout_s: float) -> str:
        """Returns when it marked its file systems: empty, or why it did not."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self._child = subprocess.Popen(  # noqa: ASYNC220 - vfork and exec: under 1 ms
                [sys.executable, "-I", "-S", str(_MAIN), self._config.argument(theirs.fileno())],
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, cwd="/", env={},
            )  # fmt: skip
        self._socket = ours
        self._pidfd = os.pidfd_open(self._child.pid)
        loop = asyncio.get_running_loop()
        loop.add_reader(ours.fileno(), self._readable)
        loop.add_reader(self._pidfd, self._exited)
        try:
            async with asyncio.timeout(timeout_s):  # wait_for can swallow a cancellation
                return await asyncio.shield(self._up)
        except asyncio.CancelledError:
            await self._give_up()
            raise
        except TimeoutError:
            await self._give_up()
            return f"the exec responder did not come up within {timeout_s:.0f} s"

    async def _give_up(self) -> None:
        self.on_end = None
        await self.stop()

    def send(self, packet: bytes) -> None:
        """Never waits: what does not fit shows as a missing answer."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(packet)

    async def stop(self) -> None:
        """SIGTERM to the guardian, which has the responder close; SIGKILL if that takes too long."""
        if self._child is None or self._ended.is_set():
            return
        self._child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_S):
                await self._ended.wait()
        except TimeoutError:
            # The responder dies with its guardian (PR_SET_PDEATHSIG).
            self._child.kill()
            await self._ended.wait()

    def _readable(self) -> None:
        assert self._socket is not None
        # Bounded: the loop has others to serve.
        for _ in range(64):
            try:
                data = self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                asyncio.get_running_loop().remove_reader(self._socket.fileno())
                return
            packet = json.loads(data)
            if packet["kind"] == "up" and not self._up.done():
                self._up.set_result("")
            self._on_report(packet)

    def _exited(self) -> None:
        assert self._child is not None
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._readable()
        loop.remove_reader(self._socket.fileno())
        self._socket.close()
        code = self._child.wait()
        words = self._last_words()
        reason = "; ".join(part for part in (_WHY.get(code, f"it ended with status {code}"), words) if part)
        self._ended.set()
        if not self._up.done():
            self._up.set_result(f"the exec responder did not start: {reason}")
        elif self.on_end is not None:
            self.on_end(reason)

    def _last_words(self) -> str:
        assert self._child is not None
        assert self._child.stderr is not None
        with self._child.stderr as stream:
            os.set_blocking(stream.fileno(), False)
            return (stream.read() or b"")[-500:].decode(errors="replace").strip()


def stop_leftover(pid_file: Path) -> None:
    """Ends the responder of a service that died, once the new one has marked: so that no moment is undecided."""
    try:
        pid_text, start_time = pid_file.read_text().split()
        pid = int(pid_text)
    except (OSError, ValueError):
        return
    if _start_time(pid) == start_time and b"exec_responder" in _command_line(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _start_time(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
