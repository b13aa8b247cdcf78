"""Shell patterns over absolute paths, in a tree: a look-up costs the path's length, not the number of patterns.

``?`` is one character, ``*`` any run of them within one part of a path, and ``**``, as a whole part, any number of
parts (also none; at the end at least one). Every other character means itself. Standard library only, and of that
nothing that costs memory: the exec responder of the agent carries this module.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_PATTERN = 1024
"""In characters."""


class PatternMistake(ValueError):
    """A pattern that cannot be used; the message says why and what to write instead."""


class PatternTree:
    """Patterns, each with a number; ``find`` names the numbers of all that match a path."""

    __slots__ = ("_root",)

    def __init__(self, patterns: Sequence[tuple[str, int]] = ()) -> None:
        self._root = _Node()
        for text, number in patterns:
            self._add(text, number)

    def find(self, path: str) -> set[int]:
        """The numbers of the patterns that match ``path``, which must be absolute."""
        found: set[int] = set()
        if not path.startswith("/"):
            return found
        parts = path[1:].split("/")
        reached = {self._root}
        self._skip(reached)
        for part in parts:
            following: set[_Node] = set()
            for node in reached:
                node.step(part, following)
            self._skip(following)
            reached = following
            if not reached:
                break
        for node in reached:
            found |= node.ends
        return found

    @staticmethod
    def _skip(nodes: set[_Node]) -> None:
        """``**`` may also stand for no part at all: who stands before it also stands in it."""
        for node in tuple(nodes):
            while node.any_depth is not None:
                node = node.any_depth
                nodes.add(node)

    def _add(self, text: str, number: int) -> None:
        parts = check_pattern(text)
        node = self._root
        for part in parts:
            node = node.child(part)
        if parts[-1] == "**":
            # At the end it needs at least one part: only a further step of the loop ends here.
            node.ends_below.add(number)
        else:
            node.ends.add(number)


class _Node:
    """A place between two parts of a path."""

    __slots__ = ("any_depth", "ends", "ends_below", "lengths", "literal", "loops", "prefixed")

    def __init__(self, *, loops: bool = False) -> None:
        self.literal: dict[str, _Node] = {}
        self.prefixed: dict[str, list[tuple[str, _Node]]] = {}
        self.lengths: tuple[int, ...] = ()
        self.any_depth: _Node | None = None
        self.loops = loops
        self.ends: set[int] = set()
        self.ends_below: set[int] = set()

    def child(self, part: str) -> _Node:
        if part == "**":
            if self.any_depth is None:
                self.any_depth = _Node(loops=True)
            return self.any_depth
        if "*" not in part and "?" not in part:
            return self.literal.setdefault(part, _Node())
        return self._wild_child(part)

    def _wild_child(self, part: str) -> _Node:
        prefix = part[: min(place for place in (part.find("*"), part.find("?")) if place >= 0)]
        bucket = self.prefixed.setdefault(prefix, [])
        for known, node in bucket:
            if known == part:
                return node
        node = _Node()
        bucket.append((part, node))
        self.lengths = tuple(sorted({len(key) for key in self.prefixed}))
        return node

    def step(self, part: str, following: set[_Node]) -> None:
        """Adds the nodes that one more part of the path leads to."""
        if self.loops:
            following.add(self)
            if self.ends_below:
                following.add(_ended(self.ends_below))
        node = self.literal.get(part)
        if node is not None:
            following.add(node)
        for length in self.lengths:
            for wild, target in self.prefixed.get(part[:length], ()):
                if matches_part(wild, part):
                    following.add(target)


def _ended(numbers: set[int]) -> _Node:
    node = _Node()
    node.ends = numbers
    return node


def check_pattern(text: str) -> list[str]:
    """The parts of a pattern; raises ``PatternMistake``."""
    if not text.startswith("/") or len(text) > MAX_PATTERN:
        raise PatternMistake(
            f"{text[:80]!r}: a path pattern starts with '/' and has at most {MAX_PATTERN} characters"
        )
    parts = text[1:].split("/")
    for part in parts:
        if part in ("", ".", ".."):
            raise PatternMistake(f"{text[:80]!r}: the part {part!r} matches no real path; leave it out")
        if "**" in part and part != "**":
            raise PatternMistake(
                f"{text[:80]!r}: '**' stands for whole folders; write '/**/' or a single '*'"
            )
        for wrong in "[]{}\\":
            if wrong in part:
                raise PatternMistake(
                    f"{text[:80]!r}: {wrong!r} is not known; use '*', '?' and '**', or two patterns"
                )
    return parts


def matches_part(wild: str, part: str) -> bool:
    """Whether one part of a path matches; time at most len(wild) x len(part), memory constant."""
    at = place = 0
    star, resume = -1, 0
    while place < len(part):
        if at < len(wild) and wild[at] == "*":
            star, resume = at, place
            at += 1
        elif at < len(wild) and wild[at] in ("?", part[place]):
            at += 1
            place += 1
        elif star >= 0:
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return all(character == "*" for character in wild[at:])
