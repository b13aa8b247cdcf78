"""YAML into plain values that remember where each of them stood.

A subset of YAML 1.2 on purpose: no anchors and aliases (they hide what a rule says, and can blow up), no tags, every
key a text and only once. What is left can be read aloud. The graph of nodes is built by ruamel.yaml, or more quickly
by libyaml with the same outcome (``libyaml.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from schoolkeeper_policies import libyaml
from schoolkeeper_policies.problems import PolicyError, Position, Problem

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
Path = tuple[str | int, ...]

MAX_CHARACTERS: Final = 1 << 20
MAX_DEPTH: Final = 32
_TAG: Final = "tag:yaml.org,2002:"
_NOT_PLAIN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffe\uffff]")


@dataclass(slots=True, kw_only=True)
class Source:
    """One document: its value, and the position of every key and value by path."""

    file: str
    value: Value = None
    keys: dict[Path, Position] = field(default_factory=dict)
    values: dict[Path, Position] = field(default_factory=dict)
    whole: Source | None = None
    """The document as it was, where parts of it are left out."""

    def at(self, path: Path) -> Position:
        """Where the value at ``path`` stands, or the nearest thing around it that exists."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, Position(file=self.file))

    def at_key(self, path: Path) -> Position:
        """Where the key of ``path`` stands."""
        return self.keys.get(path) or self.at(path)

    def problem(self, path: Path, reason: str, remedy: str = "") -> Problem:
        return Problem(position=self.at(path), reason=reason, remedy=remedy)

    def without(self, paths: Collection[Path]) -> Source:
        """The document without these keys and items; what is left keeps its place in the file."""
        left = Source(file=self.file, whole=self.whole or self)

        def take(value: Value, path: Path, now: Path) -> Value:
            if path in self.keys:
                left.keys[now] = self.keys[path]
            if path in self.values:
                left.values[now] = self.values[path]
            if isinstance(value, dict):
                kept = [key for key in value if (*path, key) not in paths]
                return {key: take(value[key], (*path, key), (*now, key)) for key in kept}
            if isinstance(value, list):
                numbers = [number for number in range(len(value)) if (*path, number) not in paths]
                return [take(value[n], (*path, n), (*now, new)) for new, n in enumerate(numbers)]
            return value

        left.value = take(self.value, (), ())
        return left


def read(text: str, *, file: str) -> Source:
    """The one document of ``text``; raises ``PolicyError`` naming the place of what is not of the subset."""
    documents = read_all(text, file=file)
    if len(documents) > 1:
        raise _refused(documents[1].at(()), "a second document", "one file holds one document; remove '---'")
    return documents[0] if documents else Source(file=file)


def read_all(text: str, *, file: str) -> list[Source]:
    """Every document of ``text``, in order (a file of detection rules may hold several); raises ``PolicyError``."""
    if len(text) > MAX_CHARACTERS:
        reason = f"the file has more than {MAX_CHARACTERS} characters"
        raise _refused(Position(file=file), reason, "split it into several files")
    if found := _NOT_PLAIN.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        raise _refused(
            Position(file=file, line=line, column=column), "an invisible control character", "remove it"
        )
    if (nodes := libyaml.compose_all(text)) is not None:
        try:
            return _documents(nodes, file)
        except (PolicyError, ValueError, RecursionError):
            pass  # what is wrong is found again below, and said as always
    try:
        return _documents(YAML(typ="safe", pure=True).compose_all(StringIO(text)), file)
    except MarkedYAMLError as error:
        raise _refused(
            _of_mark(file, error.problem_mark), error.problem or "no YAML", _hint(error)
        ) from error
    except PolicyError:
        raise
    except (YAMLError, ValueError, RecursionError) as error:
        raise _refused(Position(file=file), f"no YAML: {error}", "check the file's indentation") from error


def _documents(nodes: Iterable[Any], file: str) -> list[Source]:
    documents = []
    for node in nodes:
        source = Source(file=file)
        source.value = _Reader(source).value(node, ())
        documents.append(source)
    return documents


class _Reader:
    """Nodes of either builder: they are alike, and their classes are not."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._seen: set[int] = set()

    def value(self, node: Any, path: Path) -> Value:
        position = _of_mark(self._source.file, node.start_mark)
        self._source.values[path] = position
        if len(path) > MAX_DEPTH:
            raise _refused(position, f"nested deeper than {MAX_DEPTH} levels", "write it flatter")
        if getattr(node, "anchor", None) is not None or id(node) in self._seen:
            raise _refused(position, "anchors and aliases are not used here", "write the value out")
        self._seen.add(id(node))
        tag = str(node.tag or "")
        if node.id == "mapping" and tag == _TAG + "map":
            return self._mapping(node, path)
        if node.id == "sequence" and tag == _TAG + "seq":
            return [self.value(item, (*path, number)) for number, item in enumerate(node.value)]
        if node.id == "scalar":
            return self._scalar(node, tag, position)
        raise _refused(position, f"the tag {tag.removeprefix(_TAG)!r} is not used here", "remove it")

    def _mapping(self, node: Any, path: Path) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for key_node, item in node.value:
            place = _of_mark(self._source.file, key_node.start_mark)
            if key_node.id != "scalar" or getattr(key_node, "anchor", None) is not None:
                raise _refused(place, "a key must be a plain word", "write it as text")
            key = str(key_node.value)
            if key == "<<" and key_node.style is None:
                raise _refused(place, "merging of mappings is not used here", "write the keys out")
            if key in found:
                first = self._source.keys[(*path, key)].line
                raise _refused(
                    place, f"the key {key!r} stands here a second time", f"the first is in line {first}"
                )
            self._source.keys[(*path, key)] = place
            found[key] = self.value(item, (*path, key))
        return found

    def _scalar(self, node: Any, tag: str, position: Position) -> Value:
        text = str(node.value)
        match tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return _number(text, position)
            case "float":
                return _fraction(text, position)
            case "str" | "timestamp":
                return text
            case other:
                raise _refused(position, f"the tag {other!r} is not used here", "remove it")


def _number(text: str, position: Position) -> int:
    if not re.fullmatch(r"[-+]?[0-9]{1,18}", text):
        raise _refused(
            position, f"{text!r} is no plain number", "write it in decimal, or in quotes if it is text"
        )
    return int(text)


def _fraction(text: str, position: Position) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _refused(
            position, f"{text!r} is no plain number", "write it in decimal, or in quotes if it is text"
        )
    return number


def _hint(error: MarkedYAMLError) -> str:
    said = error.problem or ""
    if "tab" in said or "\\t" in said:
        return "indent with spaces"
    if "mapping values are not allowed" in said:
        return "put a text that holds ': ' in quotes"
    return "check quotes and indentation from here upwards"


def _of_mark(file: str, mark: object) -> Position:
    line, column = getattr(mark, "line", -1), getattr(mark, "column", -1)
    return Position(file=file, line=line + 1, column=column + 1)


def _refused(position: Position, reason: str, remedy: str) -> PolicyError:
    return PolicyError([Problem(position=position, reason=reason, remedy=remedy)])
