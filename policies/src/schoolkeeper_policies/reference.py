"""The language described from its own model: a schema for editors and a page for people. Neither is written by hand."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from schoolkeeper_policies import model
from schoolkeeper_policies.categories import shipped, shipped_names

SCHEMA_FILE = "pack.schema.json"
REFERENCE_FILE = "reference.md"
_UNSAID = "unspecified"
_MADE = "`make generate` writes this page from the model of the language; change the texts there."


def write(into: str | Path) -> None:
    """Both documents into a folder, which is made where it is missing."""
    folder = Path(into)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCHEMA_FILE).write_text(schema(), encoding="utf-8")
    (folder / REFERENCE_FILE).write_text(reference(), encoding="utf-8")


def schema() -> str:
    """JSON Schema 2020-12 of one file of a pack, for editors (`# yaml-language-server: $schema=...`)."""
    found = model.PackFile.model_json_schema(by_alias=True)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A file of a Schoolkeeper policy pack",
    }
    return json.dumps({**_plain(found), **head}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    """Without words that only the wire knows, and without titles that repeat the key."""
    match value:
        case dict():
            return {
                key: _plain(item)
                for key, item in value.items()
                if not (key == "title" and isinstance(item, str))
                and not (key == "default" and item == _UNSAID)
            }
        case list():
            return [_plain(item) for item in value if item != _UNSAID]
        case str():
            return " ".join(value.split()) if "\n" in value else value
        case _:
            return value


def reference() -> str:
    """The page: every key of every part, its form, its default, what it means."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# The policy language"
    yield ""
    yield _MADE
    yield ""
    yield "A pack is a folder of YAML files. Any file may hold any of the keys of the first table; `pack`, `school`,"
    yield "`people`, `screen`, `collection` and `notice` stand once in the whole pack. Names of days, decisions and"
    yield "modes are written as they stand here. No anchors, no tags, no key twice."
    todo: list[type[BaseModel]] = [model.PackFile]
    seen: set[type[BaseModel]] = set()
    while todo:
        cls = todo.pop(0)
        if cls in seen:
            continue
        seen.add(cls)
        yield ""
        yield f"## {_heading(cls)}"
        yield ""
        yield _summary(cls)
        yield ""
        yield "| key | form | default | meaning |"
        yield "|---|---|---|---|"
        for name, info in cls.model_fields.items():
            yield _row(name, info)
            todo += [one for one in _models(info.annotation) if one not in seen]
    yield from _groups_of_people()
    yield from _categories()


def _row(name: str, info: FieldInfo) -> str:
    cells = (
        f"`{info.alias or name}`",
        _form(info.annotation, info.metadata),
        _default(info),
        info.description or "",
    )
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _heading(cls: type[BaseModel]) -> str:
    return "A file" if cls is model.PackFile else cls.__name__


def _summary(cls: type[BaseModel]) -> str:
    return _words(cls.__doc__)


def _words(text: str | None) -> str:
    return " ".join((text or "").replace("``", "`").split())


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "needed"
    value = info.default
    if value is PydanticUndefined or value is None or value == () or value == "":
        return ""
    if isinstance(value, Enum):
        return "" if value.value == _UNSAID else f"`{value.value}`"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{value}`"


def _form(hint: Any, metadata: list[Any]) -> str:
    """In words: 'list of text', 'one of ...', 'number from 5 to 10000'."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _form(arguments[0], list(arguments[1:]))
    if origin in (Union, types.UnionType):
        return " or ".join(_form(one, metadata) for one in arguments if one is not type(None))
    if origin is Literal:
        words = [item.value if isinstance(item, Enum) else item for item in arguments]
        return ", ".join(f"`{word}`" for word in words)
    if origin is tuple:
        return f"list of {_form(arguments[0], [])}"
    if origin is dict:
        return f"{_form(arguments[0], [])}: {_form(arguments[1], [])}"
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    if isinstance(hint, type) and issubclass(hint, Enum):
        return ", ".join(f"`{member.value}`" for member in hint if member.value != _UNSAID)
    return _scalar(hint, metadata)


def _scalar(hint: Any, metadata: list[Any]) -> str:
    if hint is int:
        low = next((item.ge for item in metadata if getattr(item, "ge", None) is not None), None)
        high = next((item.le for item in metadata if getattr(item, "le", None) is not None), None)
        bounds = f" from {low}" if low is not None else ""
        return f"number{bounds}" + (f" to {high}" if high is not None else "")
    words = {str: "text", bool: "`true` or `false`"}
    name = words.get(hint, "day, as 2026-11-23")
    pattern = next((item.pattern for item in metadata if getattr(item, "pattern", None)), None)
    return f"{name} like `{pattern}`" if pattern else name


def _models(hint: Any) -> Iterator[type[BaseModel]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for argument in get_args(hint):
        yield from _models(argument)


def _groups_of_people() -> Iterator[str]:
    yield from ("", "## Groups of people that every school has", "", "| name | who |", "|---|---|")
    yield f"| `{model.EVERYBODY}` | Whoever uses the device. |"
    for name, words in model.BUILT_IN.items():
        yield f"| `{name}` | {words} |"


def _categories() -> Iterator[str]:
    yield from (
        "",
        "## Categories",
        "",
        "| name | what | programs | sites | the filter knows more |",
        "|---|---|---|---|---|",
    )
    for name in shipped_names():
        one = shipped(name)
        more = "yes" if one.filter_knows_more else ""
        yield f"| `{name}` | {one.description} | {len(one.applications)} | {len(one.sites)} | {more} |"
