"""Several people, text consoles and terminals from elsewhere, by real logind; and what comes of what does not lock."""

from collections.abc import Iterator

import pytest

from support.lab.cache import REPOSITORY
from support.lab.desktop import ANOTHER_DISPLAY, sign_in
from support.lab.nspawn import Laptop
from support.lab.screens import go_away, is_open, said, sign_in_at_terminal, start, until_said
from support.lab.tree import PUPIL, TEACHER
from support.patience import until

pytestmark = pytest.mark.lab


@pytest.fixture
def laptop(can_boot_laptops: None) -> Iterator[Laptop]:
    with Laptop(read_only=[REPOSITORY]) as booted:
        yield booted


@pytest.mark.scenario(tier="session", name="whoever leaves the screen to somebody else is locked")
def test_fast_user_switching_locks_the_session_that_goes_to_the_background(laptop: Laptop) -> None:
    pupil = sign_in(laptop, seat="seat0")
    start(laptop, 900)
    teacher = sign_in(laptop, user=TEACHER, display=ANOTHER_DISPLAY, seat="seat0")
    pupil.wait_for("Active", "no")
    pupil.wait_for("LockedHint", "yes")
    assert f"session.locked normal {pupil.session} background" in until_said(laptop, "record session.locked")
    assert teacher.properties()["LockedHint"] == "no"
    laptop.sh(f"loginctl activate {pupil.session}").check()
    teacher.wait_for("LockedHint", "yes")
    assert pupil.properties()["LockedHint"] == "yes", "coming back needs a password"


@pytest.mark.scenario(tier="session", name="a session that does not lock is ended, with words before")
@pytest.mark.requirement("W-72")
def test_a_session_that_does_not_lock_is_ended_after_its_time_with_words_before(laptop: Laptop) -> None:
    desktop = sign_in(laptop, locker=False)
    start(laptop, 2, lock_takes_s=1, end_unlocked_seconds=8)
    go_away(desktop)
    until(lambda: not is_open(laptop, desktop.session), 60, "the session is ended")
    heard = until_said(laptop, "record session.signed_out").splitlines()
    order = ["enforce LockSession", "record session.lock_failed", "You are signed out in about",
             "You are signed out in a minute", "enforce EndUnlocked", "it was ended"]  # fmt: skip
    places = [next(at for at, line in enumerate(heard) if words in line) for words in order]
    assert places == sorted(places)
    assert heard[places[-1]].startswith("record session.lock_failed critical")
    assert sum("enforce LockSession" in line for line in heard) >= 2, "it was tried again before"


@pytest.mark.scenario(tier="session", name="whoever comes back in time keeps their session and their work")
def test_whoever_comes_back_in_time_keeps_their_session(laptop: Laptop) -> None:
    desktop = sign_in(laptop, locker=False)
    start(laptop, 2, lock_takes_s=1, end_unlocked_seconds=3600)
    go_away(desktop)
    until_said(laptop, "You are signed out in about")
    until_said(laptop, "enforce LockSession", times=2)
    go_away(desktop, idle=False)
    desktop.wait_for("IdleHint", "no")
    assert is_open(laptop, desktop.session)
    assert "EndUnlocked" not in said(laptop)


@pytest.mark.scenario(
    tier="session", name="a locker that was killed while its person is away is locked again"
)
def test_a_locker_that_was_killed_is_started_again_by_the_next_lock(laptop: Laptop) -> None:
    desktop = sign_in(laptop)
    start(laptop, 2)
    go_away(desktop)
    until_said(laptop, "record session.locked")
    desktop.wait_for_grab()
    laptop.sh(f"pkill -u {desktop.user} i3lock").check()
    until_said(laptop, "record session.unlocked")
    until_said(laptop, "record session.locked", times=2)
    desktop.wait_for("LockedHint", "yes")
    desktop.wait_for_grab()
    go_away(desktop, idle=False)


@pytest.mark.scenario(
    tier="session", name="a warning comes before the lock, and whoever heeds it is not locked"
)
def test_whoever_heeds_the_warning_is_not_locked(laptop: Laptop) -> None:
    desktop = sign_in(laptop)
    start(laptop, 600, warn_seconds=598)
    go_away(desktop)
    heard = until_said(laptop, "The screen locks soon")
    assert f"tell {desktop.session} The screen locks soon" in heard
    go_away(desktop, idle=False)
    desktop.wait_for("IdleHint", "no")
    assert desktop.properties()["LockedHint"] == "no"
    assert "enforce" not in said(laptop)


@pytest.mark.scenario(
    tier="session", name="a text console that was left is reported, and ended where the policy says"
)
def test_a_text_console_that_was_left_is_ended(laptop: Laptop) -> None:
    session = sign_in_at_terminal(laptop, PUPIL)
    start(laptop, 2, end_unlocked_seconds=3)
    heard = until_said(laptop, "record session.signed_out")
    assert "is a text console, which has no lock" in heard
    assert "You are signed out in a minute" in heard
    until(lambda: not is_open(laptop, session), 20, "the console's session is ended")


@pytest.mark.scenario(
    tier="session", name="a terminal from another machine has no screen here and is left alone"
)
def test_a_terminal_from_another_machine_is_left_alone(laptop: Laptop) -> None:
    remote = sign_in_at_terminal(laptop, TEACHER, host="192.0.2.7")
    desktop = sign_in(laptop)
    start(laptop, 2, end_unlocked_seconds=3)
    go_away(desktop)
    heard = until_said(laptop, "record session.locked")
    assert laptop.sh(f"loginctl show-session {remote} --property=Remote --value").out.strip() == "yes"
    assert is_open(laptop, remote)
    assert "lock_failed" not in heard
    go_away(desktop, idle=False)
