"""Ports for servers that start later: no two processes get the same one, and the kernel gives them to nobody."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from support.ports import free_port, free_ports

TESTS = Path(__file__).parents[2]


def elsewhere(count: int) -> set[int]:
    code = f"from support.ports import free_ports; print(*free_ports({count}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=True,
    )
    return {int(port) for port in done.stdout.split()}


def test_no_two_processes_get_the_same_port() -> None:
    ours = set(free_ports(100))
    assert len(ours) == 100
    assert not ours & elsewhere(100)


def test_the_kernel_gives_them_to_nobody() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(free_ports(300)) < lowest


def test_a_port_on_which_somebody_listens_is_passed_over() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert port not in free_ports(300)
