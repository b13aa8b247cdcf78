"""The form in a window: a child process of the system's own Python, which has the desktop's toolkit.

It gets its words on standard input and answers with what was chosen, one JSON object a line; it reaches neither the
service nor a file. Not every device has the toolkit: then the form is shown on the terminal.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import IO, Any

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
    Why,
)
from schoolkeeper_agent.tell.client import NotReached, TooLong, speak
from schoolkeeper_agent.tell.words import Says, became, help_now, outcome, says, when_looked

PYTHON = Path("/usr/bin/python3")
FORM = Path(__file__).with_name("gtk_form.py")
NO_TOOLKIT = 3
"""Exit code of the form where there is no toolkit or no screen."""


def shown_in_window(run_dir: Path, language: str) -> int | None:
    """0: it was taken; 1: nothing was sent, or nobody knows. None: no window can be shown here."""
    try:
        offer = speak(run_dir, AskOffer())
        problem = "" if isinstance(offer, Offer) else outcome(says(language), offer)
    except NotReached as error:
        offer, problem = None, says(language).not_reached.format(because=error)
    given = offer if isinstance(offer, Offer) else None
    words = says(language or (given.language if given is not None else ""))
    with subprocess.Popen(
        [str(PYTHON), "-I", str(FORM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as form:
        assert form.stdin is not None
        assert form.stdout is not None
        _say(form.stdin, {"form": described(words, given, problem)})
        taken = _serve(run_dir, words, given, form.stdin, form.stdout)
        form.stdin.close()
        code = form.wait()
    return None if code == NO_TOOLKIT else (0 if taken else 1)


def described(words: Says, offer: Offer | None, problem: str) -> dict[str, Any]:
    """All that the window shows. Without an offer, or anybody to write to: 999 and Childline, and why."""
    form: dict[str, Any] = {
        "language": words.language,
        "title": words.title,
        "help": list(help_now(words)),
        "close": words.close,
        "leave": words.leave,
        "problem": problem,
    }
    if offer is None or not offer.recipients:
        return form | {"problem": problem or words.nobody}
    introduction = [when_looked(words, offer), words.personal if offer.personal else words.shared]
    if offer.officers_only:
        introduction.append(words.officers_only)
    return form | {
        "introduction": introduction,
        "keep": words.keep,
        "contacts": " ".join((words.contacts, *offer.contacts)) if offer.contacts else "",
        "monitored": words.monitored,
        "who_reads": words.who_reads,
        "about_them": words.about_them,
        "to": [[one.value, words.to[one]] for one in offer.recipients],
        "what_about": words.what_about,
        "about": [[one.value, said] for one, said in words.about.items()],
        "words": words.words,
        "words_hint": words.words_hint,
        "who": words.who_are_you,
        "who_hint": words.who_hint,
        "urgent": words.urgent,
        "quiet": words.quiet if offer.personal else "",
        "send": words.send,
        "empty": words.whys[Why.EMPTY],
        "most": MAX_TOLD,
        "most_who": MAX_WHO,
    }


def _serve(run_dir: Path, words: Says, offer: Offer | None, say: IO[str], hear: IO[str]) -> bool:
    """Until the window is closed; whether something was taken."""
    number = ""
    for line in hear:
        asked = json.loads(line)
        if offer is None:
            continue
        if "look" in asked and number:
            _answer(run_dir, say, words, offer, AskState(number=number))
        elif "send" in asked:
            told = _answer(run_dir, say, words, offer, _telling(asked["send"]))
            number = told.number if told is not None and told.state is not State.REFUSED else number
    return bool(number)


def _telling(sent: dict[str, Any]) -> Telling:
    return Telling(
        to=To(sent["to"]),
        about=About(sent["about"]),
        words=str(sent["words"])[:MAX_TOLD],
        who=str(sent["who"])[:MAX_WHO],
        urgent=bool(sent["urgent"]),
        quiet=bool(sent["quiet"]),
    )


def _answer(
    run_dir: Path, say: IO[str], words: Says, offer: Offer, question: Telling | AskState
) -> Told | None:
    """Shows what is known; what was written stays in the window until it was taken."""
    try:
        told = speak(run_dir, question)
    except TooLong:
        _say(say, {"refused": words.too_long})
        return None
    except NotReached as error:
        said = words.perhaps if error.perhaps else words.not_reached
        _say(say, {"refused": said.format(because=error)})
        return None
    assert isinstance(told, Told)
    if told.state is State.REFUSED:
        _say(say, {"refused": outcome(words, told)})
        return None
    last = told.state in (State.READ, State.ASIDE, State.UNKNOWN)
    _say(say, {"told": became(words, offer, told), "last": last})
    return told


def _say(to: IO[str], said: dict[str, Any]) -> None:
    to.write(json.dumps(said) + "\n")
    to.flush()
