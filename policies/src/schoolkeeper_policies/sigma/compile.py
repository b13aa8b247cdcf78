"""A rule's expression into one closure over a record.

Values are cut at ``MAX_VALUE`` characters and lists at ``MAX_ITEMS``, so that no event can make a rule slow. Texts
compare without regard to case unless ``cased``; ``*`` and ``?`` in a rule's text are wildcards, a backslash takes a
wildcard at its word. A field that a record does not have matches nothing but ``null`` and ``exists: false``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol, assert_never

from schoolkeeper_policies.sigma.model import And, Expression, FieldTest, Not, Operator, Or
from schoolkeeper_policies.sigma.regex import Pattern

MAX_VALUE: Final = 4_096
MAX_ITEMS: Final = 64

Scalar = None | bool | int | float | str
FieldValue = Scalar | tuple[Scalar, ...]


class Record(Protocol):
    """Anything with named fields: an event, a collector's fact, a JSON object."""

    def get(self, field: str, /) -> FieldValue:
        """The field's value, several values as a tuple; None for a field that is not there."""


Matcher = Callable[[Record], bool]
_ValueTest = Callable[[Scalar], bool]


def compile_expression(expression: Expression) -> Matcher:
    """The closure that says whether a record matches. Raises ``PatternRefused`` for a regular expression."""
    match expression:
        case And(parts):
            every = tuple(compile_expression(part) for part in parts)
            return lambda record: all(part(record) for part in every)
        case Or(parts):
            some = tuple(compile_expression(part) for part in parts)
            return lambda record: any(part(record) for part in some)
        case Not(part):
            inner = compile_expression(part)
            return lambda record: not inner(record)
        case FieldTest():
            return _field(expression)
        case _:
            assert_never(expression)


def _field(test: FieldTest) -> Matcher:
    name = test.field
    if test.operator is Operator.EXISTS:
        wanted = test.values[0]
        return lambda record: (record.get(name) is not None) is wanted
    tests = tuple(_value_test(test, value) for value in test.values)
    nulls = None in test.values
    if test.every:
        return lambda record: (
            (held := _values(record.get(name))) != ()
            and all(any(one(value) for value in held) for one in tests)
        )

    def matches(record: Record) -> bool:
        held = record.get(name)
        if held is None:
            return nulls
        return any(one(value) for value in _values(held) for one in tests)

    return matches


def _values(held: FieldValue) -> tuple[Scalar, ...]:
    if isinstance(held, tuple):
        return tuple(_cut(value) for value in held[:MAX_ITEMS])
    return () if held is None else (_cut(held),)


def _cut(value: Scalar) -> Scalar:
    return value[:MAX_VALUE] if isinstance(value, str) else value


def _value_test(test: FieldTest, wanted: Scalar) -> _ValueTest:
    match test.operator:
        case Operator.REGEX:
            pattern = Pattern(str(wanted), ignore_case=not test.cased)
            return lambda value: isinstance(value, str) and pattern.search(value)
        case Operator.LESS | Operator.LESS_EQUAL | Operator.GREATER | Operator.GREATER_EQUAL:
            return _ordered(test.operator, wanted)
        case Operator.EXISTS:
            raise AssertionError("handled where the field is read")
        case Operator.EQUALS | Operator.CONTAINS | Operator.STARTS_WITH | Operator.ENDS_WITH:
            if isinstance(wanted, str):
                return _text(test, wanted)
            return lambda value: _same(value, wanted)
        case _:
            assert_never(test.operator)


def _same(value: Scalar, wanted: Scalar) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return value == wanted


def _ordered(operator: Operator, wanted: Scalar) -> _ValueTest:
    assert isinstance(wanted, int | float)
    bound = wanted

    def compare(value: Scalar) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        match operator:
            case Operator.LESS:
                return value < bound
            case Operator.LESS_EQUAL:
                return value <= bound
            case Operator.GREATER:
                return value > bound
            case _:
                return value >= bound

    return compare


def _text(test: FieldTest, wanted: str) -> _ValueTest:
    pieces = list(split_wildcards(wanted if test.cased else wanted.lower()))
    star: list[str | None] = [None]
    if test.operator in (Operator.CONTAINS, Operator.ENDS_WITH):
        pieces = star + pieces
    if test.operator in (Operator.CONTAINS, Operator.STARTS_WITH):
        pieces = pieces + star
    match_text = _glob(pieces)
    cased = test.cased

    def compare(value: Scalar) -> bool:
        if isinstance(value, bool) or value is None:
            return False
        text = value if isinstance(value, str) else str(value)
        return match_text(text if cased else text.lower())

    return compare


ANY_ONE: Final = "\0"
"""Stands for ``?`` inside a piece; a rule's text cannot hold this character."""


def split_wildcards(text: str) -> Iterable[str | None]:
    """Pieces of plain text with None for each ``*``; ``?`` becomes ``ANY_ONE``."""
    piece = ""
    at = 0
    while at < len(text):
        character = text[at]
        if character == "\\" and text[at + 1 : at + 2] in {"*", "?", "\\"}:
            piece += text[at + 1]
            at += 2
            continue
        if character == "*":
            if piece:
                yield piece
            yield None
            piece = ""
        else:
            piece += ANY_ONE if character == "?" else character
        at += 1
    if piece:
        yield piece


def _glob(pieces: list[str | None]) -> Callable[[str], bool]:
    """Matches a whole text; at most length of the text times length of the pattern steps."""
    if None not in pieces and not any(ANY_ONE in piece for piece in pieces if piece):
        whole = "".join(piece for piece in pieces if piece)
        return lambda text: text == whole
    parts: list[str] = [""]
    for piece in pieces:
        if piece is None:
            parts.append("")
        else:
            parts[-1] += piece
    head, *middle = parts
    tail = middle.pop() if middle else None

    def matches(text: str) -> bool:
        if not _at(text, head, 0):
            return False
        if tail is None:
            return len(text) == len(head)
        start = len(head)
        for part in middle:
            found = _find(text, part, start)
            if found < 0:
                return False
            start = found + len(part)
        last = len(text) - len(tail)
        return last >= start and _at(text, tail, last)

    return matches


def _at(text: str, part: str, start: int) -> bool:
    if ANY_ONE not in part:
        return text.startswith(part, start)
    if start + len(part) > len(text):
        return False
    return all(p in (ANY_ONE, c) for p, c in zip(part, text[start : start + len(part)], strict=True))


def _find(text: str, part: str, start: int) -> int:
    if ANY_ONE not in part:
        return text.find(part, start)
    return next((at for at in range(start, len(text) - len(part) + 1) if _at(text, part, at)), -1)
