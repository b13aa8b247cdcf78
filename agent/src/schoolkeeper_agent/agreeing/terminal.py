"""The agreement on a terminal: for a keyboard, a screen reader or a braille line alike. Enter alone puts it off."""

from __future__ import annotations

from collections.abc import Callable

from schoolkeeper_agent.agreeing.client import Asking
from schoolkeeper_agent.agreeing.texts import NoText, Text
from schoolkeeper_agent.agreeing.words import notes, other, says, who
from schoolkeeper_agent.session.agreeing_lines import By, Said, Standing, Why
from schoolkeeper_agent.session.calling import NotReached
from schoolkeeper_agent.tell import words as telling

Say = Callable[[str], None]
Ask = Callable[[], str | None]


def agree(asking: Asking, *, say: Say, ask: Ask, tell: Callable[[], object]) -> int:
    """0: it is agreed to, or nothing is asked; 1: it is not. ``tell`` starts 'Tell someone', at any time."""
    while True:
        words = says(asking.language)
        try:
            text = asking.text()
        except NoText as error:
            say(f"{words.not_ready} ({error})")
            return 1
        for line in (*telling.help_now(telling.says(words.language)), "", *as_lines(text)):
            say(line)
        _say_shown(asking)
        for line in notes(words, asking.answer):
            say(line)
        if asking.answer.standing is Standing.AGREED:
            return 0
        chosen = _chosen(asking, say, ask)
        match chosen:
            case "language":
                asking.language = other(words).language
            case "again":
                pass
            case "tell":
                tell()
            case "":
                return _end(asking, say, Said.LATER, By.SELF)
            case _:
                return _end(asking, say, Said.AGREE, By(chosen))


def as_lines(text: Text) -> list[str]:
    lines = [text.title, "", text.introduction, ""]
    for part in text.parts:
        lines += [f"{part.symbol} {part.heading}".strip(), ""]
        for item, below in part.items:
            lines += [f"  * {item}", *(f"    {line}" for line in below)]
        lines.append("")
    return [*lines, *text.sources, ""]


def _say_shown(asking: Asking) -> None:
    """Whether it can be written down shows when it is answered."""
    try:
        asking.say(Said.SHOWN)
    except NotReached:
        return


def _chosen(asking: Asking, say: Say, ask: Ask) -> str:
    """ "self", "staff", "parent", "again", "language", "tell", or empty to put it off."""
    words = says(asking.language)
    choices = {
        **{words.answers[by.value]: (by.value, words.by[by]) for by in who(asking.answer)},
        words.answers["again"]: ("again", words.again),
        words.answers["language"]: ("language", words.other_language),
        words.answers["tell"]: ("tell", words.tell),
    }
    say(words.asks.format(later=words.later))
    for word, (_, label) in choices.items():
        say(f"  {word}: {label}")
    while True:
        typed = ask()
        if typed is None or not typed.strip():
            return ""
        if typed.strip().lower() in choices:
            return choices[typed.strip().lower()][0]
        say(words.choose)


def _end(asking: Asking, say: Say, what: Said, by: By) -> int:
    words = says(asking.language)
    try:
        answer = asking.say(what, by)
    except NotReached as error:
        say(words.not_reached.format(because=error))
        return 1
    if answer.why is not Why.NONE:
        say(words.whys[answer.why])
        return 1
    agreed = answer.standing is Standing.AGREED
    say(words.agreed if agreed else words.deferred)
    return 0 if agreed else 1
