"""Our windows on a real X server: fed as their programs feed them, pressed by keys, read as a screen reader reads."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from schoolkeeper_agent.tell.window import PYTHON

EYES = Path(__file__).with_name("window_eyes.py")
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
        focus(self.display, title)

    def keys(self, *names: str) -> None:
        keys(self.display, *names)

    def types(self, text: str) -> None:
        _xdotool(self.display, "type", "--delay", "20", text)


def focus(display: str, title: str) -> None:
    """Waits for the window, and types into it from now on."""
    _xdotool(display, "search", "--sync", "--onlyvisible", "--name", title, "windowfocus", "--sync")


def keys(display: str, *names: str) -> None:
    _xdotool(display, "key", "--delay", "60", *names)


def _xdotool(display: str, *arguments: str) -> None:
    subprocess.run(
        ["xdotool", *arguments], env=os.environ | {"DISPLAY": display}, check=True, timeout=60,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


@contextlib.contextmanager
def window(display: str, form_file: Path, said: dict[str, Any], *before: str) -> Iterator[Window]:
    environment = {
        **os.environ,
        "DISPLAY": display,
        "NO_AT_BRIDGE": "1",
        "GTK_IM_MODULE": "gtk-im-context-simple",
    }
    with subprocess.Popen(
        [*before, str(PYTHON), "-I", str(form_file)], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as form:  # fmt: skip
        shown = Window(display, form)
        shown.say({"form": said})
        try:
            yield shown
        finally:
            form.kill()


def seen_of(display: str, form: Path, said: dict[str, Any], folder: Path) -> list[list[Any]]:
    """What a screen reader is told of this window (``window_eyes.py``)."""
    seen_file, pipe = folder / "seen", folder / "pipe"
    os.mkfifo(pipe)
    script = (
        f"{PYTHON} -I {form} <{pipe} & exec 9>{pipe}; printf '%s\\n' \"$SAID\" >&9;"
        f" {PYTHON} {EYES} {form.stem} >{seen_file}; kill $!"
    )
    subprocess.run(
        ["dbus-run-session", "--", "bash", "-c", script], timeout=90, check=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"DISPLAY": display, "SAID": json.dumps({"form": said})},
    )  # fmt: skip
    seen = json.loads(seen_file.read_text())
    assert isinstance(seen, list)
    return seen
