"""A document against its model: pydantic finds the mistakes, this says them to the author, all at once."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from schoolkeeper_policies.problems import PolicyError, Problem
from schoolkeeper_policies.source import Path, Source

M = TypeVar("M", bound=BaseModel)


def validate(cls: type[M], source: Source, *, at: Path = ()) -> M:
    """The document's value (or what lies at ``at``) as ``cls``; raises ``PolicyError`` with every mistake."""
    value: Any = source.value
    for step in at:
        value = value[step]
    if value is None:
        raise PolicyError([source.problem(at, "there is nothing here", "fill it in, or delete it")])
    try:
        return cls.model_validate(value)
    except ValidationError as error:
        raise PolicyError([_problem(cls, source, at, details) for details in error.errors()]) from error


def valid_parts(cls: type[M], source: Source) -> tuple[Source, M] | None:
    """What is left of a document with mistakes: without unknown keys, wrong items of its lists, and other wrong parts.

    It is never used but to find further mistakes in the same reading. None: nothing can be told.
    """
    while isinstance(source.value, dict) and source.value:
        try:
            return source, cls.model_validate(source.value)
        except ValidationError as error:
            wrong = {_part(source, details) for details in error.errors()}
        if () in wrong:
            return None
        source = source.without(wrong)
    return None


def _part(source: Source, details: ErrorDetails) -> Path:
    """The smallest part that can be left out so that the mistake is gone."""
    path = _existing(source, (), details["loc"])
    if details["type"] == "extra_forbidden":
        return path
    return path[:2] if len(path) > 1 and isinstance(path[1], int) else path[:1]


def _problem(cls: type[BaseModel], source: Source, at: Path, details: ErrorDetails) -> Problem:
    path = (*at, *_existing(source, at, details["loc"]))
    kind = details["type"]
    if kind == "extra_forbidden":
        key = str(details["loc"][-1])
        known = _keys(cls, details["loc"][:-1])
        return Problem(
            position=source.at_key(path),
            reason=f"unknown key {key!r}",
            remedy=suggest(key, known, "keys here"),
        )
    if kind == "missing":
        return source.problem(path, f"the key {str(details['loc'][-1])!r} is missing", "add it")
    where = f"{path[-1]!r}: " if path and isinstance(path[-1], str) else ""
    return Problem(position=source.at(path), reason=where + _reason(details), remedy=_remedy(details))


def _existing(source: Source, at: Path, loc: tuple[int | str, ...]) -> Path:
    """``loc`` without what pydantic adds (names of union members): only steps that the document has."""
    path: Path = ()
    for step in loc:
        if (*at, *path, step) in source.values:
            path = (*path, step)
    return path


def _reason(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    match details["type"]:
        case "enum" | "literal_error":
            return f"{details['input']!r} is not one of them"
        case "value_error":
            return str(context.get("error", details["msg"]))
        case "string_pattern_mismatch":
            return f"{details['input']!r} has not the form {context.get('pattern')}"
        case "string_type":
            return f"a text is needed, this is {_what(details['input'])}"
        case "tuple_type" | "list_type":
            return f"a list is needed, this is {_what(details['input'])}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"keys and values are needed, this is {_what(details['input'])}"
        case "too_short":
            return "it must not be empty"
        case _:
            text = details["msg"]
            return text[:1].lower() + text[1:]


def _remedy(details: ErrorDetails) -> str:
    if details["type"] in {"enum", "literal_error"}:
        allowed = re.findall(r"'([^']*)'", str(details.get("ctx", {}).get("expected", "")))
        allowed = [word for word in allowed if word != "unspecified"]
        return suggest(str(details["input"]), allowed, "words here")
    if details["type"] == "string_type":
        return "put it in quotes"
    return ""


def _what(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes or no"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "keys and values"


def suggest(word: str, known: list[str], what: str) -> str:
    """'did you mean ...?' where something is near, else the list of what there is."""
    if near := difflib.get_close_matches(word, known, n=1, cutoff=0.6):
        return f"did you mean {near[0]!r}?"
    return f"{what}: {', '.join(sorted(known))}" if known else ""


def _keys(cls: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that may stand where ``loc`` leads."""
    current: type[BaseModel] = cls
    for step in loc:
        if isinstance(step, str):
            for name, info in current.model_fields.items():
                if step in {name, info.alias}:
                    current = next(_models(info.annotation), current)
    return [info.alias or name for name, info in current.model_fields.items()]


def _models(hint: Any) -> Iterator[type[BaseModel]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    elif get_origin(hint) in (Union, types.UnionType, tuple, list, dict):
        for argument in get_args(hint):
            yield from _models(argument)
