"""Words on a terminal."""

from __future__ import annotations

import os
from pathlib import Path

from schoolkeeper_agent.session.lines import plain
from schoolkeeper_proto.decide import asking_words

NAME = "Schoolkeeper"


def with_command(text: str, ask: str) -> str:
    """With the way to ask for an exception, where no button can be shown."""
    return f"{text}\n{asking_words(ask)}" if ask else text


def on_terminal(path: Path, title: str, text: str) -> bool:
    """Writes without waiting: a terminal that is held (Ctrl-S) gets nothing."""
    try:
        terminal = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        words = f"\n*** {NAME}: {plain(title)}\n{plain(text)}\n"
        return os.write(terminal, words.replace("\n", "\r\n").encode()) > 0
    except OSError:
        return False
    finally:
        os.close(terminal)


def terminals_of(user_id: int) -> list[Path]:
    """The terminals that belong to an account; of nobody certain, those of all people."""
    found = []
    for folder, names in (("/dev/pts", "[0-9]*"), ("/dev", "tty[1-9]*")):
        for path in Path(folder).glob(names):
            try:
                owner = path.stat().st_uid
            except OSError:
                continue
            if owner == user_id or (user_id < 0 and owner >= 1000):
                found.append(path)
    return found
