"""What a Debian package says of itself, read without dpkg: deb(5), an ar archive of two tar archives."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from schoolkeeper_proto.release import MOST_BYTES

AGENT = "schoolkeeper-agent"
LIST = f"./usr/lib/{AGENT}/files.sha256"
_MAGIC = b"!<arch>\n"
_MOST_CONTROL, _MOST_LIST = 1 << 20, 8 << 20


class DebError(ValueError):
    """Not a package of the agent that could be released; names the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPackage:
    """``files_sha256``: of the list of files that it carries."""

    version: str
    architecture: str
    sha256: bytes
    length: int
    files_sha256: bytes


def read_agent_package(path: Path) -> AgentPackage:
    """Raises ``DebError`` or ``OSError``."""
    length = path.stat().st_size
    if length > MOST_BYTES:
        raise DebError(
            f"{path} has {length >> 20} MiB; a package of the agent has at most {MOST_BYTES >> 20}"
        )
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            members = _members(file)
            control = _one(file, members, "control.tar", "./control", _MOST_CONTROL)
            listed = _one(file, members, "data.tar", LIST, _MOST_LIST)
    except (tarfile.TarError, EOFError, ValueError, UnicodeDecodeError) as error:
        raise DebError(f"{path} is not a package of the agent: {error}") from error
    fields = _fields(control.decode())
    if fields.get("Package") != AGENT:
        raise DebError(f"{path} is the package {fields.get('Package', '')!r}, not {AGENT}")
    return AgentPackage(
        version=fields.get("Version", ""),
        architecture=fields.get("Architecture", ""),
        sha256=digest,
        length=length,
        files_sha256=hashlib.sha256(listed).digest(),
    )


def _members(file: IO[bytes]) -> dict[str, tuple[int, int]]:
    """Name -> (where it begins, its length)."""
    file.seek(0)
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it does not begin like one")
    found = {}
    while len(header := file.read(60)) == 60:
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        found[name] = (file.tell(), size)
        file.seek(size + size % 2, io.SEEK_CUR)
    return found


def _one(file: IO[bytes], members: dict[str, tuple[int, int]], archive: str, name: str, most: int) -> bytes:
    place = next((at for member, at in members.items() if member.startswith(archive)), None)
    if place is None:
        raise ValueError(f"it holds no {archive}")
    file.seek(place[0])
    # Read as a stream: an archive of many files is not kept in memory, and what follows in the file is not looked at.
    with tarfile.open(fileobj=file, mode="r|*") as packed:
        for entry in packed:
            if entry.name == name and entry.isfile() and entry.size <= most:
                content = packed.extractfile(entry)
                assert content is not None
                return content.read()
    raise ValueError(f"it holds no {name}")


def _fields(control: str) -> dict[str, str]:
    lines = [line.partition(":") for line in control.splitlines() if not line.startswith(" ")]
    return {name: value.strip() for name, _, value in lines}
