"""Two network namespaces joined by a cable: a device's and the outside's, with real packets and a real packet filter.

``Cable`` makes and removes them; ``inside`` runs a function in one of them, in a thread of its own (setns(2) holds for
a thread, and threads that it starts inherit it).
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_CLONE_NEWNET = 0x4000_0000
DEVICE4, COLLECTOR4, WEB4 = "10.77.1.1", "10.77.1.2", "10.77.1.3"
DEVICE6, COLLECTOR6, WEB6 = "fd77::1", "fd77::2", "fd77::3"


def missing() -> str:
    """Why there can be no namespaces here; empty when there can."""
    if os.geteuid() != 0:
        return "needs root: network namespaces"
    for program in ("ip", "nft"):
        if not any((Path(folder) / program).exists() for folder in ("/usr/sbin", "/sbin", "/usr/bin")):
            return f"{program} is not installed"
    return ""


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


_LOOK_S = 0.2
"""How long a server waits before it asks whether all is over."""


def inside(name: str, work: Callable[[], T], seconds: float = 60) -> T:
    """What ``work`` returns or raises, run in the namespace."""
    answer: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            _enter(name)
            answer.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"not done after {seconds} s"
    if failed:
        raise failed[0]
    return answer[0]


def _enter(name: str) -> None:
    descriptor = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if library.setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


def takes(address: str, port: int, seconds: float = 1.0) -> bool:
    """Whether a connection is taken there, from the namespace of this thread."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as plain:
        plain.settimeout(seconds)
        return plain.connect_ex((address, port)) == 0


@dataclass
class Cable:
    """``got``: everything that any server here was sent, also where no answer came back."""

    device: str
    outside: str
    servers: list[socket.socket] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def serve(self, address: str, port: int, *, on: str = "") -> None:
        """Takes connections there and echoes what comes; datagrams, too."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def listen() -> tuple[socket.socket, socket.socket]:
            stream = socket.create_server((address, port), family=family)
            datagrams = socket.socket(family, socket.SOCK_DGRAM)
            datagrams.bind((address, port))
            return stream, datagrams

        stream, datagrams = inside(on or self.outside, listen)
        self.servers += [stream, datagrams]
        for server, work in ((stream, _accept), (datagrams, _answer)):
            server.settimeout(_LOOK_S)
            thread = threading.Thread(target=work, args=(server, self.got, self.over), daemon=True)
            thread.start()
            self.threads.append(thread)

    def close(self) -> None:
        """No socket is closed while its thread waits on it: its number would be another's by then, and the thread would
        take what was sent to that one.
        """
        self.over.set()
        for thread in self.threads:
            thread.join()
        for server in self.servers:
            server.close()


def _accept(server: socket.socket, got: list[bytes], over: threading.Event) -> None:
    while not over.is_set():
        try:
            taken, _ = server.accept()
        except TimeoutError:
            continue
        except OSError:
            return
        threading.Thread(target=_echo, args=(taken, got), daemon=True).start()


def _echo(taken: socket.socket, got: list[bytes]) -> None:
    with taken:
        try:
            while data := taken.recv(4096):
                got.append(data)
                taken.sendall(data)
        except OSError:
            return


def _answer(server: socket.socket, got: list[bytes], over: threading.Event) -> None:
    while not over.is_set():
        try:
            data, asked = server.recvfrom(4096)
            got.append(data)
            server.sendto(data, asked)
        except TimeoutError:
            continue
        except OSError:
            return


@contextmanager
def cable() -> Iterator[Cable]:
    """The device has one address of each kind, the outside two: the collector's and another's."""
    made = Cable(device=f"skdev{os.getpid()}", outside=f"skout{os.getpid()}")
    near, far = f"skd{os.getpid()}", f"sko{os.getpid()}"
    try:
        ip("netns", "add", made.device)
        ip("netns", "add", made.outside)
        ip(
            "link",
            "add",
            near,
            "netns",
            made.device,
            "type",
            "veth",
            "peer",
            "name",
            far,
            "netns",
            made.outside,
        )
        for name, link, addresses in (
            (made.device, near, (DEVICE4, DEVICE6)),
            (made.outside, far, (COLLECTOR4, WEB4, COLLECTOR6, WEB6)),
        ):
            for address in addresses:
                rest = ("/64", "nodad") if ":" in address else ("/24",)
                ip("-n", name, "addr", "add", address + rest[0], "dev", link, *rest[1:])
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        made.close()
        for name in (made.device, made.outside):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
