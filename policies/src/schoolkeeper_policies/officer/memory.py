"""What an officer's program remembers of a school: the root it pinned, and how far things were when it last looked.

One small file per key, on the officer's own machine. Without it a collector could show an officer an older school:
older keys, an older policy. The file holds nothing secret; who deletes it makes the program forget, never lie.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from schoolkeeper_policies.replacing import replace_file

HOME_VARIABLE = "SCHOOLKEEPER_OFFICER_HOME"


class MemoryFault(ValueError):
    """A pin that is missing, contradicts another or cannot be read; says what to compare or do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """``root_sha256``: of the school's first root. ``newest_root_sha256``: of root number ``root_version``.

    ``bundles``: highest version seen of each group's bundle. ``targets_version``: highest seen in force.
    """

    root_sha256: bytes
    school_id: str = ""
    root_version: int = 0
    newest_root_sha256: str = ""
    targets_version: int = 0
    bundles: dict[str, int] = field(default_factory=dict)
    signed: dict[str, str] = field(default_factory=dict)
    """Version of targets that this key signed -> hash of what it signed."""


def home() -> Path:
    """Where memories lie; ``SCHOOLKEEPER_OFFICER_HOME`` or the user's state folder (XDG)."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "schoolkeeper-officer"


def load(folder: Path, key_id: bytes, pinned_in_key: bytes) -> Memory:
    """The memory of a key. ``pinned_in_key``: the root hash in the key file, or empty. Raises ``MemoryFault``."""
    path = _path(folder, key_id)
    try:
        said = json.loads(path.read_bytes())
        held = Memory(
            root_sha256=bytes.fromhex(said["root_sha256"]),
            school_id=str(said["school_id"]),
            root_version=int(said["root_version"]),
            newest_root_sha256=str(said["newest_root_sha256"]),
            targets_version=int(said["targets_version"]),
            bundles={str(k): int(v) for k, v in said["bundles"].items()},
            signed={str(k): str(v) for k, v in said["signed"].items()},
        )
    except FileNotFoundError as error:
        if pinned_in_key:
            return Memory(root_sha256=pinned_in_key)
        raise MemoryFault(
            "this key knows no school yet: `schoolkeeper-officer pin ROOT-HASH --key FILE`, with the root hash that "
            "`init` printed and that stands on the head's paper, not one from the collector"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MemoryFault(
            f"{path} cannot be read ({error}): pin the school again with `pin --again`"
        ) from error
    if pinned_in_key and pinned_in_key != held.root_sha256:
        raise MemoryFault(
            f"{path} and the key file name two different schools: use the key file of this school"
        )
    return held


def save(folder: Path, key_id: bytes, memory: Memory) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    said = {
        "root_sha256": memory.root_sha256.hex(),
        "school_id": memory.school_id,
        "root_version": memory.root_version,
        "newest_root_sha256": memory.newest_root_sha256,
        "targets_version": memory.targets_version,
        "bundles": memory.bundles,
        "signed": memory.signed,
    }
    replace_file(_path(folder, key_id), json.dumps(said, indent=1, sort_keys=True).encode())


def pin(folder: Path, key_id: bytes, root_sha256: bytes, *, again: bool) -> None:
    """Remembers a school's first root for this key. Raises ``MemoryFault`` where another is pinned already."""
    path = _path(folder, key_id)
    if path.exists() and not again:
        held = load(folder, key_id, b"")
        if held.root_sha256 == root_sha256:
            return
        raise MemoryFault(
            f"this key is pinned to root {held.root_sha256.hex()}: `--again` only after a new `init`"
        )
    save(folder, key_id, Memory(root_sha256=root_sha256))


def parse_root_hash(text: str) -> bytes:
    """A root hash as people type it: spaces and capitals allowed. Raises ``MemoryFault``."""
    try:
        raw = bytes.fromhex("".join(text.split()).replace(":", ""))
    except ValueError as error:
        raise MemoryFault(f"{text!r} is no root hash: 64 characters of 0-9 and a-f") from error
    if len(raw) != 32:
        raise MemoryFault(f"a root hash has 64 characters, this one {len(raw) * 2}")
    return raw


def _path(folder: Path, key_id: bytes) -> Path:
    return folder / f"{key_id.hex()[:32]}.json"
