"""The messages on the socket, JSON lines of bounded length.

The service says words to be shown; a peer answers whether it showed them. A peer asks for an exception, or what was
refused lately; the service replies. What is told to the school is in ``telling_lines.py``, what is said to the
agreement in ``agreeing_lines.py``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from schoolkeeper_agent.session import agreeing_lines, telling_lines

SOCKET_NAME = "session.sock"
"""In the service's run folder."""
MAX_LINE = 16_384
MAX_PEER_LINE = 16_384
MAX_ASKED = 300
"""Characters of a person's own words; the same as ``model.ExceptionRequested`` allows."""
_MAX_TITLE, _MAX_TEXT, _MAX_NAME = 200, 3000, 128


class Because(StrEnum):
    """Why somebody asks."""

    LESSON = "lesson"
    HOMEWORK = "homework"
    WORK = "work"
    ACCESSIBILITY = "accessibility"
    MISTAKE = "mistake"
    OTHER = "other"


class Outcome(StrEnum):
    """What became of a request, so far. Only ``DELIVERED`` says that the school holds it."""

    LISTED = "listed"
    REFUSED = "refused"
    TAKEN = "taken"
    KEPT = "kept"
    DELIVERED = "delivered"


class LineMistake(ValueError):
    """A line that is no message; the connection it came on is of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """``number`` is asked back for in the answer; 0 asks for none. ``ask``: the rule that an exception can be asked for
    from, or empty. ``opens``: the window that says it better, where there is a desktop (``opening.py``); or empty."""

    title: str
    text: str
    number: int = 0
    ask: str = ""
    opens: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of the words of that number: shown to the person, or not."""

    number: int
    shown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A peer asks for an exception from this rule. Who asks is not said here: the kernel knows."""

    rule_id: str
    because: Because = Because.OTHER
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskLately:
    """A peer asks what was refused to its account, and what became of its requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """To ``Ask`` and ``AskLately``, in words for the person."""

    outcome: Outcome
    text: str


def write(said: Words | Reply) -> bytes:
    """One line; too long texts are cut, with an ellipsis."""
    if isinstance(said, Reply):
        return write_line({"outcome": said.outcome.value, "text": _cut(plain(said.text), _MAX_TEXT)})
    return write_line(
        {
            "title": _cut(plain(said.title), _MAX_TITLE),
            "text": _cut(plain(said.text), _MAX_TEXT),
            "number": said.number,
            "ask": said.ask if len(said.ask) <= _MAX_NAME else "",
            "opens": said.opens,
        }
    )


def read(line: bytes) -> Words | Reply:
    """Of the service. Raises ``LineMistake``."""
    found = object_of(line)
    if "outcome" in found:
        return Reply(outcome=one_of(Outcome, found["outcome"]), text=text_in(found, "text", _MAX_TEXT))
    return Words(
        title=text_in(found, "title", _MAX_TITLE),
        text=text_in(found, "text", _MAX_TEXT),
        number=number_in(found.get("number", 0)),
        ask=text_in(found, "ask", _MAX_NAME, otherwise=""),
        opens=text_in(found, "opens", _MAX_NAME, otherwise=""),
    )


def write_answer(answer: Answer) -> bytes:
    return write_line({"number": answer.number, "shown": answer.shown})


def write_ask(ask: Ask | AskLately) -> bytes:
    if isinstance(ask, AskLately):
        return write_line({"lately": True})
    return write_line({"ask": ask.rule_id, "because": ask.because.value, "words": ask.words})


def read_peer(line: bytes) -> Answer | Ask | AskLately | telling_lines.Request | agreeing_lines.Request:
    """Of a helper or of a command of ours, which may be anybody's program. Raises ``LineMistake``."""
    found = object_of(line)
    if "tell" in found:
        from schoolkeeper_agent.session.telling_lines import (
            read_request,
        )  # only who tells something pays for it

        return read_request(found)
    if "agreement" in found:
        from schoolkeeper_agent.session.agreeing_lines import read_request as read_agreeing

        return read_agreeing(found)
    if "lately" in found:
        return AskLately()
    if "ask" in found:
        return Ask(
            rule_id=text_in(found, "ask", _MAX_NAME),
            because=one_of(Because, found.get("because", Because.OTHER.value)),
            words=text_in(found, "words", MAX_ASKED, otherwise=""),
        )
    shown = found.get("shown")
    if not isinstance(shown, bool):
        raise LineMistake("shown must be true or false")
    return Answer(number=number_in(found.get("number")), shown=shown)


def write_line(said: dict[str, object]) -> bytes:
    # Unpaired surrogates are no UTF-8.
    return json.dumps(said, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def text_in(found: dict[str, object], name: str, limit: int, *, otherwise: str | None = None) -> str:
    said = found.get(name, otherwise)
    if not isinstance(said, str) or len(said) > limit:
        raise LineMistake(f"{name} must be text of at most {limit} characters")
    return plain(said)


def truth_in(found: dict[str, object], name: str) -> bool:
    """What is not said is false."""
    said = found.get(name, False)
    if not isinstance(said, bool):
        raise LineMistake(f"{name} must be true or false")
    return said


_Word = TypeVar("_Word", bound=StrEnum)


def one_of(words: type[_Word], said: object) -> _Word:
    try:
        return words(str(said))
    except ValueError as error:
        raise LineMistake(f"{said!r:.40} is none of: {', '.join(words)}") from error


def object_of(line: bytes) -> dict[str, object]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LineMistake(f"not a message of the service: {error!r}") from error
    if not isinstance(found, dict):
        raise LineMistake("a message is an object")
    return found


def number_in(found: object) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 1 << 53:
        raise LineMistake("number must be a whole number")
    return found


def plain(text: str) -> str:
    """Without control characters, which could move a terminal's cursor; line breaks stay."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
