"""Which file systems executions are decided on: parsed from proc(5) mountinfo."""

from __future__ import annotations

import os

# No programs lie there, or none can be placed there by people.
PSEUDO = frozenset(
    {
        "proc", "sysfs", "cgroup", "cgroup2", "devpts", "devtmpfs", "mqueue", "debugfs", "tracefs", "securityfs",
        "pstore", "bpf", "hugetlbfs", "autofs", "nsfs", "fusectl", "configfs", "efivarfs", "binfmt_misc", "rpc_pipefs",
        "selinuxfs",
    }
)  # fmt: skip
# Opening a file there asks a server that a person may run: it could freeze whoever decides.
REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "virtiofs"})
MAX_MOUNTS = 4096


def local(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A mount point of each local file system: those whose owners can be believed, and the others.

    What a desktop mounts for a person (a stick, an image) is mounted ``nosuid``: its owners came with it.
    """
    believed: dict[str, str] = {}
    others: dict[str, str] = {}
    for line in text.split("\n")[:MAX_MOUNTS]:
        head, separator, tail = line.partition(" - ")
        fields, kind = head.split(" "), tail.split(" ")[0]
        if separator and len(fields) >= 6 and is_local(kind):
            chosen = others if "nosuid" in fields[5].split(",") else believed
            chosen.setdefault(fields[2], plain(fields[4]))
    return tuple(believed.values()), tuple(
        point for device, point in others.items() if device not in believed
    )


def is_local(kind: str) -> bool:
    """Whether programs can lie there and no server that a person runs is asked when one is opened.

    ``fuseblk`` has a server, too, but only root mounts a block device; ``fuse`` is anybody's.
    """
    return kind not in PSEUDO and kind not in REMOTE and (kind == "fuseblk" or not kind.startswith("fuse"))


def parse(text: str) -> list[tuple[str, str, str]]:
    """(device as 'major:minor', mount point, type) of each line; lines that are none are left out."""
    found = []
    for line in text.split("\n")[:MAX_MOUNTS]:
        head, separator, tail = line.partition(" - ")
        fields, rest = head.split(" "), tail.split(" ")
        if separator and len(fields) >= 5 and rest[0]:
            found.append((fields[2], plain(fields[4]), rest[0]))
    return found


def to_mark(text: str, only: tuple[str, ...] | None) -> dict[str, str]:
    """Device -> one of its mount points. ``only`` names the mount points that count; None is every real one."""
    chosen: dict[str, str] = {}
    for device, point, kind in parse(text):
        if only is not None:
            if point in only and is_local(kind):
                chosen[device] = point
        elif is_local(kind):
            chosen.setdefault(device, point)
    return chosen


def plain(escaped: str) -> str:
    """mountinfo writes blank, tab, line feed and backslash as octal."""
    if "\\" not in escaped:
        return escaped
    out = bytearray()
    data = os.fsencode(escaped)
    at = 0
    while at < len(data):
        digits = data[at + 1 : at + 4]
        if data[at] == 0x5C and len(digits) == 3 and not digits.strip(b"01234567"):
            out.append(int(digits, 8) & 0xFF)
            at += 4
        else:
            out.append(data[at])
            at += 1
    return os.fsdecode(bytes(out))
