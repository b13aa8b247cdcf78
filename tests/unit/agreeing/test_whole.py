"""From the service over the session's helper to a real window, and back by the keys that somebody presses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent.agreeing.command import NO_WINDOW
from schoolkeeper_agent.agreeing.door import words
from schoolkeeper_agent.agreeing.words import ENGLISH, WELSH
from schoolkeeper_agent.peers import Peer
from schoolkeeper_agent.session.agreeing_lines import Said, Standing
from schoolkeeper_agent.session.lines import SOCKET_NAME
from schoolkeeper_agent.tell.open_form import held_open
from support.agreeing import ME, Bench
from support.patience import eventually
from support.screen import display as display
from support.screen import focus, keys

pytestmark = pytest.mark.anyio
BIN = Path(sys.executable).parent


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """Everybody who connects counts as one pupil, as the tests may run as root."""
    monkeypatch.setattr("schoolkeeper_agent.session.server.peer_of", lambda _: Peer(os.getpid(), ME))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with Bench(tmp_path) as made:
        made.sign_in(ME)
        yield made


@contextlib.contextmanager
def helper(folder: Path, display: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real helper in a session with a screen."""
    command = [sys.executable, "-m", "schoolkeeper_agent.session", "--service-user", str(os.getuid())]
    environment = os.environ | {
        "DISPLAY": display, "NO_AT_BRIDGE": "1", "XDG_RUNTIME_DIR": str(folder), "LANG": "en_GB.UTF-8",
        "DBUS_SESSION_BUS_ADDRESS": "", "LANGUAGE": "",
    }  # fmt: skip
    process = subprocess.Popen(
        [*command, "--socket", folder / SOCKET_NAME], env=environment, stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


async def test_the_helper_opens_the_window_and_what_is_pressed_is_kept(display: str, bench: Bench) -> None:
    with helper(bench.run_dir, display):
        await eventually(lambda: bool(bench.server.peers), "the helper is there", 60)
        await bench.server.tell(words(ME))
        assert bench.server.not_said == 0, "the window is there, and no words are needed beside it"
        await asyncio.to_thread(focus, display, ENGLISH.title)
        await eventually(lambda: bench.events() == 1, "shown", 60)
        await asyncio.to_thread(keys, display, "Tab", "Return")
        await eventually(lambda: bench.events() == 2, "agreed", 60)
        assert (await bench.say(Said.LOOK)).standing is Standing.AGREED
        await asyncio.to_thread(keys, display, "Escape")
        await asyncio.sleep(0)
        assert bench.events() == 2, "leaving is no putting off"


@pytest.mark.requirement("W-23")
async def test_while_somebody_asks_for_help_it_does_not_open(display: str, bench: Bench) -> None:
    command = [sys.executable, "-I", "-m", "schoolkeeper_agent.agreeing", str(bench.run_dir)]
    with held_open():
        done = await asyncio.to_thread(
            subprocess.run, command, env=os.environ | {"DISPLAY": display}, capture_output=True, timeout=120
        )
    assert done.returncode == NO_WINDOW, done
    assert bench.events() == 0, "nothing was shown"
    assert (await bench.say(Said.LOOK)).due, "it is shown another time"


async def test_on_a_terminal_it_is_read_answered_and_help_comes_first(bench: Bench) -> None:
    def agreement(typed: str) -> tuple[int, str]:
        config = bench.run_dir / "agent.toml"
        config.write_text(f'run_dir = "{bench.run_dir}"\n')
        done = subprocess.run(
            [BIN / "schoolkeeper-agent", "--config", config, "agreement", "--language", "en"], input=typed,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout

    code, said = await asyncio.to_thread(agreement, "\n")
    assert said.startswith("In danger now? Call 999.\nChildline: 0800 1111.")
    assert (code, ENGLISH.deferred in said, bench.events()) == (1, True, 2)
    code, said = await asyncio.to_thread(agreement, "nonsense\ncymraeg\nydw\n")
    assert ENGLISH.choose in said
    assert WELSH.agreed in said
    assert (code, bench.events()) == (0, 3)
    code, said = await asyncio.to_thread(agreement, "")
    assert (code, "It was agreed to on" in said, bench.events()) == (0, True, 3), "it can be read again"
