"""rsyslog as a peer: one sender, one receiver, RELP inside mutual TLS over loopback, started and ended by pid.

What is compared: *durable* acknowledges after its file is synced; *memory* acknowledges what lies in memory
and loses that on a kill; *postgres* inserts into a PostgreSQL server. The sender is disk-assisted, or, for kills of
the sender, keeps its queue on disk and synced.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from string import Template
from typing import Final

import harness
from peers import certificates

from support.ports import free_port

HERE: Final = Path(__file__).parent
PROGRAM: Final = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin:/sbin")
MODULES: Final = tuple(Path("/usr/lib").glob("*/rsyslog"))
EVENT_BYTES: Final = 274
"""As long as the process event that our own path is measured with."""
_NUMBER: Final = re.compile(rb'"number":(\d+),')


class Kind(StrEnum):
    DURABLE = "durable"
    MEMORY = "memory"
    POSTGRES = "postgres"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Figures between the first event seen at the end of the pipe and the last."""

    events: int
    seconds: float
    sender_cpu: float
    receiver_cpu: float
    server_cpu: float = 0.0
    sender_rss_mib: float = 0.0
    receiver_rss_mib: float = 0.0

    @property
    def per_second(self) -> float:
        return self.events / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU of sender, receiver and database server together, microseconds an event."""
        return (self.sender_cpu + self.receiver_cpu + self.server_cpu) / self.events * 1e6


def write_events(path: Path, count: int) -> None:
    """Numbered lines of EVENT_BYTES with the same facts as a process event; one byte in four does not compress."""
    with path.open("w") as lines:
        for number in range(count):
            fact = (
                f'{{"number":{number},"device":"laptop-{number % 2000:04d}","program":"/usr/lib/firefox/firefox-bin",'
                f'"user":"pupil{number % 500:03d}","sha256":"{os.urandom(32).hex()}","parent":{number % 900}'
            )
            lines.write(fact + "," + " " * (EVENT_BYTES - len(fact) - 2) + "}\n")


@dataclass(slots=True, kw_only=True)
class Rsyslog:
    """Both ends in one folder. ``sync_delay_us`` slows every sync of the receiver, to see the figure move."""

    folder: Path
    kind: Kind
    synced_sender: bool = False
    sync_delay_us: int = 0
    postgres: str = ""
    """Connection address (libpq) where ``kind`` is POSTGRES."""
    port: int = field(default_factory=free_port)
    _receiver: subprocess.Popen[bytes] | None = None
    _sender: subprocess.Popen[bytes] | None = None
    _counted: tuple[int, int] = (0, 0)
    _pairs: dict[str, certificates.Pair] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if PROGRAM is None:
            raise harness.CannotMeasure("rsyslogd is not installed (`make lab`)")
        wanted = ["imrelp.so", "omrelp.so"] + (["ompgsql.so"] if self.kind is Kind.POSTGRES else [])
        missing = [name for name in wanted if not any((folder / name).exists() for folder in MODULES)]
        if missing:
            raise harness.CannotMeasure(f"rsyslog lacks {', '.join(missing)} (`make lab`)")
        for name in ("sender", "receiver"):
            (self.folder / name).mkdir()
        self._pairs = certificates.make(self.folder, "sender", "receiver")
        self._configure()

    @property
    def input(self) -> Path:
        return self.folder / "in.log"

    @property
    def output(self) -> Path:
        return self.folder / "out.log"

    def start_receiver(self) -> None:
        command: list[str | Path] = [str(PROGRAM), "-n", "-f", self.folder / "receive.conf"]
        command += ["-i", self.folder / "receiver.pid"]
        if self.sync_delay_us:
            strace = shutil.which("strace")
            if strace is None:
                raise harness.CannotMeasure("slowing the peer needs strace (`make lab`)")
            delay = f"--inject=fsync,fdatasync:delay_exit={self.sync_delay_us}"
            command = [strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", delay, *command]
        self._receiver = harness.start(command, said=self.folder / "receiver.said")
        harness.wait_for_port(self.port, self._receiver)

    def start_sender(self) -> None:
        command = [str(PROGRAM), "-n", "-f", self.folder / "send.conf", "-i", self.folder / "sender.pid"]
        self._sender = harness.start(command, said=self.folder / "sender.said")

    def kill_receiver(self) -> None:
        _kill(self._receiver)

    def kill_sender(self) -> None:
        _kill(self._sender)

    def stop(self) -> None:
        if self.sync_delay_us and self._receiver is not None:  # the tracer would leave it behind
            with suppress(OSError, ValueError):
                os.kill(int((self.folder / "receiver.pid").read_text()), signal.SIGTERM)
        for child in (self._sender, self._receiver):
            if child is not None:
                harness.end(child)

    def pids(self) -> tuple[int, int]:
        """Of sender and receiver themselves."""
        assert self._sender is not None
        assert self._receiver is not None
        receiver = self._receiver.pid
        if self.sync_delay_us:
            receiver = int((self.folder / "receiver.pid").read_text())
        return self._sender.pid, receiver

    def lines(self) -> int:
        """Lines in the output so far; reads only what is new."""
        place, count = self._counted
        try:
            with self.output.open("rb") as file:
                file.seek(place)
                while chunk := file.read(1 << 20):
                    place += len(chunk)
                    count += chunk.count(b"\n")
        except FileNotFoundError:
            return 0
        self._counted = (place, count)
        return count

    def numbers(self) -> list[int]:
        """Numbers of the events in the output, in its order."""
        return [int(found) for found in _NUMBER.findall(self.output.read_bytes())]

    def _configure(self) -> None:
        files = {"work": "", "input": str(self.input), "port": str(self.port)}
        sending = 'queue.type="disk" queue.syncQueueFiles="on" queue.checkpointInterval="100"'
        if not self.synced_sender:
            sending = 'queue.type="LinkedList" queue.size="50000"'
        memory = 'queue.type="LinkedList" queue.size="200000" queue.dequeueBatchSize="1024"'
        file = f'type="omfile" file="{self.output}" template="line" ioBufferSize="256k"'
        receiving = {
            Kind.DURABLE: {
                "what": "a file, acknowledged after its sync",
                "module": "",
                "queue": 'queue.type="direct"',
                "action": f'action({file} sync="on" flushOnTXEnd="on" queue.type="direct")',
            },
            Kind.MEMORY: {
                "what": "a file, acknowledged from memory",
                "module": "",
                "queue": memory,
                "action": f"action({file})",
            },
            Kind.POSTGRES: {
                "what": "PostgreSQL",
                "module": 'module(load="ompgsql")',
                "queue": memory,
                "action": f'action(type="ompgsql" conninfo="{self.postgres}" template="row" queue.type="direct")',
            },
        }[self.kind]
        for end, template, more in (
            ("sender", "send", {"queue": sending}),
            ("receiver", "receive", receiving),
        ):
            pair = self._pairs[end]
            values = {**files, **more, "work": str(self.folder / end), "ca": str(pair.ca)}
            values |= {"certificate": str(pair.certificate), "key": str(pair.key)}
            text = Template((HERE / f"{template}.conf.in").read_text()).substitute(values)
            (self.folder / f"{template}.conf").write_text(text)


def measure(
    peer: Rsyslog,
    count: int,
    *,
    within: float = 60.0,
    arrived: Callable[[], int] | None = None,
    server_cpu: Callable[[], float] = lambda: 0.0,
) -> Outcome:
    """Send ``count`` events and time them at the far end. Raises CannotMeasure when none arrives in time."""
    write_events(peer.input, count)
    seen = arrived or peer.lines
    try:
        peer.start_receiver()
        peer.start_sender()
        sender, receiver = peer.pids()
        deadline = time.monotonic() + within
        while not (first := seen()):
            if time.monotonic() > deadline:
                said = (peer.folder / "sender.said").read_text() + (peer.folder / "receiver.said").read_text()
                raise harness.CannotMeasure(
                    f"no event arrived within {within} s; rsyslog said: {said[-800:]}"
                )
            time.sleep(0.005)
        began, cpu = (
            time.monotonic(),
            (harness.cpu_seconds(sender), harness.cpu_seconds(receiver), server_cpu()),
        )
        done = first
        while done < count and time.monotonic() < deadline:
            time.sleep(0.02 if arrived is None else 0.1)
            done = seen()
        seconds = time.monotonic() - began
        if done == first:
            raise harness.CannotMeasure("too few events to time: raise the count")
        memory = [harness.memory_mib(pid)["rss"] for pid in (sender, receiver)]
        return Outcome(
            events=done - first,
            seconds=seconds,
            sender_cpu=harness.cpu_seconds(sender) - cpu[0],
            receiver_cpu=harness.cpu_seconds(receiver) - cpu[1],
            server_cpu=server_cpu() - cpu[2],
            sender_rss_mib=memory[0],
            receiver_rss_mib=memory[1],
        )
    finally:
        peer.stop()


def _kill(child: subprocess.Popen[bytes] | None) -> None:
    if child is not None:
        child.kill()
        child.wait()
