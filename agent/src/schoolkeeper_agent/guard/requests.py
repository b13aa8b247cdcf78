"""The closed list of what the service may ask of its guard: one packet of JSON each, on a sequenced-packet socket.

Light: the exec responder passes through here. Nothing in a request says where a file lies or what is executed.
"""

from __future__ import annotations

import json
from typing import NamedTuple

MOST_BYTES = 65_536
_MOST_MOUNTS = 256
_LONGEST_PATH = 4096
_KERNEL_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


class Decide(NamedTuple):
    """Become the exec responder on this connection; ``mounts`` as in ``Context.exec_mounts``."""

    mounts: tuple[str, ...] | None


class MayDecide(NamedTuple):
    """Whether the kernel lets the guard decide on executions."""


class Limit(NamedTuple):
    """A removable medium's read-only flag: its kernel name, and what ``sequence_of`` said of it (0: nothing)."""

    disk: str
    sequence: int
    read_only: bool


class Watch(NamedTuple):
    """A descriptor that tells of files written to the removable medium that is mounted there."""

    mount: str


Request = Decide | MayDecide | Limit | Watch


class RequestMistake(Exception):
    """What came is not one of them."""


def write(request: Request) -> bytes:
    return json.dumps({"ask": type(request).__name__, **request._asdict()}).encode()


def read(data: bytes) -> Request:
    """Raises ``RequestMistake`` for anything that ``write`` does not write."""
    try:
        said = json.loads(data)
    except ValueError as error:
        raise RequestMistake(f"it is not JSON: {error}") from error
    if not isinstance(said, dict):
        raise RequestMistake("it is no request")
    kind, names = said.pop("ask", ""), frozenset(said)
    if kind == "Decide" and names == {"mounts"}:
        mounts = said["mounts"]
        if mounts is None or (isinstance(mounts, list) and len(mounts) <= _MOST_MOUNTS):
            return Decide(None if mounts is None else tuple(_path(mount) for mount in mounts))
    elif kind == "MayDecide" and not names:
        return MayDecide()
    elif kind == "Limit" and names == {"disk", "sequence", "read_only"}:
        return Limit(_disk(said["disk"]), _sequence(said["sequence"]), _flag(said["read_only"]))
    elif kind == "Watch" and names == {"mount"}:
        return Watch(_path(said["mount"]))
    raise RequestMistake("it is none that the guard knows")


def _path(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value or len(value) > _LONGEST_PATH:
        raise RequestMistake("a mount point is no absolute path")
    return value


def _disk(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 32 or not _KERNEL_NAME.issuperset(value):
        raise RequestMistake("a disk has no such name")
    return value


def _sequence(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise RequestMistake("a medium has no such number")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise RequestMistake("read_only is true or false")
    return value
