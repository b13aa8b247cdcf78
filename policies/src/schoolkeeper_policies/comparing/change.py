"""What two policies differ in, and which way: the words that a plan, a signature and the change log share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Direction(StrEnum):
    """WORDS has no effect on any decision. DIFFERENT means that it cannot be told: stricter here, weaker there."""

    STRICTER = "stricter"
    WEAKER = "weaker"
    DIFFERENT = "different"
    WORDS = "text only"

    @property
    def reversed(self) -> Direction:
        """The direction of the way back."""
        return _BACK.get(self, self)


_BACK = {Direction.STRICTER: Direction.WEAKER, Direction.WEAKER: Direction.STRICTER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One rule, check, kind or setting that differs. ``before`` and ``after`` are empty for what is not there."""

    group: str
    section: str
    rule_id: str
    what: Literal["added", "removed", "changed"]
    direction: Direction
    safeguarding: bool
    before: str
    after: str
    why: str

    @property
    def weakens_safeguarding(self) -> bool:
        """Needs both risk assessments and the leadership's consent: what cannot be told counts as weaker."""
        return self.safeguarding and self.direction in (Direction.WEAKER, Direction.DIFFERENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aspect:
    """One thing in which two versions of a rule differ."""

    direction: Direction
    before: str
    after: str
    why: str


def together(directions: Iterable[Direction]) -> Direction:
    """The direction of several aspects at once: one way if all that matter agree, else DIFFERENT."""
    matter = {direction for direction in directions if direction is not Direction.WORDS}
    if not matter:
        return Direction.WORDS
    return matter.pop() if len(matter) == 1 else Direction.DIFFERENT
