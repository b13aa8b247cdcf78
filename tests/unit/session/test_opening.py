"""A window is opened where the person's desktop is, which the helper that systemd keeps has not around itself."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fakes.user_manager import UserManager
from schoolkeeper_agent.session.opening import SCREENS, Opener

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def bus(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A real session bus, and nothing of a desktop around us."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon is not installed (`make lab` installs it)")
    for name in SCREENS:
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory(prefix="sk-bus-") as folder:  # a socket's path has 108 bytes
        command = ["dbus-daemon", "--session", "--nofork", "--print-address"]
        daemon = subprocess.Popen(
            [*command, f"--address=unix:path={folder}/bus"], stdout=subprocess.PIPE, text=True
        )
        assert daemon.stdout is not None
        yield (await asyncio.to_thread(daemon.stdout.readline)).strip()
        daemon.terminate()
        daemon.communicate()


async def test_the_account_s_manager_opens_it_once_and_where_there_is_a_screen(
    bus: str, tmp_path: Path
) -> None:
    opener = Opener(tmp_path, bus)
    async with UserManager.serving(bus, "LANG=cy_GB.UTF-8") as manager:
        assert not await opener.open("agreement"), "a session without a screen"
        manager.environment = ("LANG=cy_GB.UTF-8", "WAYLAND_DISPLAY=wayland-0")
        for _ in range(2):
            assert await opener.open("agreement"), "it is there already the second time"
        command = [sys.executable, "-I", "-m", "schoolkeeper_agent.agreeing", str(tmp_path)]
        assert manager.started == {"schoolkeeper-agreement.service": command}
        assert not await opener.open("anything"), "only what is ours"
    assert not await opener.open("agreement"), "nobody manages the account"


async def test_without_a_bus_there_is_no_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SCREENS:
        monkeypatch.delenv(name, raising=False)
    assert not await Opener(tmp_path, "").open("agreement")
    assert not await Opener(tmp_path, f"unix:path={tmp_path}/nothing").open("agreement")
