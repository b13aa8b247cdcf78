"""A selection: maps of ``field|modifier: values``, or a list of such maps (any of them)."""

from __future__ import annotations

from typing import Final

from schoolkeeper_policies.problems import Position, Problem
from schoolkeeper_policies.sigma.model import And, Expression, FieldTest, Operator, Or
from schoolkeeper_policies.sigma.regex import Pattern, PatternRefused
from schoolkeeper_policies.source import Path, Source, Value
from schoolkeeper_policies.validate import suggest

MAX_VALUES: Final = 500
MAX_TEXT: Final = 512
_OPERATORS: Final = {operator.value: operator for operator in Operator if operator is not Operator.EQUALS}
_FLAGS: Final = frozenset({"all", "cased", "i"})
_ORDERED: Final = frozenset({Operator.LESS, Operator.LESS_EQUAL, Operator.GREATER, Operator.GREATER_EQUAL})
_TEXTUAL: Final = frozenset({Operator.CONTAINS, Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.REGEX})


def parse_selection(value: Value, path: Path, source: Source, problems: list[Problem]) -> Expression | None:
    """The selection at ``path``, or None after noting in ``problems`` what is wrong with it."""
    if isinstance(value, dict) and value:
        return _map(value, path, source, problems)
    if isinstance(value, list) and value:
        parts = []
        for number, item in enumerate(value):
            if not isinstance(item, dict) or not item:
                reason = "words without a field are not in the subset"
                problems.append(source.problem((*path, number), reason, "write field: value"))
                return None
            parts.append(_map(item, (*path, number), source, problems))
        return None if None in parts else Or(tuple(part for part in parts if part is not None))
    problems.append(
        source.problem(path, "a selection is a map of fields, or a list of maps", "write field: value")
    )
    return None


def _map(value: dict[str, Value], path: Path, source: Source, problems: list[Problem]) -> Expression | None:
    parts: list[Expression] = []
    for key, item in value.items():
        try:
            parts.append(_test(key, item, (*path, key), source))
        except _Refused as refused:
            problems.append(refused.problem)
    if len(parts) != len(value):
        return None
    return parts[0] if len(parts) == 1 else And(tuple(parts))


class _Refused(Exception):
    def __init__(self, position: Position, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.problem = Problem(position=position, reason=reason, remedy=remedy)


def _test(key: str, item: Value, path: Path, source: Source) -> FieldTest:
    place = source.at_key(path)
    field, *modifiers = key.split("|")
    if not field:
        raise _Refused(place, "a test without a field is not in the subset", "write field|modifier: value")
    operator = Operator.EQUALS
    flags: set[str] = set()
    for modifier in modifiers:
        if modifier in _FLAGS:
            flags.add(modifier)
        elif modifier in _OPERATORS and operator is Operator.EQUALS:
            operator = _OPERATORS[modifier]
        elif modifier in _OPERATORS:
            raise _Refused(place, f"{operator.value!r} and {modifier!r} together", "use one of them")
        else:
            known = sorted([*_OPERATORS, *_FLAGS])
            reason = f"the modifier {modifier!r} is not in the subset"
            raise _Refused(place, reason, suggest(modifier, known, "modifiers"))
    _check_flags(operator, flags, place)
    values = _values(item, operator, path, source)
    return FieldTest(
        field=field,
        operator=operator,
        values=values,
        every="all" in flags,
        cased="cased" in flags or (operator is Operator.REGEX and "i" not in flags),
        position=place,
    )


def _check_flags(operator: Operator, flags: set[str], place: Position) -> None:
    if "i" in flags and operator is not Operator.REGEX:
        raise _Refused(place, "'i' belongs to 're'", "texts compare without regard to case anyway")
    if "cased" in flags and operator in (_ORDERED | {Operator.EXISTS, Operator.REGEX}):
        raise _Refused(place, f"'cased' has no meaning with {operator.value!r}", "remove it")
    if "all" in flags and operator in (_ORDERED | {Operator.EXISTS}):
        raise _Refused(place, f"'all' has no meaning with {operator.value!r}", "remove it")


def _values(
    item: Value, operator: Operator, path: Path, source: Source
) -> tuple[bool | int | float | str | None, ...]:
    place = source.at(path)
    items = item if isinstance(item, list) else [item]
    if not items or len(items) > MAX_VALUES:
        raise _Refused(place, f"a list of values has 1 to {MAX_VALUES} of them", "split the rule")
    values: list[bool | int | float | str | None] = []
    for number, value in enumerate(items):
        at = source.at((*path, number))
        if isinstance(value, dict | list):
            raise _Refused(at, "a value is one text, number, true, false or null", "write it flatter")
        _check_value(value, operator, at)
        values.append(value)
    if operator is Operator.EXISTS and (len(values) != 1 or not isinstance(values[0], bool)):
        raise _Refused(place, "'exists' takes true or false", "write exists: true")
    return tuple(values)


def _check_value(value: bool | float | str | None, operator: Operator, at: Position) -> None:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise _Refused(at, f"a text longer than {MAX_TEXT} characters", "shorten it")
    if operator in _ORDERED and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise _Refused(at, f"{operator.value!r} compares numbers", "write a number without quotes")
    if operator in _TEXTUAL and not isinstance(value, str):
        raise _Refused(at, f"{operator.value!r} compares texts", "put it in quotes")
    if operator in _TEXTUAL and value == "":
        raise _Refused(at, "an empty text is in everything", "write what is looked for")
    if operator is Operator.REGEX:
        try:
            Pattern(str(value))
        except PatternRefused as refused:
            reason = f"regular expression, character {refused.offset + 1}: {refused}"
            raise _Refused(at, reason, "see subset.md for what is possible") from refused
