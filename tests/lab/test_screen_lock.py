"""The screen locks after idle time, in a real session with a real locker, and a lock that failed is called that."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.lab.cache import REPOSITORY
from support.lab.desktop import Desktop, sign_in
from support.lab.nspawn import Laptop

pytestmark = pytest.mark.lab
SCRIPT = REPOSITORY / "tests" / "support" / "lab" / "screen_script.py"
PYTHON = Path(REPOSITORY / ".venv" / "bin" / "python")


@pytest.fixture
def laptop(can_boot_laptops: None) -> Iterator[Laptop]:
    with Laptop(read_only=[REPOSITORY]) as booted:
        yield booted


def start_agent_parts(laptop: Laptop, idle_lock_seconds: int) -> None:
    laptop.sh(f"({PYTHON} {SCRIPT} {idle_lock_seconds} >/run/said 2>&1 &)").check()
    until(laptop, "session.signed_in")


def until(laptop: Laptop, words: str, timeout: float = 90) -> str:
    deadline = time.monotonic() + timeout
    while words not in (said := laptop.sh("cat /run/said").out):
        assert time.monotonic() < deadline, f"{words!r} was not said: {said}"
        time.sleep(0.1)
    return said


def go_away(desktop: Desktop, laptop: Laptop) -> None:
    """What a desktop tells logind when nobody touched anything: the session's idle hint."""
    call = (
        f"busctl call org.freedesktop.login1 /org/freedesktop/login1/session/$(loginctl show-session {desktop.session} "
        "-p Id --value | sed 's/^\\([0-9]\\)/_3\\1/') org.freedesktop.login1.Session SetIdleHint b true"
    )
    laptop.sh(f"runuser -u {desktop.user} -- sh -c '{call}' || {call}").check()


@pytest.mark.requirement("W-72")
def test_an_idle_screen_is_locked_and_logind_shows_it(laptop: Laptop) -> None:
    desktop = sign_in(laptop)
    start_agent_parts(laptop, 2)
    assert "able True True" in laptop.sh("cat /run/said").out
    assert not desktop.keyboard_is_grabbed()
    go_away(desktop, laptop)
    said = until(laptop, "record session.locked")
    assert desktop.properties()["LockedHint"] == "yes"
    desktop.wait_for_grab()
    assert "lock_failed" not in said


def test_a_session_without_a_locker_is_a_failed_lock_on_the_critical_lane(laptop: Laptop) -> None:
    desktop = sign_in(laptop, locker=False)
    start_agent_parts(laptop, 2)
    go_away(desktop, laptop)
    said = until(laptop, "record session.lock_failed")
    assert "critical" in said
    assert "is there a screen locker" in said
    assert "record session.locked" not in said


def test_a_lock_by_hand_and_a_sign_out_are_seen(laptop: Laptop) -> None:
    desktop = sign_in(laptop)
    start_agent_parts(laptop, 900)
    laptop.sh(f"loginctl lock-session {desktop.session}").check()
    until(laptop, "record session.locked")
    laptop.sh("pkill i3lock")
    until(laptop, "record session.unlocked")
    desktop.end()
    until(laptop, "record session.signed_out")
