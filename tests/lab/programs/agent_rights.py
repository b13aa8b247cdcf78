"""Runs inside a laptop, in the agent's own unit or its guard's: does one thing for each right that the unit leaves, and
some that it takes, and prints as JSON which worked.

Arguments: a process of another person, and a file that only they may read.
"""

import ctypes
import fcntl
import json
import mmap
import os
import signal
import socket
import sys
from pathlib import Path

from schoolkeeper_agent.enforcers.linux.exec_responder import process
from schoolkeeper_agent.enforcers.linux.exec_responder.fanotify import Group

ANOTHER, PRIVATE = [*sys.argv[1:], "", ""][:2]
_NETLINK_CONNECTOR, _CN_IDX_PROC = 11, 1
_CLONE_NEWUSER = 0x10000000


def mark_for_executions() -> None:
    group = Group(process.libc())
    group.mark_file_system("/")
    os.close(group.fd)


def hear_of_processes() -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_CONNECTOR).bind((0, _CN_IDX_PROC))


def tell_the_program_of_another() -> None:
    Path(f"/proc/{ANOTHER}/exe").readlink()


def end_the_program_of_another() -> None:
    signal.pidfd_send_signal(
        os.pidfd_open(int(ANOTHER)), 0
    )  # whether it may; the next that is tried needs it alive


def read_a_private_file() -> None:
    Path(PRIVATE).read_bytes()


def ask_who_writes() -> None:
    descriptor = os.open(PRIVATE, os.O_RDONLY)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    os.close(descriptor)


def lock_memory() -> None:
    if not process.lock_memory(process.libc()):
        raise OSError("mlockall")


def be_first() -> None:
    os.setpriority(os.PRIO_PROCESS, 0, -15)


def write_programs() -> None:
    Path("/usr/bin/schoolkeeper-probe").write_text("")


def write_homes() -> None:
    Path("/home/pupil/probe").write_text("")


def make_code() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def become_root_of_a_namespace() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) != 0:
        raise OSError("unshare")


def use_a_network() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


def change_the_kernel() -> None:
    switch = Path("/proc/sys/kernel/randomize_va_space")
    switch.write_text(switch.read_text())


def become_another() -> None:
    os.setuid(1000)


TRIED = {
    "CAP_SYS_ADMIN": mark_for_executions,
    "CAP_NET_ADMIN": hear_of_processes,
    "CAP_SYS_PTRACE": tell_the_program_of_another,
    "CAP_KILL": end_the_program_of_another,
    "CAP_DAC_READ_SEARCH": read_a_private_file,
    "CAP_LEASE": ask_who_writes,
    "CAP_IPC_LOCK": lock_memory,
    "CAP_SYS_NICE": be_first,
    "write programs": write_programs,
    "write homes": write_homes,
    "make code": make_code,
    "become root of a namespace": become_root_of_a_namespace,
    "become another": become_another,
    "use a network": use_a_network,
    "change the kernel": change_the_kernel,
}


def main() -> None:
    worked = {}
    for name, act in TRIED.items():
        try:
            act()
            worked[name] = True
        except OSError:
            worked[name] = False
    print(json.dumps(worked))


if __name__ == "__main__":
    main()
