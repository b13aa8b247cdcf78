"""The window that encrypts a stick, on a real X server: by the keyboard, and as a screen reader is told of it."""

import subprocess
from pathlib import Path

import pytest

from schoolkeeper_agent.encrypting import words
from schoolkeeper_agent.encrypting.command import Offer
from schoolkeeper_agent.encrypting.window import FORM, described
from support.screen import display as display
from support.screen import seen_of, window

OFFER = Offer(device="sdb", size=32 << 20, holds="vfat", school="A School", why="It is refused.")
TYPED = "three or four words"


def test_by_the_keyboard_alone_and_nothing_starts_unasked(display: str) -> None:
    with window(display, FORM, described(OFFER)) as shown:
        shown.focus(words.TITLE)
        shown.keys("Tab", "Tab", "Tab", "space")  # 999 and Childline, the warning, and the box
        shown.keys("Tab")
        shown.types(TYPED)
        shown.keys("Tab")
        shown.types("another thing")
        shown.keys("Tab", "Return")  # not the same: nothing is said to anybody
        shown.keys("shift+Tab", "ctrl+a")
        shown.types(TYPED)
        shown.keys("Tab", "Tab", "Return")  # past what was said to it
        assert shown.hear() == {"passphrase": TYPED}
        shown.say({"doing": "Making what was on it unreadable: 3 %", "share": 0.03})
        shown.say({"finished": "Done. Your recovery key"})
        shown.keys("Escape")
        assert shown.form.wait(60) == 0


def test_leaving_in_the_middle_is_asked_about_once(display: str) -> None:
    with window(display, FORM, described(OFFER)) as shown:
        shown.focus(words.TITLE)
        shown.say({"doing": "Making what was on it unreadable: 3 %", "share": 0.03})
        shown.keys("Escape")
        with pytest.raises(subprocess.TimeoutExpired):
            shown.form.wait(2)
        shown.keys("Escape")
        assert shown.form.wait(60) == 0


def test_a_screen_reader_is_told_the_warning_and_a_name_for_every_control(
    display: str, tmp_path: Path
) -> None:
    seen = seen_of(display, FORM, described(OFFER), tmp_path)
    assert any("EVERYTHING ON THIS MEDIUM WILL BE LOST" in name for _, name, _, _ in seen)
    focusable = [(role, name) for role, name, _, states in seen if "focusable" in states]
    assert all(name for role, name in focusable if role not in ("frame", "scroll bar", "scroll pane")), seen
    for name in (words.AGREE, words.START, words.LEAVE):
        assert name in [one for _, one in focusable], seen
    assert len([role for role, _ in focusable if role == "password text"]) == 2, seen
