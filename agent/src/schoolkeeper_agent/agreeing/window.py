"""The agreement in a window: a child process of the system's own Python, which has the desktop's toolkit.

It is fed on standard input and answers with what was pressed. While somebody tells something in the window of 'Tell
someone', this one goes behind it, and does not open at all where that one was first.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schoolkeeper_agent.agreeing.client import Asking
from schoolkeeper_agent.agreeing.texts import NoText, Text
from schoolkeeper_agent.agreeing.words import Says, notes, other, says, who
from schoolkeeper_agent.gtk_window import NO_TOOLKIT
from schoolkeeper_agent.session.agreeing_lines import Answer, By, Said, Standing, Why
from schoolkeeper_agent.session.calling import NotReached
from schoolkeeper_agent.tell import words as telling
from schoolkeeper_agent.tell.open_form import is_open
from schoolkeeper_agent.tell.window import PYTHON

FORM = Path(__file__).with_name("gtk_agreement.py")
LOOK_SECONDS = 1.0
"""How soon it goes behind a form of 'Tell someone' that was opened meanwhile; only while this window is there."""


def shown_in_window(asking: Asking) -> int | None:
    """0: it is agreed to; 1: it is not. None: no window can be shown here. Raises ``NoText``."""
    form = described(asking, asking.text())
    with subprocess.Popen(
        [str(PYTHON), "-I", str(FORM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as window:
        shown = _Window(asking, window)
        shown.say({"form": form})
        shown.serve()
        code = window.wait()
    return None if code == NO_TOOLKIT else (0 if asking.answer.standing is Standing.AGREED else 1)


def described(asking: Asking, text: Text) -> dict[str, Any]:
    """All that the window shows."""
    words, answer = says(asking.language), asking.answer
    agreed = answer.standing is Standing.AGREED
    tell = telling.says(words.language)
    return {
        "language": words.language,
        "title": words.title,
        "help": list(telling.help_now(tell)),
        "lines": list(_lines(text)),
        "large": text.large,
        "notes": list(notes(words, answer)),
        "agree": [] if agreed else [[by.value, words.by[by]] for by in who(answer)],
        "later": "" if agreed else words.later,
        "again": words.again,
        "other_language": words.other_language,
        "tell": words.tell,
        "close": words.close,
    }


def _lines(text: Text) -> list[tuple[str, str]]:
    """(what it is, the line)."""
    lines = [("title", text.title), ("plain", text.introduction)]
    for part in text.parts:
        lines.append(("heading", f"{part.symbol} {part.heading}".strip()))
        for item, below in part.items:
            lines += [("item", item), *(("below", line) for line in below)]
    return [*lines, *(("source", line) for line in text.sources)]


@dataclass(slots=True)
class _Window:
    asking: Asking
    window: subprocess.Popen[str]
    _closed: threading.Event = field(default_factory=threading.Event)
    _one: threading.Lock = field(default_factory=threading.Lock)

    def say(self, said: dict[str, Any]) -> None:
        """To a window that may be closed by now."""
        with self._one:
            try:
                assert self.window.stdin is not None
                self.window.stdin.write(json.dumps(said) + "\n")
                self.window.stdin.flush()
            except OSError:
                self._closed.set()

    def serve(self) -> None:
        """Until the window is closed."""
        watching = threading.Thread(target=self._watch, daemon=True)
        watching.start()
        assert self.window.stdout is not None
        for line in self.window.stdout:
            self._pressed(json.loads(line))
        self._closed.set()
        watching.join()

    def _pressed(self, pressed: dict[str, Any]) -> None:
        words = says(self.asking.language)
        if "shown" in pressed:
            self._tell_service(Said.SHOWN, By.SELF)
        elif "agree" in pressed:
            answer = self._tell_service(Said.AGREE, By(pressed["agree"]))
            if answer is not None:
                self.asking.answer = answer
                self.say({"told": words.agreed})
        elif "later" in pressed:
            answer = self._tell_service(Said.LATER, By.SELF)
            if answer is not None:
                self.say({"close": True})
        elif "language" in pressed:
            self._other(words)
        elif "tell" in pressed:
            self._open_tell()

    def _tell_service(self, what: Said, by: By) -> Answer | None:
        """None where it was not taken: the window says why, and stays."""
        words = says(self.asking.language)
        try:
            answer = self.asking.say(what, by)
        except NotReached as error:
            self.say({"problem": words.not_reached.format(because=error)})
            return None
        if answer.why is Why.NONE:
            return answer
        self.say({"problem": words.whys[answer.why]})
        return None

    def _other(self, words: Says) -> None:
        before, self.asking.language = self.asking.language, other(words).language
        try:
            self.say({"form": described(self.asking, self.asking.text())})
        except NoText as error:
            self.asking.language = before
            self.say({"problem": f"{words.not_ready} ({error})"})

    def _open_tell(self) -> None:
        """A program of its own, which outlives this one."""
        command = [sys.executable, "-I", "-m", "schoolkeeper_agent.tell", str(self.asking.run_dir)]
        subprocess.Popen([*command, self.asking.language], start_new_session=True, stdin=subprocess.DEVNULL)

    def _watch(self) -> None:
        behind = False
        while not self._closed.wait(LOOK_SECONDS):
            if is_open() is not behind:
                behind = not behind
                self.say({"behind": behind})
