"""The agreement's window on a real X server: by keys alone, read aloud, and never before somebody who asks for help."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from schoolkeeper_agent.agreeing import texts
from schoolkeeper_agent.agreeing.client import Asking
from schoolkeeper_agent.agreeing.window import FORM, described
from schoolkeeper_agent.agreeing.words import ENGLISH, WELSH, Says
from schoolkeeper_agent.notice_child import FOLDER
from schoolkeeper_agent.session.agreeing_lines import Answer, Standing
from schoolkeeper_agent.tell import window as tell_window
from schoolkeeper_agent.tell import words as telling
from schoolkeeper_proto import policy
from schoolkeeper_proto.notices.agreement import Band, version_of
from support.core_playbook import bundle_of
from support.patience import until
from support.screen import display as display
from support.screen import seen_of, window

BUNDLE = bundle_of(
    policy.AgreementSection(document="acceptable-use", bands=("ks1", "ks2"), adult_accepts=("ks1",))
)


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    (tmp_path / FOLDER).mkdir()
    for name, content in texts.written(BUNDLE).items():
        (tmp_path / FOLDER / name).write_text(content, encoding="utf-8")
    answer = Answer(
        standing=Standing.OPEN,
        band="ks2",
        version=version_of(BUNDLE, Band.KS2),
        due=True,
        allowed=3,
        language="en",
    )
    return Asking(run_dir=tmp_path, language="en", answer=answer)


def test_by_the_keyboard_alone_and_a_key_too_many_agrees_to_nothing(display: str, asking: Asking) -> None:
    with window(display, FORM, described(asking, asking.text())) as shown:
        shown.focus(ENGLISH.title)
        assert shown.hear() == {"shown": "en"}
        shown.keys("Return", "space", "Down", "Page_Down")  # in the text, where reading begins
        shown.keys("Tab", "Tab", "Tab", "Tab", "space")
        assert shown.hear() == {"language": True}
        asking.language = "cy"
        shown.say({"form": described(asking, asking.text())})
        assert shown.hear() == {"shown": "cy"}
        shown.focus(WELSH.title)
        shown.keys("Tab", "Return")
        assert shown.hear() == {"agree": "self"}
        shown.say({"told": WELSH.agreed})
        shown.keys("Escape")
        assert shown.form.wait(60) == 0
        assert shown.form.stdout is not None
        assert shown.form.stdout.read() == "", "what is agreed to is not put off by leaving"


def test_escape_puts_it_off_and_leaves_even_when_nobody_answers(display: str, asking: Asking) -> None:
    with window(display, FORM, described(asking, asking.text())) as shown:
        shown.focus(ENGLISH.title)
        assert shown.hear() == {"shown": "en"}
        shown.keys("Escape")
        assert shown.hear() == {"later": True}
        shown.say({"problem": "nobody answers"})
        shown.keys("Escape")
        assert shown.form.wait(60) == 0


@pytest.mark.requirement("W-23")
def test_help_comes_first_and_the_form_that_asks_for_it_lies_before_this_window(
    display: str, asking: Asking
) -> None:
    said = described(asking, asking.text())
    assert said["help"] == list(telling.help_now(telling.ENGLISH))
    with window(display, FORM, said) as shown:
        shown.focus(ENGLISH.title)
        assert shown.hear() == {"shown": "en"}
        shown.keys(
            "shift+Tab", "shift+Tab", "shift+Tab", "Return"
        )  # past 999 and Childline, to the last button
        assert shown.hear() == {"tell": True}
        form = tell_window.described(telling.ENGLISH, None, "not reached")
        with window(display, tell_window.FORM, form) as telling_window:
            telling_window.focus(telling.ENGLISH.title)
            _raise(display, ENGLISH.title)  # whatever the desktop did
            shown.say({"behind": True})
            until(lambda: _stack(display)[0] == telling.ENGLISH.title, 30, "the form for help lies on top")


def _stack(display: str) -> list[str]:
    """Titles of our windows, the uppermost first."""
    listed = subprocess.run(
        ["xwininfo", "-root", "-tree"], env=os.environ | {"DISPLAY": display}, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    ours = (ENGLISH.title, telling.ENGLISH.title)
    return [one for line in listed.splitlines() for one in ours if f'"{one}"' in line]


def _raise(display: str, title: str) -> None:
    subprocess.run(
        ["xdotool", "search", "--onlyvisible", "--name", title, "windowraise"],
        env=os.environ | {"DISPLAY": display}, check=True, timeout=60,
    )  # fmt: skip
    until(lambda: _stack(display)[0] == title, 30, "the agreement lies on top at first")


@pytest.mark.requirement("T-27")
@pytest.mark.parametrize(
    ("words", "band"), [(ENGLISH, Band.KS2), (WELSH, Band.KS1)], ids=["en-ks2", "cy-ks1"]
)
def test_a_screen_reader_is_told_everything_and_the_age_band_picks_the_text(
    display: str, asking: Asking, words: Says, band: Band, tmp_path: Path
) -> None:
    asking.language = words.language
    asking.answer = replace(
        asking.answer, band=band.value, version=version_of(BUNDLE, band), by_adult=band is Band.KS1
    )
    text = asking.text()
    assert text.large is (band is Band.KS1), "big letters for the youngest"
    assert bool(text.parts[0].symbol) is (band is Band.KS1)
    said = described(asking, text)
    seen = seen_of(display, FORM, said, tmp_path)
    labels = [name for role, name, _, _ in seen if role == "label"]
    assert labels[:2] == list(telling.help_now(telling.says(words.language))), "before anything else"
    focusable = {name for role, name, _, states in seen if "focusable" in states}
    assert {text.title, words.later, words.again, words.other_language, words.tell} <= focusable
    assert {label for _, label in said["agree"]} <= focusable
    assert len(said["agree"]) == (2 if band is Band.KS1 else 1)
    assert all(
        name
        for role, name, _, states in seen
        if "focusable" in states and role not in ("frame", "scroll bar", "scroll pane")
    )
    assert [name for role, name, _, _ in seen if role == "text"] == [text.title]
