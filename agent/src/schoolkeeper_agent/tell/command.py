"""``schoolkeeper-agent tell``: 999 and Childline before anything else, then the form, in a window or right here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from schoolkeeper_agent.tell import terminal
from schoolkeeper_agent.tell.open_form import held_open


def tell_main(run_dir: Path, *, language: str, number: str, window: bool) -> int:
    """0 when it was taken, 1 when nothing was sent, or nobody knows."""
    language = language or language_here()
    if number:
        return terminal.look(run_dir, language, number, say=say_line)
    with held_open():
        if window:
            from schoolkeeper_agent.tell.window import shown_in_window

            code = shown_in_window(run_dir, language)
            if code is not None:
                return code
        return terminal.tell(run_dir, language, say=say_line, ask=ask_line)


def language_here() -> str:
    """Of the person's session (locale(7)): "cy", "en", or empty when it says nothing."""
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        said = os.environ.get(name, "")[:2].lower()
        if said in ("en", "cy"):
            return said
    return ""


def say_line(line: str) -> None:
    print(line, flush=True)


def ask_line() -> str | None:
    """Undecodable bytes are no reason to lose what was written."""
    line = sys.stdin.buffer.readline()
    return line.decode("utf-8", "replace").rstrip("\r\n") if line else None
