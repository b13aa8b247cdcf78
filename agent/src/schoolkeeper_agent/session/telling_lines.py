"""The messages of 'Tell someone' on the session socket: what the form offers, a report, and what became of one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schoolkeeper_agent.session.lines import (
    LineMistake,
    number_in,
    object_of,
    one_of,
    text_in,
    truth_in,
    write_line,
)

MAX_TOLD, MAX_WHO, MAX_NUMBER = 3_000, 100, 16
"""Characters of the message, of who somebody says they are, and of a report's number."""
_MAX_CONTACT, _MOST_CONTACTS, _MOST_RECIPIENTS = 300, 8, 8


class To(StrEnum):
    """Who shall read it; chosen before anything is sealed (T-28)."""

    DSL = "dsl"
    TRUSTED_ADULT = "trusted-adult"
    HEAD = "head"
    CHAIR = "chair"


class About(StrEnum):
    HURT = "hurt"
    ONLINE = "online"
    BULLYING = "bullying"
    WORRIED = "worried"
    OTHER = "other"


class State(StrEnum):
    """What is known of a report. Only ``DELIVERED`` and ``READ`` say that the school has it.

    ``TAKEN``: in memory, not on the disk yet. ``KEPT``: on the disk. ``ASIDE``: the school's server could not take it.
    """

    REFUSED = "refused"
    TAKEN = "taken"
    KEPT = "kept"
    DELIVERED = "delivered"
    READ = "read"
    ASIDE = "aside"
    UNKNOWN = "unknown"


class Why(StrEnum):
    """Why nothing was taken."""

    NONE = ""
    OFTEN = "often"
    STRANGER = "stranger"
    RECIPIENT = "recipient"
    EMPTY = "empty"
    NOT_READY = "not-ready"


class Looks(StrEnum):
    """Whether the school has somebody there now, by the hours in its policy."""

    NOW = "now"
    LATER = "later"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOffer:
    """What can be chosen here, and who is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskState:
    number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """A report. ``quiet``: nothing is shown of it afterwards on this device. Who writes, the kernel knows."""

    to: To
    about: About
    words: str
    urgent: bool = False
    who: str = ""
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """``recipients`` as the school's policy names them; ``personal`` False: several people use this account.

    ``looks_at_unix_ms`` is when school begins again, for ``LATER``; ``holidays_known``: whether its closed days are in
    the policy. ``officers_only``: not even the school's server can open it.
    """

    recipients: tuple[To, ...]
    contacts: tuple[str, ...] = ()
    language: str = "en"
    personal: bool = False
    looks: Looks = Looks.UNKNOWN
    looks_at_unix_ms: int = 0
    holidays_known: bool = False
    officers_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    state: State
    number: str = ""
    why: Why = Why.NONE
    read_unix_ms: int = 0


Request = AskOffer | AskState | Telling
Answer = Offer | Told


def write_request(request: Request) -> bytes:
    match request:
        case AskOffer():
            return write_line({"tell": "offer"})
        case AskState(number=number):
            return write_line({"tell": "state", "number": number})
        case Telling():
            said = {name: getattr(request, name) for name in request.__slots__}
            return write_line({"tell": "send", **said})


def read_request(found: dict[str, object]) -> Request:
    """Of whoever speaks on the socket. Raises ``LineMistake``."""
    match found["tell"]:
        case "offer":
            return AskOffer()
        case "state":
            return AskState(number=text_in(found, "number", MAX_NUMBER))
        case "send":
            return Telling(
                to=one_of(To, found.get("to")),
                about=one_of(About, found.get("about")),
                words=text_in(found, "words", MAX_TOLD),
                urgent=truth_in(found, "urgent"),
                who=text_in(found, "who", MAX_WHO, otherwise=""),
                quiet=truth_in(found, "quiet"),
            )
        case other:
            raise LineMistake(f"{other!r:.40} is nothing that can be told")


def write_answer(answer: Answer) -> bytes:
    kind = "offer" if isinstance(answer, Offer) else "told"
    return write_line({kind: {name: getattr(answer, name) for name in answer.__slots__}})


def read_answer(line: bytes) -> Answer | None:
    """Of the service; None for what is said to the session's helper. Raises ``LineMistake``."""
    found = object_of(line)
    offer, told = found.get("offer"), found.get("told")
    if isinstance(offer, dict):
        return Offer(
            recipients=tuple(one_of(To, one) for one in _list(offer, "recipients", _MOST_RECIPIENTS)),
            contacts=tuple(str(one)[:_MAX_CONTACT] for one in _list(offer, "contacts", _MOST_CONTACTS)),
            language=text_in(offer, "language", 8),
            personal=truth_in(offer, "personal"),
            looks=one_of(Looks, offer.get("looks")),
            looks_at_unix_ms=number_in(offer.get("looks_at_unix_ms")),
            holidays_known=truth_in(offer, "holidays_known"),
            officers_only=truth_in(offer, "officers_only"),
        )
    if isinstance(told, dict):
        return Told(
            state=one_of(State, told.get("state")),
            number=text_in(told, "number", MAX_NUMBER),
            why=one_of(Why, told.get("why")),
            read_unix_ms=number_in(told.get("read_unix_ms")),
        )
    return None


def bounded(contacts: tuple[str, ...]) -> tuple[str, ...]:
    """As many, and as long, as one line on the socket takes."""
    return tuple(one[:_MAX_CONTACT] for one in contacts[:_MOST_CONTACTS])


def _list(found: dict[str, object], name: str, most: int) -> list[object]:
    said = found.get(name)
    if not isinstance(said, list) or len(said) > most:
        raise LineMistake(f"{name} must be a list of at most {most}")
    return said
