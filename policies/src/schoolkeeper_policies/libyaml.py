"""The graph of nodes by libyaml, where PyYAML carries it: many times quicker than the reader written in Python.

libyaml reads YAML 1.1 and ruamel.yaml reads 1.2, so this takes only texts in which the two cannot differ, and resolves
plain words by ruamel.yaml's table. Whatever is refused here is read again by ruamel.yaml: it alone says what is wrong
and where, so that nobody's errors depend on what is installed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml.resolver import Resolver

try:
    from yaml.cyaml import CLoader
    from yaml.error import YAMLError
except ImportError:  # without PyYAML, or with one that was built without libyaml
    CLoader = None  # type: ignore[assignment,misc]

_TAG: Final = "tag:yaml.org,2002:"
_MAX_DEPTH: Final = 64
_DIFFERENT: Final = re.compile(
    r"^%|<<|(?:^|[\s\[{,?-])[?](?:\s|$)"  # directives; merging; a complex key
    r"|^ *[>|]|^---.*[>|]|[>|][-+0-9]*#"  # a whole document that is a block text; a comment too near to its mark
    r"|\t|\r(?!\n)|[\x85\xa0\u2028\u2029]"  # where a line or a blank ends is another thing in 1.1
    r"|[\ud800-\udfff]",
    re.MULTILINE,
)
"""Where this is found, ruamel.yaml reads. It finds too much rather than too little: quoted texts are searched, too."""


@dataclass(slots=True)
class Node:
    """As ruamel.yaml's: ``value`` is a text, a list of nodes, or a list of pairs of nodes."""

    id: str
    tag: str
    start_mark: Any
    value: Any = field(default_factory=list)
    anchor: None = None
    style: str | None = None
    key: Node | None = None
    """Of a mapping: the key whose value comes next."""


class _Other(Exception):
    """Something that ruamel.yaml has to read."""


def available() -> bool:
    return CLoader is not None


def compose_all(text: str) -> list[Node] | None:
    """The root node of every document, whole or not at all; None where ruamel.yaml has to read the text."""
    if CLoader is None or _DIFFERENT.search(text):
        return None
    try:
        return _composed(CLoader(text))
    except (YAMLError, _Other, ValueError):
        return None


def _composed(events: Any) -> list[Node]:
    """Of libyaml's events and not by its composer, which a deep text makes overrun the stack."""
    roots: list[Node] = []
    above: list[Node] = []
    while (event := events.get_event()) is not None:
        match type(event).__name__:
            case "ScalarEvent":
                _add(_scalar(event), above, roots)
            case "MappingStartEvent" | "SequenceStartEvent" as kind:
                if event.anchor is not None or event.tag is not None or len(above) >= _MAX_DEPTH:
                    raise _Other
                mapping = kind == "MappingStartEvent"
                node = Node(
                    "mapping" if mapping else "sequence",
                    _TAG + ("map" if mapping else "seq"),
                    event.start_mark,
                )
                _add(node, above, roots)
                above.append(node)
            case "MappingEndEvent" | "SequenceEndEvent":
                above.pop()
            case "AliasEvent":
                raise _Other
            case _:
                pass  # where streams and documents begin and end
    return roots


def _add(node: Node, above: list[Node], roots: list[Node]) -> None:
    if not above:
        roots.append(node)
    elif (parent := above[-1]).id == "sequence":
        parent.value.append(node)
    elif parent.key is None:
        parent.key = node
    else:
        parent.value.append((parent.key, node))
        parent.key = None


def _scalar(event: Any) -> Node:
    if event.anchor is not None or event.tag is not None:
        raise _Other
    tag = _TAG + "str"
    if event.implicit[0]:
        if not event.value:
            raise _Other  # the two place a value that is not there differently
        for known, pattern in Resolver.yaml_implicit_resolvers.get(event.value[:1], ()):
            if pattern.match(event.value):
                tag = str(known)
                break
    return Node("scalar", tag, event.start_mark, event.value, style=event.style or None)
