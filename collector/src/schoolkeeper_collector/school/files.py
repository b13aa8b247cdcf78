"""Where a school's files lie, and how they are written: whole or not at all, private unless public."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SchoolPaths:
    """All under the collector's state directory."""

    state_dir: Path

    @property
    def keys(self) -> Path:
        return self.state_dir / "keys"

    @property
    def offline(self) -> Path:
        """Leaves the machine after `init`; see the README inside."""
        return self.state_dir / "offline"

    @property
    def metadata(self) -> Path:
        return self.state_dir / "trust" / "metadata"

    @property
    def targets(self) -> Path:
        return self.state_dir / "trust" / "targets"

    @property
    def staged(self) -> Path:
        return self.state_dir / "trust" / "staged"

    @property
    def policy(self) -> Path:
        """The pack in force; see ``pack_in_force.py``."""
        return self.state_dir / "policy"

    @property
    def register(self) -> Path:
        """Who has which account, as last imported: years and classes for rules, no names. Private, never published."""
        return self.state_dir / "register" / "people.csv"

    @property
    def lock(self) -> Path:
        return self.state_dir / "trust" / "lock"


def write_file(path: Path, data: bytes, *, private: bool = False) -> None:
    """Replaces a file in one step, durable on return."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
