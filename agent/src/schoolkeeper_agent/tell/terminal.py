"""The form on a terminal: question after question, for a keyboard, a screen reader or a braille line alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from schoolkeeper_agent.session.telling_lines import (
    MAX_TOLD,
    MAX_WHO,
    About,
    AskOffer,
    AskState,
    Offer,
    State,
    Telling,
    To,
    Told,
)
from schoolkeeper_agent.tell.client import NotReached, TooLong, speak
from schoolkeeper_agent.tell.words import Says, became, help_now, outcome, says, when_looked

Say = Callable[[str], None]
Ask = Callable[[], str | None]
"""One line that was typed; None at the end of input."""
_Choice = TypeVar("_Choice", To, About)


class _Ended(Exception):
    """The person stopped; nothing was sent."""


def tell(run_dir: Path, language: str, *, say: Say, ask: Ask) -> int:
    """0: it was taken. 1: nothing was sent, or nobody knows."""
    words = says(language)
    for line in (*help_now(words), ""):
        say(line)
    try:
        offer = speak(run_dir, AskOffer())
    except NotReached as error:
        say(words.not_reached.format(because=error))
        return 1
    if not isinstance(offer, Offer):
        say(outcome(words, offer))
        return 1
    if not language:
        words = says(offer.language)
    _introduce(words, offer, say)
    if not offer.recipients:
        say(words.nobody)
        return 1
    try:
        telling = _form(words, offer, say, ask)
    except _Ended:
        say(words.not_sent)
        return 1
    return _send(run_dir, words, offer, telling, say)


def look(run_dir: Path, language: str, number: str, *, say: Say) -> int:
    """What became of the report of this number."""
    words = says(language)
    for line in (*help_now(words), ""):
        say(line)
    try:
        told = speak(run_dir, AskState(number=number))
    except NotReached as error:
        say(words.not_reached.format(because=error))
        return 1
    assert isinstance(told, Told)
    say(outcome(words, told))
    return 0 if told.state not in (State.UNKNOWN, State.REFUSED) else 1


def _introduce(words: Says, offer: Offer, say: Say) -> None:
    say(words.title)
    if offer.contacts:
        say(" ".join((words.contacts, *offer.contacts)))
    say(when_looked(words, offer))
    say(words.personal if offer.personal else words.shared)
    if offer.officers_only:
        say(words.officers_only)
    say(words.keep)
    say(words.monitored)


def _form(words: Says, offer: Offer, say: Say, ask: Ask) -> Telling:
    """Raises ``_Ended``."""
    say("")
    say(words.about_them)
    to = _choose(words.who_reads, {one: words.to[one] for one in offer.recipients}, words, say, ask)
    about = _choose(words.what_about, words.about, words, say, ask)
    say("")
    say(words.words)
    say(words.words_hint)
    say(words.asks_words)
    text = _lines(ask)
    if not text.strip():
        raise _Ended
    say("")
    say(words.who_are_you)
    say(words.who_hint)
    who = _line(ask)
    urgent = _yes(words.urgent, words, say, ask)
    quiet = offer.personal and _yes(words.quiet, words, say, ask)
    say("")
    say(words.asks_send)
    if _line(ask).strip().lower() != words.yes:
        raise _Ended
    return Telling(to=to, about=about, words=text[:MAX_TOLD], who=who[:MAX_WHO], urgent=urgent, quiet=quiet)


def _send(run_dir: Path, words: Says, offer: Offer, telling: Telling, say: Say) -> int:
    try:
        told = speak(run_dir, telling)
    except TooLong:
        say(words.too_long)
        return 1
    except NotReached as error:
        say((words.perhaps if error.perhaps else words.not_reached).format(because=error))
        return 1
    assert isinstance(told, Told)
    say("")
    for line in became(words, offer, told):
        say(line)
    return 0 if told.state is not State.REFUSED else 1


def _choose(legend: str, among: Mapping[_Choice, str], words: Says, say: Say, ask: Ask) -> _Choice:
    say("")
    say(legend)
    choices = list(among)
    for position, one in enumerate(choices, 1):
        say(f"  {position}. {among[one]}")
    say(words.asks_number)
    while True:
        typed = _line(ask).strip()
        if not typed:
            raise _Ended
        if typed.isdecimal() and 1 <= int(typed) <= len(choices):
            return choices[int(typed) - 1]
        say(words.choose)


def _yes(question: str, words: Says, say: Say, ask: Ask) -> bool:
    say("")
    say(f"{question}? ({words.yes})")
    return _line(ask).strip().lower() == words.yes


def _lines(ask: Ask) -> str:
    found: list[str] = []
    while (line := _line(ask)).strip():
        found.append(line)
    return "\n".join(found)


def _line(ask: Ask) -> str:
    typed = ask()
    if typed is None:
        raise _Ended
    return typed
