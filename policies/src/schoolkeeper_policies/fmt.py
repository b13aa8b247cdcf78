"""One form for a pack's files: same indent, same line length, every comment kept, and the same when done twice.

Whatever the form, the meaning stays: what would be read otherwise, or would lose a comment, is refused and not written.
"""

from __future__ import annotations

import re
from collections import Counter
from io import StringIO
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from schoolkeeper_policies.problems import PolicyError, Position, Problem
from schoolkeeper_policies.source import Value, read_all

WIDTH: Final = 110
_COMMENT: Final = re.compile(r"(?:^|\s)#(.*)$")
_ROUNDS: Final = 4


def format_text(text: str, *, file: str) -> str:
    """The text in its form; raises ``PolicyError`` for what is no file of a pack, or cannot be put into form safely."""
    meaning = [source.value for source in read_all(text, file=file)]
    if not meaning:
        return text.strip() + "\n" if text.strip() else ""
    formed = text
    for _ in range(_ROUNDS):
        again = _formed(formed, file)
        if again == formed:
            break
        formed = again
    else:
        raise _refused(file, "its form does not settle")
    _check(text, formed, meaning, file)
    return formed


def _formed(text: str, file: str) -> str:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = WIDTH
    yaml.allow_unicode = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    # `[{a: b}]`, not `[a: b]`: that looks like a list of texts.
    yaml.brace_single_entry_mapping_in_flow_sequence = True
    out = StringIO()
    try:
        documents = list(yaml.load_all(text))
        yaml.dump_all(documents, out)
    except YAMLError as error:
        raise _refused(file, f"no YAML: {error}") from error
    lines = (line.rstrip() for line in out.getvalue().strip("\n").splitlines())
    # One empty line is enough anywhere.
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _check(before: str, after: str, meaning: list[Value], file: str) -> None:
    if [source.value for source in read_all(after, file=file)] != meaning:
        raise _refused(file, "it would mean something else in another form")
    lost = _comments(before) - _comments(after)
    if lost:
        raise _refused(file, f"a comment would be lost: {next(iter(lost))!r}")


def _comments(text: str) -> Counter[str]:
    found = (_COMMENT.search(line) for line in text.splitlines())
    return Counter(match[1].strip() for match in found if match)


def _refused(file: str, reason: str) -> PolicyError:
    problem = Problem(
        position=Position(file=file), reason=reason, remedy="left as it is; put it into form by hand"
    )
    return PolicyError([problem])
