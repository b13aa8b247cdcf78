"""The two messages on the socket, JSON lines of bounded length: something to say, and whether it was shown."""

from __future__ import annotations

import json
from dataclasses import dataclass

MAX_LINE = 8192
_MAX_TITLE, _MAX_TEXT = 200, 2000


class LineMistake(ValueError):
    """A line that is no message; the connection it came on is of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """``number`` is asked back for in the answer; 0 asks for none."""

    title: str
    text: str
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of the words of that number: shown to the person, or not."""

    number: int
    shown: bool


def write(words: Words) -> bytes:
    """One line; too long texts are cut, with an ellipsis."""
    said = {
        "title": _cut(words.title, _MAX_TITLE),
        "text": _cut(words.text, _MAX_TEXT),
        "number": words.number,
    }
    return json.dumps(said).encode() + b"\n"


def read(line: bytes) -> Words:
    """Raises ``LineMistake``."""
    found = _object(line)
    title, text, number = found.get("title"), found.get("text"), found.get("number", 0)
    if not isinstance(title, str) or not isinstance(text, str):
        raise LineMistake("title and text must be text")
    return Words(title=plain(title), text=plain(text), number=_number(number))


def write_answer(answer: Answer) -> bytes:
    return json.dumps({"number": answer.number, "shown": answer.shown}).encode() + b"\n"


def read_answer(line: bytes) -> Answer:
    """Of a helper, which may be anybody's program. Raises ``LineMistake``."""
    found = _object(line)
    shown = found.get("shown")
    if not isinstance(shown, bool):
        raise LineMistake("shown must be true or false")
    return Answer(number=_number(found.get("number")), shown=shown)


def _object(line: bytes) -> dict[str, object]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LineMistake(f"not a message of the service: {error!r}") from error
    if not isinstance(found, dict):
        raise LineMistake("a message is an object")
    return found


def _number(found: object) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 1 << 53:
        raise LineMistake("number must be a whole number")
    return found


def plain(text: str) -> str:
    """Without control characters, which could move a terminal's cursor; line breaks stay."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
