"""The exec responder as a process of its own: a child, or the guard's; heard on a socket, its end noticed at once."""

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
from typing import TYPE_CHECKING

import schoolkeeper_agent
import schoolkeeper_proto
from schoolkeeper_agent.enforcers.linux.exec_responder.begin import TABLE, TIMES
from schoolkeeper_agent.peers import CREDENTIALS_BYTES, sender_of

if TYPE_CHECKING:
    from schoolkeeper_agent.guard.door import Guard

_MAIN = Path(__file__).parent / "exec_responder" / "__main__.py"
_PROGRAMS = (b"exec_responder", b"schoolkeeper_agent/guard/")
_STOP_S = 3.0
_KILLED = "it was killed"
_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderConfig:
    """Where it finds its table, what it marks (None: every real file system), and who starts it (None: we do)."""

    folder: Path
    mounts: tuple[str, ...] | None
    guard: Guard | None = None

    @property
    def table_file(self) -> Path:
        return self.folder / TABLE

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
                **TIMES,
            }
        )


class ResponderProcess:
    """One run of it. ``on_end`` is called with the reason when it ends by itself."""

    def __init__(self, config: ResponderConfig, *, on_report: Callable[[dict[str, object]], None]) -> None:
        self._config = config
        self._on_report = on_report
        self.on_end: Callable[[str], None] | None = None
        self.pid = 0
        """The guardian's, as soon as it is known."""
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._pidfd = -1
        self._reason = ""
        self._up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()

    @property
    def identity(self) -> str:
        """Process id and start time: together they name one process for ever (until a reboot)."""
        return f"{self.pid} {_start_time(self.pid)}"

    async def start(self, timeout_s: float) -> str:
        """Returns when it marked its file systems: empty, or why it did not."""
        try:
            self._begin()
        except OSError as error:
            return f"the exec responder did not start: {error}"
        try:
            async with asyncio.timeout(timeout_s):  # wait_for can swallow a cancellation
                return await asyncio.shield(self._up)
        except asyncio.CancelledError:
            await self._give_up()
            raise
        except TimeoutError:
            await self._give_up()
            return f"the exec responder did not come up within {timeout_s:.0f} s"

    def _begin(self) -> None:
        if (guard := self._config.guard) is not None:
            from schoolkeeper_agent.guard.requests import Decide

            self._socket = guard.connect(Decide(self._config.mounts))
        else:
            self._socket = self._start_child()
            assert self._child is not None
            self._is(self._child.pid)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)

    def _start_child(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_MAIN), self._config.argument(theirs.fileno())],
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, cwd="/", env={},
            )  # fmt: skip
        return ours

    def _is(self, pid: int) -> None:
        """From now on it is known whose end is waited for. Raises ``OSError`` when it is gone already."""
        self._pidfd = os.pidfd_open(pid)
        self.pid = pid
        asyncio.get_running_loop().add_reader(self._pidfd, self._over)

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
        if self._socket is None or self._ended.is_set():
            return
        if self._pidfd < 0:
            self._over()  # a guard that said nothing yet: it sees the end of the connection
            return
        signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_S):
                await self._ended.wait()
        except TimeoutError:
            # The responder dies with its guardian (PR_SET_PDEATHSIG).
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await self._ended.wait()

    def leave(self) -> None:
        """Lets a responder of the guard go on alone, for the next service to take over from; hears what it said."""
        self.on_end = None
        if self._socket is not None and not self._ended.is_set():
            # What it says from now on it counts, and leaves the figure behind.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)
            self._over()

    def _readable(self) -> None:
        # Bounded: the loop has others to serve.
        for _ in range(_AT_ONCE):
            if not self._hear():
                return

    def _hear(self) -> bool:
        """Takes one packet; False when there is none now."""
        assert self._socket is not None
        try:
            data, ancillary, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(CREDENTIALS_BYTES))
        except BlockingIOError:
            return False
        except OSError:
            data, ancillary = b"", []
        if not data:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            if self._pidfd < 0:
                self._over()
            return False
        packet = json.loads(data)
        match packet.get("kind"):
            case None:
                self._reason = f"the guard refuses: {packet.get('error')}"
            case "begun":
                self._begun(ancillary)
            case "ended":
                self._reason = self._reason or str(packet["reason"])
            case "up" if self.pid and not self._up.done():
                self._up.set_result("")
            case _:
                self._on_report(packet)
        return self._socket.fileno() >= 0

    def _begun(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        """Who became the guardian, by what the kernel says of the sender; a child of ours is known."""
        if self._config.guard is None or self._pidfd >= 0:
            return
        process_id, user_id = sender_of(ancillary)
        try:
            if not self._config.guard.is_genuine(process_id, user_id):
                raise PermissionError("who answered is not of the guard's unit, or is gone")
            self._is(process_id)
        except OSError as error:
            self._reason = str(error)
            self._over()

    def _over(self) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        if self._pidfd >= 0:
            loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        while self._hear():
            pass
        loop.remove_reader(self._socket.fileno())
        self._socket.close()
        reason = self._reason or _KILLED
        if self._child is not None:
            self._child.wait()
            reason = self._reason or self._last_words() or _KILLED
        if not self._up.done():
            self._up.set_result(f"the exec responder did not start: {reason}")
        elif self.on_end is not None:
            self.on_end(reason)

    def _last_words(self) -> str:
        """What Python said when it could not even begin."""
        assert self._child is not None
        assert self._child.stderr is not None
        with self._child.stderr as stream:
            os.set_blocking(stream.fileno(), False)
            return (stream.read() or b"")[-500:].decode(errors="replace").strip()


def stop_leftover(pid_file: Path) -> None:
    """Ends the responder of a service that went, once the new one has marked: so that no moment is undecided."""
    try:
        pid_text, start_time = pid_file.read_text().split()
        pid = int(pid_text)
    except (OSError, ValueError):
        return
    if _start_time(pid) == start_time and any(program in _command_line(pid) for program in _PROGRAMS):
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
