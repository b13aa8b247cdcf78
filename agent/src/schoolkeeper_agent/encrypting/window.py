"""The same in a window: what it would cost, the passphrase twice, progress, the recovery key; leaving cancels.

``python -m schoolkeeper_agent.encrypting.window``: the session's helper opens it beside the words of a refusal.
The window is a child of the system's own Python (``gtk_encrypt.py``) that knows no stick and no socket. The passphrase
comes from it by a pipe and goes to the worker; when the window is gone this program ends, and the worker hears that.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from schoolkeeper_agent.encrypting import words
from schoolkeeper_agent.encrypting.command import SOCKET, Asking, NotEncrypted, Offer
from schoolkeeper_agent.encrypting.lines import unfit
from schoolkeeper_agent.tell.words import help_now, says

PYTHON = Path("/usr/bin/python3")
FORM = Path(__file__).with_name("gtk_encrypt.py")
NO_TOOLKIT = 3


def shown_in_window(device: str = "", path: Path = SOCKET, form_file: Path = FORM) -> int:
    """0: encrypted; 1: not; ``NO_TOOLKIT``: no window can be shown here."""
    asking = Asking(path)
    try:
        offer = asking.ask(device)
        said = described(offer)
    except NotEncrypted as error:
        offer, said = None, described(None, str(error))
    with subprocess.Popen(
        [str(PYTHON), "-I", str(form_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as form:
        assert form.stdin is not None
        assert form.stdout is not None
        say = _Saying(form.stdin)
        say(form=said)
        worked = _Work(asking, say)
        for line in form.stdout:
            if offer is not None:
                worked.begin(str(json.loads(line).get("passphrase", "")))
        code = form.wait()
    worked.give_up()
    return NO_TOOLKIT if code == NO_TOOLKIT else (0 if worked.done else 1)


def described(offer: Offer | None, problem: str = "") -> dict[str, Any]:
    """All that the window shows."""
    said = {
        "title": words.TITLE,
        "help": list(help_now(says(""))),
        "close": words.CLOSE,
        "leave": words.LEAVE,
        "problem": problem,
    }
    if offer is None:
        return said
    return said | {
        "why": offer.why,
        "warning": words.warning(offer.device, offer.size, offer.holds).strip(),
        "agree": words.AGREE,
        "first": words.FIRST.rstrip(": "),
        "second": words.SECOND.rstrip(": "),
        "start": words.START,
        "stop": words.STOP,
        "sure": words.SURE,
        "not_agreed": words.NOT_AGREED,
        "different": words.DIFFERENT,
    }


class _Saying:
    """To the window; one that is gone hears nothing."""

    def __init__(self, to: IO[str]) -> None:
        self._to = to
        self._lock = threading.Lock()

    def __call__(self, **said: object) -> None:
        with self._lock:
            try:
                self._to.write(json.dumps(said) + "\n")
                self._to.flush()
            except (OSError, ValueError):
                return


class _Work:
    """The conversation with the worker, beside the window's own."""

    def __init__(self, asking: Asking, say: Callable[..., None]) -> None:
        self._asking, self._say = asking, say
        self._thread: threading.Thread | None = None
        self.done = False

    def begin(self, passphrase: str) -> None:
        if self._thread is not None:
            return
        if why := unfit(passphrase):
            self._say(again=words.another(why))
            return
        self._thread = threading.Thread(target=self._encrypt, args=(passphrase,), daemon=True)
        self._thread.start()

    def give_up(self) -> None:
        """Nothing to be done about what is done already; what goes on ends with this connection."""
        self._asking.hang_up()
        if self._thread is not None:
            self._thread.join(timeout=30)
        self._asking.close()

    def _encrypt(self, passphrase: str) -> None:
        try:
            finished = self._asking.encrypt(passphrase, self._progress)
        except NotEncrypted as error:
            self._say(failed=str(error))
            return
        self.done = True
        self._say(finished=words.finished(finished.recovery_key, finished.reference).strip())

    def _progress(self, doing: str, share: float) -> None:
        self._say(doing=words.progress(doing, int(share * 100)), share=share)


if __name__ == "__main__":
    sys.exit(shown_in_window())
