"""One process as proc(5) shows it, now: what was executed, by whom, from whom."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

KERNEL_THREADS = 2
_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessInfo:
    process_id: int
    parent_process_id: int
    user_id: int
    path: str


def look_up(proc_root: Path, process_id: int) -> ProcessInfo | None:
    """None when it has ended already, or when it is the kernel's own."""
    folder = f"{proc_root}/{process_id}"
    try:
        path = os.readlink(f"{folder}/exe")  # noqa: PTH115 - called for every execution
    except OSError:
        path = ""
    try:
        file = os.open(f"{folder}/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.read(file, _MAX)
    except OSError:
        return None
    finally:
        os.close(file)
    parent, user = _number(status, b"\nPPid:\t"), _number(status, b"\nUid:\t")
    if parent == KERNEL_THREADS or not path:
        return None
    return ProcessInfo(
        process_id=process_id, parent_process_id=parent, user_id=user, path=path.removesuffix(" (deleted)")
    )


def command_of(proc_root: Path, process_id: int) -> tuple[list[str], str]:
    """The words it was started with, and the folder it is in; empty when it is gone."""
    folder = f"{proc_root}/{process_id}"
    try:
        with open(f"{folder}/cmdline", "rb") as file:  # noqa: PTH123 - called for every interpreter
            words = os.fsdecode(file.read(_MAX)).split("\0")
        return words, os.readlink(f"{folder}/cwd")  # noqa: PTH115
    except OSError:
        return [], ""


def running(proc_root: Path) -> list[int]:
    """Ids of all processes that can be seen."""
    return [int(name) for name in os.listdir(proc_root) if name.isdigit()]  # noqa: PTH208


def descendants(proc_root: Path, process_id: int) -> set[int]:
    """The process and all below it, by the kernel's lists of children."""
    found: set[int] = set()
    waiting = [process_id]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found.add(one)
        try:
            with open(f"{proc_root}/{one}/task/{one}/children", "rb") as file:  # noqa: PTH123
                waiting += [int(child) for child in file.read(1 << 16).split()]
        except OSError:
            continue
    return found


def _number(status: bytes, key: bytes) -> int:
    at = status.find(key)
    if at < 0:
        return -1
    digits = status[at + len(key) : at + len(key) + 12].split()
    return int(digits[0]) if digits and digits[0].isdigit() else -1
