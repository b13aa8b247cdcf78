"""What ``fsck`` says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """``fatal`` is False for what may be so, such as material whose key was erased on purpose."""

    table: str
    place: str
    problem: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.table}: {self.place} {self.problem}"
