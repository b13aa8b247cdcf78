"""The condition of a rule: ``selection and not (filter or 1 of other_*)``."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import Final

from schoolkeeper_policies.sigma.model import And, Expression, Not, Or

MAX_LENGTH: Final = 1_000
_NESTING: Final = 20
_TOKEN: Final = re.compile(r"\s*(?:([()])|([A-Za-z0-9_*]+)|(\S))")


class ConditionRefused(ValueError):
    """A condition outside the subset; ``offset`` counts characters from its beginning."""

    def __init__(self, reason: str, remedy: str, offset: int) -> None:
        super().__init__(reason)
        self.remedy = remedy
        self.offset = offset


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    offset: int

    @property
    def word(self) -> str:
        return self.text.lower()


def parse_condition(text: str, selections: dict[str, Expression]) -> tuple[Expression, set[str]]:
    """The expression and the names it used; raises ``ConditionRefused``."""
    if len(text) > MAX_LENGTH:
        raise ConditionRefused(f"longer than {MAX_LENGTH} characters", "split the rule", MAX_LENGTH)
    parser = _Parser(_tokens(text), selections, len(text))
    expression = parser.either(0)
    if (rest := parser.peek()) is not None:
        raise ConditionRefused(f"{rest.text!r} is not expected here", "join parts by and, or", rest.offset)
    return expression, parser.used


def _tokens(text: str) -> list[_Token]:
    tokens = []
    for found in _TOKEN.finditer(text):
        if found[3] == "|":
            remedy = "use a correlation rule (event_count, value_count, temporal)"
            raise ConditionRefused("aggregations after '|' are not in the subset", remedy, found.start(3))
        if found[3]:
            raise ConditionRefused(f"{found[3]!r} has no place in a condition", "remove it", found.start(3))
        tokens.append(_Token(found[1] or found[2], found.start(1) if found[1] else found.start(2)))
    return tokens


class _Parser:
    def __init__(self, tokens: list[_Token], selections: dict[str, Expression], end: int) -> None:
        self._tokens = tokens
        self._at = 0
        self._selections = selections
        self._end = end
        self.used: set[str] = set()

    def peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def either(self, depth: int) -> Expression:
        parts = [self._both(depth)]
        while self._take("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _both(self, depth: int) -> Expression:
        parts = [self._negated(depth)]
        while self._take("and"):
            parts.append(self._negated(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _negated(self, depth: int) -> Expression:
        token = self.peek()
        if depth > _NESTING:
            at = token.offset if token else self._end
            raise ConditionRefused(f"nested deeper than {_NESTING} levels", "write it flatter", at)
        if self._take("not"):
            return Not(self._negated(depth + 1))
        if self._take("("):
            inner = self.either(depth + 1)
            if not self._take(")"):
                raise ConditionRefused("a '(' that is not closed", "add ')'", self._end)
            return inner
        return self._named()

    def _take(self, word: str) -> bool:
        token = self.peek()
        if token is not None and token.word == word:
            self._at += 1
            return True
        return False

    def _named(self) -> Expression:
        token = self.peek()
        if token is None:
            raise ConditionRefused("the condition ends too early", "name a selection", self._end)
        self._at += 1
        following = self.peek()
        if following is not None and following.word == "of":
            return self._quantified(token)
        if token.word in {"and", "or", "of", "them", ")"} or token.text not in self._selections:
            known = ", ".join(sorted(self._selections))
            raise ConditionRefused(
                f"there is no selection {token.text!r}", f"selections: {known}", token.offset
            )
        self.used.add(token.text)
        return self._selections[token.text]

    def _quantified(self, quantity: _Token) -> Expression:
        self._at += 1
        pattern = self.peek()
        if quantity.word not in {"1", "all"}:
            raise ConditionRefused(
                f"'{quantity.text} of' is not in the subset", "write '1 of' or 'all of'", quantity.offset
            )
        if pattern is None:
            raise ConditionRefused("'of' what?", "write 'them' or a name like selection_*", self._end)
        self._at += 1
        names = [
            name
            for name in self._selections
            if (pattern.word == "them" and not name.startswith("_"))
            or fnmatch.fnmatchcase(name, pattern.text)
        ]
        if not names:
            known = ", ".join(sorted(self._selections))
            raise ConditionRefused(
                f"no selection is named like {pattern.text!r}", f"selections: {known}", pattern.offset
            )
        self.used.update(names)
        parts = tuple(self._selections[name] for name in names)
        return Or(parts) if quantity.word == "1" else And(parts)
