"""What is wrong with a policy, said so that its author can mend it: where, why, and what to do instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Position:
    """A place in a file; line and column count from one, and are 0 when the whole file is meant."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """One mistake."""

    position: Position
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.position}: {self.reason}" + (f"; {self.remedy}" if self.remedy else "")


class PolicyError(ValueError):
    """A policy that cannot be used. ``problems`` holds every mistake that was found, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))
