"""The messages of the agreement on the session socket: what is asked of an account, and what it says to that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schoolkeeper_agent.session.lines import number_in, object_of, one_of, text_in, truth_in, write_line

_MAX_NAME, _MAX_VERSION = 64, 64
_BANDS = 16


class Said(StrEnum):
    """What a program of the account says. ``LOOK`` asks what there is; the others are of one version."""

    LOOK = "look"
    SHOWN = "shown"
    AGREE = "agree"
    LATER = "later"


class By(StrEnum):
    """Who agreed, as was said at the device; nothing there could prove it."""

    SELF = "self"
    STAFF = "staff"
    PARENT = "parent"


class Standing(StrEnum):
    """What is so now. Only ``AGREED`` says that it is on the disk."""

    NOBODY_ASKS = "nobody-asks"
    NOT_READY = "not-ready"
    OPEN = "open"
    AGREED = "agreed"


class Why(StrEnum):
    """Why nothing was taken."""

    NONE = ""
    CHANGED = "changed"
    NOT_SHOWN = "not-shown"
    WHO = "who"
    NOT_KEPT = "not-kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Whose it is, the kernel knows. ``version`` and ``language``: of the text that was read."""

    what: Said
    version: str = ""
    language: str = ""
    by: By = By.SELF


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``put_off`` times so far, of which ``allowed`` are in order; ``due``: it is time to show it.

    ``by_adult``: an adult agrees in this account's place. ``language`` is the school's own.
    """

    standing: Standing
    why: Why = Why.NONE
    band: str = ""
    version: str = ""
    language: str = ""
    by_adult: bool = False
    due: bool = False
    put_off: int = 0
    allowed: int = 0
    agreed_unix_ms: int = 0


def write_request(request: Request) -> bytes:
    return write_line(
        {
            "agreement": request.what.value,
            "version": request.version,
            "language": request.language,
            "by": request.by.value,
        }
    )


def read_request(found: dict[str, object]) -> Request:
    """Of whoever speaks on the socket. Raises ``LineMistake``."""
    return Request(
        what=one_of(Said, found["agreement"]),
        version=text_in(found, "version", _MAX_VERSION, otherwise=""),
        language=text_in(found, "language", 8, otherwise=""),
        by=one_of(By, found.get("by", By.SELF.value)),
    )


def write_answer(answer: Answer) -> bytes:
    return write_line({"agreed": {name: getattr(answer, name) for name in answer.__slots__}})


def read_answer(line: bytes) -> Answer | None:
    """Of the service; None for what is said to the session's helper. Raises ``LineMistake``."""
    found = object_of(line).get("agreed")
    if not isinstance(found, dict):
        return None
    return Answer(
        standing=one_of(Standing, found.get("standing")),
        why=one_of(Why, found.get("why")),
        band=text_in(found, "band", _BANDS),
        version=text_in(found, "version", _MAX_VERSION),
        language=text_in(found, "language", 8),
        by_adult=truth_in(found, "by_adult"),
        due=truth_in(found, "due"),
        put_off=number_in(found.get("put_off")),
        allowed=number_in(found.get("allowed")),
        agreed_unix_ms=number_in(found.get("agreed_unix_ms")),
    )
