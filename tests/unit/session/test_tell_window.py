"""The window of 'Tell someone' on a real X server: by the keyboard alone, and as a screen reader is told of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from schoolkeeper_agent.session.telling_lines import Looks, Offer, State, To, Told
from schoolkeeper_agent.tell.window import FORM, NO_TOOLKIT, PYTHON, described
from schoolkeeper_agent.tell.words import ENGLISH, WELSH, Says, became

OFFER = Offer(
    recipients=(To.DSL, To.HEAD), personal=True, looks=Looks.LATER, looks_at_unix_ms=1_795_420_800_000
)
EYES = Path(__file__).parents[2] / "support" / "window_eyes.py"
TOOLS = ("Xvfb", "xdotool", "dbus-run-session")


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A real X server without a window manager, as a form may meet it at its worst."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    code = "import gi; gi.require_version('Gtk', '3.0'); gi.require_version('Atspi', '2.0')"
    if missing or subprocess.run([PYTHON, "-c", code], capture_output=True, check=False).returncode:
        pytest.skip(f"not installed (`make lab` installs them): {missing or 'GTK 3 or AT-SPI for Python'}")
    ours, theirs = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(theirs), "-nolisten", "tcp", "-screen", "0", "900x1000x24"],
        pass_fds=(theirs,), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    with os.fdopen(ours) as said:
        number = said.readline().strip()
    yield f":{number}"
    server.terminate()
    server.wait()


class Window:
    """The form, fed as the command feeds it, on a session bus of its own."""

    def __init__(self, display: str, form: subprocess.Popen[str]) -> None:
        self.display, self.form = display, form

    @property
    def _in(self) -> IO[str]:
        assert self.form.stdin is not None
        return self.form.stdin

    def say(self, said: dict[str, Any]) -> None:
        self._in.write(json.dumps(said) + "\n")
        self._in.flush()

    def hear(self) -> dict[str, Any]:
        assert self.form.stdout is not None
        heard = json.loads(self.form.stdout.readline())
        assert isinstance(heard, dict)
        return heard

    def focus(self, title: str) -> None:
        self._xdotool("search", "--sync", "--onlyvisible", "--name", title, "windowfocus", "--sync")

    def keys(self, *names: str) -> None:
        self._xdotool("key", "--delay", "60", *names)

    def types(self, text: str) -> None:
        self._xdotool("type", "--delay", "20", text)

    def _xdotool(self, *arguments: str) -> None:
        subprocess.run(
            ["xdotool", *arguments], env=os.environ | {"DISPLAY": self.display}, check=True, timeout=60,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip


@contextlib.contextmanager
def window(display: str, said: dict[str, Any], *before: str) -> Iterator[Window]:
    environment = {
        **os.environ,
        "DISPLAY": display,
        "NO_AT_BRIDGE": "1",
        "GTK_IM_MODULE": "gtk-im-context-simple",
    }
    with subprocess.Popen(
        [*before, str(PYTHON), "-I", str(FORM)], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as form:  # fmt: skip
        shown = Window(display, form)
        shown.say({"form": said})
        try:
            yield shown
        finally:
            form.kill()


def test_by_the_keyboard_alone_and_nothing_is_chosen_for_anybody(display: str) -> None:
    with window(display, described(ENGLISH, OFFER, "")) as shown:
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
    with window(display, described(ENGLISH, OFFER, "")) as shown:
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
    seen_file, pipe = tmp_path / "seen", tmp_path / "pipe"
    os.mkfifo(pipe)
    script = (
        f"{PYTHON} -I {FORM} <{pipe} & exec 9>{pipe}; printf '%s\\n' \"$SAID\" >&9;"
        f" {PYTHON} {EYES} gtk_form >{seen_file}; kill $!"
    )
    subprocess.run(
        ["dbus-run-session", "--", "bash", "-c", script], timeout=90, check=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"DISPLAY": display, "SAID": json.dumps({"form": said})},
    )  # fmt: skip
    seen = json.loads(seen_file.read_text())
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
