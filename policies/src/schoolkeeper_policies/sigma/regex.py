"""Regular expressions that cannot hang: a subset, matched in time linear in the text.

Python's ``re`` backtracks, so that one careless rule and one chosen file name could stop detection. Here a pattern
becomes an automaton (Thompson's construction) whose deterministic states are made as they are needed: a character
costs one dictionary look-up once its state is known. Constructs that no automaton of this kind can do (back
references, look-around) and those that would only surprise (inline flags, word boundaries) are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MAX_PATTERN: Final = 512
MAX_STATES: Final = 1_000
MAX_REPEAT: Final = 100
_MAX_CACHE: Final = 20_000
_MAX_SETS: Final = 500
_NESTING: Final = 20

Test = Callable[[str], bool]


class PatternRefused(ValueError):
    """A pattern outside the subset; ``offset`` counts characters from its beginning."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.offset = offset


@dataclass(slots=True)
class _State:
    """Consumes one character that ``test`` accepts, or none; ``assertion`` is '^', '$' or ''."""

    test: Test | None = None
    assertion: str = ""
    to: list[int] = field(default_factory=list)


class Pattern:
    """A compiled pattern. ``search`` says whether it matches anywhere in a text."""

    def __init__(self, text: str, *, ignore_case: bool = False) -> None:
        if len(text) > MAX_PATTERN:
            raise PatternRefused(f"longer than {MAX_PATTERN} characters", MAX_PATTERN)
        builder = _Builder(text, ignore_case=ignore_case)
        self._start, self._end = builder.build()
        self._states = builder.states
        self._numbers: dict[frozenset[int], int] = {}
        self._sets: list[frozenset[int]] = []
        self._next: list[dict[str, int]] = []
        self._cached = 0

    def search(self, text: str) -> bool:
        current = self._number(self._closure({self._start}, begin=True, end=not text))
        last = len(text) - 1
        for position, character in enumerate(text):
            if self._end in self._sets[current]:
                return True
            if position == last:
                return self._end in self._step(current, character, end=True)
            following = self._next[current].get(character)
            if following is None:
                following = self._remember(current, character)
            current = following
        return self._end in self._sets[current]

    def _step(self, current: int, character: str, *, end: bool) -> frozenset[int]:
        reached = {self._start}  # a match may begin anywhere
        for number in self._sets[current]:
            state = self._states[number]
            if state.test is not None and state.test(character):
                reached.update(state.to)
        return self._closure(reached, begin=False, end=end)

    def _remember(self, current: int, character: str) -> int:
        reached = self._step(current, character, end=False)
        self._cached += 1
        if self._cached > _MAX_CACHE or len(self._sets) > _MAX_SETS:
            self._numbers.clear()
            self._sets.clear()
            self._next.clear()
            self._cached = 0
            return self._number(reached)
        number = self._number(reached)
        self._next[current][character] = number
        return number

    def _number(self, states: frozenset[int]) -> int:
        number = self._numbers.get(states)
        if number is None:
            number = self._numbers[states] = len(self._sets)
            self._sets.append(states)
            self._next.append({})
        return number

    def _closure(self, states: set[int], *, begin: bool, end: bool) -> frozenset[int]:
        waiting = list(states)
        seen = set(states)
        while waiting:
            state = self._states[waiting.pop()]
            if state.test is not None or (state.assertion == "^" and not begin):
                continue
            if state.assertion == "$" and not end:
                continue
            for number in state.to:
                if number not in seen:
                    seen.add(number)
                    waiting.append(number)
        return frozenset(seen)


class _Builder:
    """Recursive descent over the pattern; each part returns its (first, last) state."""

    def __init__(self, text: str, *, ignore_case: bool) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._ignore_case = ignore_case
        self.states: list[_State] = []

    def build(self) -> tuple[int, int]:
        part = self._alternatives()
        if self._at < len(self._text):
            raise self._refused("a ')' that closes nothing")
        return part

    def _refused(self, reason: str, back: int = 0) -> PatternRefused:
        return PatternRefused(reason, max(0, self._at - back))

    def _new(self, test: Test | None = None, assertion: str = "") -> int:
        if len(self.states) >= MAX_STATES:
            raise self._refused(f"too large: it needs more than {MAX_STATES} states")
        self.states.append(_State(test, assertion))
        return len(self.states) - 1

    def _link(self, source: int, target: int) -> None:
        self.states[source].to.append(target)

    def _peek(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _alternatives(self) -> tuple[int, int]:
        self._depth += 1
        if self._depth > _NESTING:
            raise self._refused(f"nested deeper than {_NESTING} groups")
        first, last = self._new(), self._new()
        while True:
            begin, end = self._sequence()
            self._link(first, begin)
            self._link(end, last)
            if self._peek() != "|":
                self._depth -= 1
                return first, last
            self._at += 1

    def _sequence(self) -> tuple[int, int]:
        first = last = self._new()
        while self._peek() not in {"", "|", ")"}:
            begin, end = self._repeated()
            self._link(last, begin)
            last = end
        return first, last

    def _repeated(self) -> tuple[int, int]:
        start = self._at
        part = self._atom()
        low, high = self._quantifier()
        if (low, high) == (1, 1):
            return part
        after = self._at
        if self._peek() in {"*", "+"} or (
            self._peek() == "{" and self._text[after + 1 : after + 2].isdigit()
        ):
            raise self._refused("a repetition of a repetition, or a possessive one")
        first = last = self._new()
        for number in range(max(low, 1)):
            begin, end = part if number == 0 else self._again(start, after)
            if number >= low:
                self._link(last, joined := self._new())
                self._link(last, begin)
                self._link(end, joined)
                last = joined
            else:
                self._link(last, begin)
                last = end
            if high is None and number == max(low, 1) - 1:
                self._link(end, begin)
        for _ in range(max(low, 1), high if high is not None else 0):
            begin, end = self._again(start, after)
            joined = self._new()
            self._link(last, begin)
            self._link(end, joined)
            self._link(last, joined)
            last = joined
        return first, last

    def _again(self, start: int, after: int) -> tuple[int, int]:
        """Builds the atom at ``start`` once more."""
        self._at = start
        part = self._atom()
        self._at = after
        return part

    def _quantifier(self) -> tuple[int, int | None]:
        """(least, most) repetitions; a following '?' (lazy) changes nothing here and is skipped."""
        bounds: tuple[int, int | None] = (1, 1)
        match self._peek():
            case "*":
                bounds = (0, None)
            case "+":
                bounds = (1, None)
            case "?":
                bounds = (0, 1)
            case "{":
                return self._counted()
            case _:
                return bounds
        self._at += 1
        self._lazy()
        return bounds

    def _counted(self) -> tuple[int, int | None]:
        close = self._text.find("}", self._at)
        low, comma, high = self._text[self._at + 1 : close].partition(",") if close > 0 else ("", "", "")
        if not (low.isascii() and low.isdigit()) or (high and not (high.isascii() and high.isdigit())):
            raise self._refused("a '{' that is no count like {2} or {2,5}; write \\{ for the character")
        least = int(low[:4])
        most = None if comma and not high else int(high[:4] or low[:4])
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least) or most == 0:
            raise self._refused(f"a count must be rising, above 0 and at most {MAX_REPEAT}")
        self._at = close + 1
        self._lazy()
        return least, most

    def _lazy(self) -> None:
        if self._peek() == "?":
            self._at += 1

    def _atom(self) -> tuple[int, int]:
        character = self._peek()
        self._at += 1
        match character:
            case "(":
                return self._group()
            case "[":
                return self._consume(self._class())
            case ".":
                return self._consume(lambda c: c != "\n")
            case "^" | "$":
                first, last = self._new(assertion=character), self._new()
                self._link(first, last)
                return first, last
            case "\\":
                return self._consume(self._escape())
            case "*" | "+" | "?" | "{":
                raise self._refused("a repetition of nothing", back=1)
            case _:
                return self._consume(self._literal(character))

    def _group(self) -> tuple[int, int]:
        if self._peek() == "?":
            if self._text[self._at : self._at + 2] != "?:":
                raise self._refused(
                    "look-around, named groups and inline flags are not in the subset", back=1
                )
            self._at += 2
        part = self._alternatives()
        if self._peek() != ")":
            raise self._refused("a '(' that is not closed")
        self._at += 1
        return part

    def _consume(self, test: Test) -> tuple[int, int]:
        first, last = self._new(test), self._new()
        self._link(first, last)
        return first, last

    def _folded(self, test: Test) -> Test:
        """Before a class is negated: '[^a]' without regard to case is neither 'a' nor 'A'."""
        if not self._ignore_case:
            return test
        return lambda c: test(c) or test(c.lower()) or test(c.upper())

    def _literal(self, character: str) -> Test:
        return self._folded(lambda c: c == character)

    def _escape(self) -> Test:
        character = self._peek()
        self._at += 1
        if character in _CLASSES:
            return _CLASSES[character]
        if character in _CONTROLS:
            return self._literal(_CONTROLS[character])
        if character == "x":
            digits = self._text[self._at : self._at + 2]
            if len(digits) == 2 and all(d in "0123456789abcdefABCDEF" for d in digits):
                self._at += 2
                return self._literal(chr(int(digits, 16)))
        if not character or character.isalnum():
            raise self._refused(f"the escape '\\{character}' is not in the subset", back=2)
        return self._literal(character)

    def _class(self) -> Test:
        negated = self._peek() == "^"
        if negated:
            self._at += 1
        tests: list[Test] = []
        opened = self._at
        while self._peek() != "]" or self._at == opened:
            if not self._peek():
                raise PatternRefused("a '[' that is not closed", opened - 1)
            tests.append(self._member())
        self._at += 1
        members = tuple(tests)
        return lambda c: any(test(c) for test in members) is not negated

    def _member(self) -> Test:
        if self._peek() == "\\":
            self._at += 1
            return self._escape()
        low = self._peek()
        self._at += 1
        rest = self._text[self._at : self._at + 2]
        if len(rest) == 2 and rest[0] == "-" and rest[1] not in "]\\":
            self._at += 2
            if rest[1] < low:
                raise self._refused(f"the range {low}-{rest[1]} runs backward", back=3)
            return self._folded(lambda c, high=rest[1]: low <= c <= high)  # type: ignore[misc]
        return self._literal(low)


def _not(test: Test) -> Test:
    return lambda c: not test(c)


def _is_word(character: str) -> bool:
    return character == "_" or character.isalnum()


_CONTROLS: Final = {"t": "\t", "n": "\n", "r": "\r"}
_CLASSES: Final[dict[str, Test]] = {
    "d": str.isdigit,
    "w": _is_word,
    "s": str.isspace,
    "D": _not(str.isdigit),
    "W": _not(_is_word),
    "S": _not(str.isspace),
}
