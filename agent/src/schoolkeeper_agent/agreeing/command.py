"""``schoolkeeper-agent agreement``: the rules to agree to, in a window or right here; nothing waits for the answer."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from schoolkeeper_agent.agreeing import terminal
from schoolkeeper_agent.agreeing.client import Asking, look
from schoolkeeper_agent.agreeing.texts import NoText
from schoolkeeper_agent.agreeing.words import says
from schoolkeeper_agent.session.agreeing_lines import Standing
from schoolkeeper_agent.session.calling import NotReached
from schoolkeeper_agent.tell.command import ask_line, language_here, say_line, tell_main
from schoolkeeper_agent.tell.open_form import is_open

NO_WINDOW = 3
"""Exit code where a window alone was asked for and cannot be shown, or must not: somebody is telling something."""


def agreement_main(run_dir: Path, *, language: str, window: bool, unasked: bool = False) -> int:
    """0: it is agreed to, or nothing is asked; 1: it is not, or nobody knows.

    ``unasked``: the service wants it shown, and the person did not ask: in a window or not at all.
    """
    language = language or language_here()
    try:
        asking = look(run_dir, language)
    except NotReached as error:
        say_line(says(language).not_reached.format(because=error))
        return NO_WINDOW if unasked else 1
    words = says(asking.language)
    if not asking.asked:
        nobody = asking.answer.standing is Standing.NOBODY_ASKS
        say_line(words.nobody_asks if nobody else words.not_ready)
        return 0 if nobody else 1
    if unasked and not asking.answer.due:
        return 0
    if unasked and is_open():
        return NO_WINDOW
    if window or unasked:
        code = _in_window(asking)
        if code is not None or unasked:
            return NO_WINDOW if code is None else code
    tell = partial(tell_main, run_dir, language=asking.language, number="", window=False)
    return terminal.agree(asking, say=say_line, ask=ask_line, tell=tell)


def _in_window(asking: Asking) -> int | None:
    from schoolkeeper_agent.agreeing.window import shown_in_window

    try:
        return shown_in_window(asking)
    except NoText as error:
        say_line(f"{says(asking.language).not_ready} ({error})")
        return 1
