"""The path of a file as this process would write it, when whoever executes it sees another one.

In a mount namespace of one's own every file can lie under every name: a bind mount gives a game the name of an editor.
The kernel's table of that namespace (proc(5) mountinfo) says which part of which file system a mount shows.
"""

from __future__ import annotations

import os

from schoolkeeper_agent.enforcers.linux.exec_responder.mounts import plain as plain_text

_MAX = 1 << 20
_GONE = " (deleted)"


def leads_to(path: str, found: os.stat_result) -> bool:
    """Whether this path is this file here."""
    try:
        there = os.stat(path)  # noqa: PTH116 - pathlib costs memory here
    except OSError:
        return False
    return there.st_ino == found.st_ino and there.st_dev == found.st_dev


def true_path(file: int, path: str, found: os.stat_result, process_id: int, ours: str) -> str:
    """``ours`` is the text of our own mountinfo. What cannot be found out leaves the path as the kernel gave it."""
    plain = path.removesuffix(_GONE)
    theirs = _line_of(_read(f"/proc/{process_id}/mountinfo"), _mount_of(file))
    if not theirs:
        return plain
    root = _link(f"/proc/{process_id}/root").rstrip("/")
    point = root + plain_text(theirs[4]).rstrip("/")
    if plain != point and not plain.startswith(point + "/"):
        return plain
    inside = plain_text(theirs[3]).rstrip("/") + plain[len(point) :]
    for line in ours.split("\n"):
        fields = line.split(" ")
        if len(fields) > 5 and fields[2] == theirs[2]:
            top = plain_text(fields[3]).rstrip("/")
            if inside == top or inside.startswith(top + "/"):
                candidate = plain_text(fields[4]).rstrip("/") + inside[len(top) :]
                if leads_to(candidate, found):
                    return candidate
    # No mount of ours shows it: the place within its file system still has its real name.
    return inside


def _mount_of(file: int) -> str:
    text = _read(f"/proc/self/fdinfo/{file}")
    at = text.find("mnt_id:")
    return text[at + 7 :].split("\n", 1)[0].strip() if at >= 0 else ""


def _line_of(table: str, mount: str) -> list[str]:
    for line in table.split("\n"):
        if mount and line.startswith(mount + " "):
            fields = line.split(" ")
            return fields if len(fields) > 5 else []
    return []


def _read(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            parts: list[bytes] = []
            while (part := file.read(65536)) and len(parts) < _MAX // 65536:
                parts.append(part)
            return os.fsdecode(b"".join(parts))
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return ""
