"""The window of 'Tell someone' on a real X server: by the keyboard alone, and as a screen reader is told of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from schoolkeeper_agent.session.telling_lines import Looks, Offer, State, To, Told
from schoolkeeper_agent.tell.window import FORM, NO_TOOLKIT, PYTHON, described
from schoolkeeper_agent.tell.words import ENGLISH, WELSH, Says, became
from support.screen import display as display
from support.screen import seen_of, window

OFFER = Offer(
    recipients=(To.DSL, To.HEAD), personal=True, looks=Looks.LATER, looks_at_unix_ms=1_795_420_800_000
)


def test_by_the_keyboard_alone_and_nothing_is_chosen_for_anybody(display: str) -> None:
    with window(display, FORM, described(ENGLISH, OFFER, "")) as shown:
        shown.focus("Tell someone")
        shown.keys("Tab", "Tab", "Down", "space")  # past 999 and Childline, to the second who may read it
        shown.keys("Tab", "space", "Tab")
        shown.types("they hit me")
        shown.keys("Tab")
        shown.types("Efa")
        shown.keys("Tab", "space", "Tab", "Tab", "Return")
        assert shown.hear() == {
            "send": {
                "to": "head", "about": "hurt", "words": "they hit me", "who": "Efa", "urgent": True, "quiet": False,
            }
        }  # fmt: skip
        told = Told(state=State.KEPT, number="4F2A1C77")
        shown.say({"told": became(ENGLISH, OFFER, told), "last": True})
        shown.keys("Escape")
        assert shown.form.wait(60) == 0
        assert shown.form.stdout is not None
        assert shown.form.stdout.read() == ""


def test_without_a_choice_nothing_is_sent(display: str) -> None:
    with window(display, FORM, described(ENGLISH, OFFER, "")) as shown:
        shown.focus("Tell someone")
        shown.keys("shift+Tab", "shift+Tab", "Return", "Escape")  # the last but one: send
        assert shown.form.wait(60) == 0
        assert shown.form.stdout is not None
        assert shown.form.stdout.read() == ""


@pytest.mark.parametrize("words", [ENGLISH, WELSH], ids=["en", "cy"])
def test_a_screen_reader_is_told_the_numbers_first_and_a_name_for_every_control(
    display: str, words: Says, tmp_path: Path
) -> None:
    said = described(words, OFFER, "")
    seen = seen_of(display, FORM, said, tmp_path)
    names = [name for _, name, _, _ in seen]
    labels = [name for role, name, _, _ in seen if role == "label"]
    assert labels[:2] == [words.danger, words.childline], "before anything else"
    focusable = [
        (role, name, description) for role, name, description, states in seen if "focusable" in states
    ]
    assert all(name for role, name, _ in focusable if role not in ("frame", "scroll bar", "scroll pane")), (
        focusable
    )
    for name in (
        words.to[To.DSL],
        words.words,
        words.who_are_you,
        words.urgent,
        words.quiet,
        words.send,
        words.leave,
    ):
        assert name in names, seen
    assert (words.to[To.HEAD], words.who_reads) in [(name, said) for _, name, said, _ in seen]
    assert not any("checked" in states for _, _, _, states in seen)


def test_without_a_screen_or_a_toolkit_it_says_so_and_the_terminal_takes_over(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    done = subprocess.run(
        [PYTHON, "-I", FORM], input=json.dumps({"form": described(ENGLISH, None, "no")}) + "\n", text=True,
        capture_output=True, check=False, env=environment, timeout=60,
    )  # fmt: skip
    assert done.returncode == NO_TOOLKIT
    agent = Path(sys.executable).with_name("schoolkeeper-agent")
    config = tmp_path / "agent.toml"
    config.write_text(f'run_dir = "{tmp_path}"\n')
    done = subprocess.run(
        [agent, "--config", config, "tell", "--window", "--language", "en"], text=True, capture_output=True,
        input="", env=environment, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout.startswith(ENGLISH.danger)
    assert "Nobody knows." in done.stdout
