"""The screen locks after idle time, in a real session with a real locker, and a lock that failed is called that."""

from collections.abc import Iterator

import pytest

from support.lab.cache import REPOSITORY
from support.lab.desktop import Desktop, sign_in
from support.lab.nspawn import Laptop
from support.lab.screens import go_away, said, start, until_said
from support.patience import until

pytestmark = pytest.mark.lab


@pytest.fixture
def laptop(can_boot_laptops: None) -> Iterator[Laptop]:
    with Laptop(read_only=[REPOSITORY]) as booted:
        yield booted


@pytest.mark.scenario(tier="session", name="an idle screen is locked, and logind's own hint says so")
@pytest.mark.requirement("W-72")
def test_an_idle_screen_is_locked_and_logind_shows_it(laptop: Laptop) -> None:
    desktop = sign_in(laptop)
    start(laptop, 2)
    assert "able True True" in said(laptop)
    assert not desktop.keyboard_is_grabbed()
    go_away(desktop)
    heard = until_said(laptop, "record session.locked")
    assert desktop.properties()["LockedHint"] == "yes"
    desktop.wait_for_grab()
    assert "lock_failed" not in heard
    go_away(desktop, idle=False)


def can_sleep(laptop: Laptop) -> None:
    """logind goes the whole way; what the kernel would do then is to write down how it finds the session.

    A container has no /sys/power, which logind looks into before it agrees.
    """
    unit = "/run/systemd/system/systemd-suspend.service.d"
    shows = "loginctl show-session --property=LockedHint --value $(cat /run/session) >/run/at-sleep"
    laptop.put(f"{unit}/asleep.conf", f"[Service]\nExecStart=\nExecStart=/bin/sh -c '{shows}'\n".encode())
    laptop.sh(
        "mount -o remount,rw /sys && mkdir /sys/power && echo 'freeze mem' >/sys/power/state"
        " && echo '[s2idle] deep' >/sys/power/mem_sleep && systemctl daemon-reload && systemctl restart systemd-logind"
    ).check()


def sleep(laptop: Laptop, desktop: Desktop) -> str:
    """Shuts the lid, as far as logind is concerned; how it found the session ("yes": locked) as the machine slept."""
    laptop.put("/run/session", desktop.session.encode())
    manager = "org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager"
    laptop.sh(f"busctl call {manager} Suspend b false").check()
    until(lambda: bool(laptop.sh("cat /run/at-sleep 2>/dev/null").out.strip()), 25, "the machine sleeps")
    return laptop.sh("cat /run/at-sleep").out.strip()


@pytest.mark.scenario(
    tier="session",
    name="the screen is locked before the machine sleeps, and the machine waits for it",
)
@pytest.mark.requirement("W-72")
def test_a_screen_is_locked_before_the_machine_sleeps_and_the_machine_waits_for_it(laptop: Laptop) -> None:
    can_sleep(laptop)
    desktop = sign_in(laptop)
    start(laptop, 900)
    until_held(laptop)
    assert sleep(laptop, desktop) == "yes"
    assert "suspend" in until_said(laptop, "record session.locked")
    desktop.wait_for_grab()
    until_held(laptop)


@pytest.mark.scenario(
    tier="session", name="a screen that does not lock keeps no machine awake, and is reported"
)
def test_a_screen_that_does_not_lock_keeps_no_machine_awake_and_is_reported(laptop: Laptop) -> None:
    can_sleep(laptop)
    desktop = sign_in(laptop, locker=False)
    start(laptop, 900)
    until_held(laptop)
    assert sleep(laptop, desktop) == "no"
    until_said(laptop, "record session.lock_failed")


def until_held(laptop: Laptop) -> None:
    """Until the agent holds a suspend back: from its start, and again after it woke up."""
    held = "systemd-inhibit --list --no-pager"
    until(lambda: "Schoolkeeper" in laptop.sh(held).out, 25, "the agent holds a suspend back")


@pytest.mark.scenario(
    tier="session", name="a session without a locker is a failed lock, on the critical lane"
)
def test_a_session_without_a_locker_is_a_failed_lock_on_the_critical_lane(laptop: Laptop) -> None:
    desktop = sign_in(laptop, locker=False)
    start(laptop, 2, lock_takes_s=1)
    go_away(desktop)
    heard = until_said(laptop, "record session.lock_failed")
    assert "critical" in heard
    assert "is there a screen locker" in heard
    assert "record session.locked" not in heard
    go_away(desktop, idle=False)


@pytest.mark.scenario(tier="session", name="a lock by hand and a sign-out are seen")
def test_a_lock_by_hand_and_a_sign_out_are_seen(laptop: Laptop) -> None:
    desktop = sign_in(laptop)
    start(laptop, 900)
    laptop.sh(f"loginctl lock-session {desktop.session}").check()
    until_said(laptop, "record session.locked")
    laptop.sh("pkill i3lock")
    until_said(laptop, "record session.unlocked")
    desktop.end()
    until_said(laptop, "record session.signed_out")
