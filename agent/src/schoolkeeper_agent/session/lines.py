"""The one message on the socket: something to say, as a JSON line of bounded length."""

from __future__ import annotations

import json
from dataclasses import dataclass

MAX_LINE = 8192
_MAX_TITLE, _MAX_TEXT = 200, 2000


class LineMistake(ValueError):
    """A line that is no message; the connection it came on is of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    title: str
    text: str


def write(words: Words) -> bytes:
    """One line; too long texts are cut, with an ellipsis."""
    return (
        json.dumps({"title": _cut(words.title, _MAX_TITLE), "text": _cut(words.text, _MAX_TEXT)}).encode()
        + b"\n"
    )


def read(line: bytes) -> Words:
    """Raises ``LineMistake``."""
    try:
        found = json.loads(line)
        title, text = found["title"], found["text"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LineMistake(f"not a message of the service: {error!r}") from error
    if not isinstance(title, str) or not isinstance(text, str):
        raise LineMistake("title and text must be text")
    return Words(title=plain(title), text=plain(text))


def plain(text: str) -> str:
    """Without control characters, which could move a terminal's cursor; line breaks stay."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
