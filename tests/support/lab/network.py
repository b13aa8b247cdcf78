"""A private network: two namespaces joined by a veth pair, and nothing beyond them.

The laptop lives in one namespace. The other is the world as far as the laptop can tell: it answers pings, and
where a test asks for it, relays a port to a collector that listens on this machine's loopback::

    laptop 10.77.0.2 <--veth--> 10.77.0.1 gateway  ~relay~>  127.0.0.1:port of the host
"""

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from support.lab.cache import LabError
from support.lab.commands import die_with_parent, run_tool
from support.lab.relay import Relay

LAPTOP_ADDRESS = "10.77.0.2"
GATEWAY_ADDRESS = "10.77.0.1"
_CLONE_NEWNET = 0x40000000

T = TypeVar("T")


class LabNetwork:
    """Two joined network namespaces for as long as the ``with`` block; they vanish with the test run in any case."""

    def __init__(self) -> None:
        self._holders: list[subprocess.Popen[bytes]] = []
        self._relays: list[Relay] = []

    def __enter__(self) -> Self:
        try:
            laptop, gateway = self._hold_namespace(), self._hold_namespace()
            run_tool(_inside(laptop, "ip", "link", "add", "net0", "type", "veth", "peer", "name", "net0", "netns",
                             str(gateway)))  # fmt: skip
            for holder, address in ((laptop, LAPTOP_ADDRESS), (gateway, GATEWAY_ADDRESS)):
                run_tool(_inside(holder, "ip", "link", "set", "lo", "up"))
                run_tool(_inside(holder, "ip", "address", "add", f"{address}/24", "dev", "net0"))
                run_tool(_inside(holder, "ip", "link", "set", "net0", "up"))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def laptop_namespace(self) -> Path:
        """For ``systemd-nspawn --network-namespace-path`` or ``nsenter --net=``."""
        return _namespace(self._holders[0].pid)

    @property
    def gateway_namespace(self) -> Path:
        return _namespace(self._holders[1].pid)

    def offer(self, port: int, *, to: int, address: str = GATEWAY_ADDRESS) -> None:
        """Let the laptop reach ``127.0.0.1:to`` of this machine as ``address:port`` (an address of the gateway)."""
        listener = in_network(self.gateway_namespace, lambda: _listen(address, port))
        self._relays.append(Relay(listener, ("127.0.0.1", to)))

    def unplug(self) -> None:
        """Pull the cable: from now on packets are lost, and nobody is told."""
        run_tool(_inside(self._holders[1].pid, "ip", "link", "set", "net0", "down"))

    def plug(self) -> None:
        """Put the cable back."""
        run_tool(_inside(self._holders[1].pid, "ip", "link", "set", "net0", "up"))

    def close(self) -> None:
        for relay in self._relays:
            relay.close()
        for holder in self._holders:
            holder.kill()
            holder.wait()
        self._relays.clear()
        self._holders.clear()

    def _hold_namespace(self) -> int:
        holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            preexec_fn=die_with_parent(),
        )
        self._holders.append(holder)
        assert holder.stdout is not None
        with holder.stdout as said:
            if said.readline() != b"ready\n":
                raise LabError("no network namespace could be made (this needs root and unshare)")
        return holder.pid


def in_network(namespace: Path, act: Callable[[], T]) -> T:
    """What ``act`` returns when run inside a network namespace; sockets it makes stay there.

    Only a thread of its own enters, so nothing else in this process notices.
    """
    results: list[T] = []
    errors: list[OSError] = []

    def enter_and_act() -> None:
        try:
            _enter(namespace)
            results.append(act())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=enter_and_act)
    thread.start()
    thread.join()
    if errors:
        raise LabError(f"in the network namespace {namespace}: {errors[0]}") from errors[0]
    return results[0]


def _enter(namespace: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(descriptor)


def _listen(address: str, port: int) -> socket.socket:
    return socket.create_server((address, port), backlog=128)


def _namespace(pid: int) -> Path:
    return Path(f"/proc/{pid}/ns/net")


def _inside(pid: int, *command: str) -> list[str]:
    return ["nsenter", f"--net=/proc/{pid}/ns/net", *command]
