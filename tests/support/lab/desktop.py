"""A person at a laptop: a logind session with a real X server and a real locker in it."""

import json
import time
from dataclasses import dataclass
from typing import Protocol

from support.lab.cache import LabError
from support.lab.commands import Result
from support.lab.tree import PUPIL

DISPLAY = ":5"
ANOTHER_DISPLAY = ":6"
_UNIT = "lab-desktop-{user}"
_SCRIPT = "/run/lab-desktop{display}"
_GRAB = "/run/lab-grab-keyboard"
_POLL = 0.1

# -noreset: or the server forgets its idle time-out as soon as the last client leaves.
_DESKTOP = """#!/bin/sh
Xvfb {display} -screen 0 640x480x24 -nolisten tcp -noreset &
until xset q >/dev/null 2>&1; do sleep 0.05; done
xset s 0 0
{locker}
exec sleep infinity
"""
_LOCKER = "xss-lock --ignore-sleep -- i3lock --nofork --color=004400 &"

# Exits 0 if somebody holds the keyboard: what a person would notice, whatever logind's hints say.
_TRY_TO_GRAB = """
import ctypes, sys
x = ctypes.CDLL("libX11.so.6")
x.XOpenDisplay.restype = ctypes.c_void_p
x.XDefaultRootWindow.restype = ctypes.c_ulong
display = ctypes.c_void_p(x.XOpenDisplay(None))
root = ctypes.c_ulong(x.XDefaultRootWindow(display))
ALREADY_GRABBED, ASYNC, NOW = 1, 1, ctypes.c_ulong(0)
sys.exit(0 if x.XGrabKeyboard(display, root, 1, ASYNC, ASYNC, NOW) == ALREADY_GRABBED else 1)
"""


class Machine(Protocol):
    """What both laptops can do."""

    def sh(self, command: str, timeout: float = 120) -> Result: ...

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Desktop:
    """A running desktop session. ``session`` is logind's id of it."""

    machine: Machine
    user: str
    session: str
    display: str = DISPLAY

    def properties(self) -> dict[str, str]:
        """All that logind says of the session (``LockedHint``, ``IdleHint``, ``Active`` ...)."""
        shown = self.machine.sh(f"loginctl show-session {self.session}").check()
        return dict(line.partition("=")[::2] for line in shown.splitlines())

    def wait_for(self, name: str, value: str, timeout: float = 90) -> float:
        """Seconds until logind shows the property with this value.

        Raises:
            LabError: it did not within ``timeout`` seconds.
        """
        started = time.monotonic()
        while (seen := self.properties().get(name)) != value:
            if time.monotonic() - started > timeout:
                raise LabError(
                    f"session {self.session}: {name} is {seen!r} after {timeout:.0f} s, not {value!r}"
                )
            time.sleep(_POLL)
        return time.monotonic() - started

    def run(self, command: str, timeout: float = 120) -> Result:
        """Run a command on the screen, as the person, but outside of the session's own unit."""
        return self.machine.sh(f"runuser -u {self.user} -- env DISPLAY={self.display} {command}", timeout)

    def keyboard_is_grabbed(self) -> bool:
        """Whether a program has the keyboard to itself, as a locker must."""
        return self.run(f"python3 {_GRAB}").rc == 0

    def wait_for_grab(self, timeout: float = 90) -> None:
        """Until a locker holds the keyboard: logind's hint is set as it starts, it has the keyboard a moment later.

        Raises:
            LabError: none did within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while not self.keyboard_is_grabbed():
            if time.monotonic() > deadline:
                raise LabError(f"session {self.session}: nobody holds the keyboard after {timeout:.0f} s")
            time.sleep(_POLL)

    def lock_after(self, seconds: int) -> None:
        """From now on call the screen saver after so many seconds without input (0: never)."""
        self.run(f"xset s {seconds} {seconds}").check()

    def move_mouse(self) -> None:
        """A sign of life."""
        self.run("xdotool mousemove_relative 1 1").check()

    def idle_seconds(self) -> float:
        """The X server's own idle time."""
        return int(self.run("xprintidle").check()) / 1000

    def end(self) -> None:
        """Sign out."""
        self.machine.sh(f"systemctl stop {_UNIT.format(user=self.user)}").check()


def sign_in(
    machine: Machine, *, user: str = PUPIL, locker: bool = True, display: str = DISPLAY, seat: str = ""
) -> Desktop:
    """Sign a person in to a desktop whose screen stays on (see ``Desktop.lock_after``).

    Args:
        locker: whether a locker follows the screen saver and logind's lock signal.
        display: two people at once need two.
        seat: logind's; of several sessions of one seat, the last one is in the foreground.
    """
    script = _SCRIPT.format(display=display)
    machine.put(script, _DESKTOP.format(display=display, locker=_LOCKER if locker else "").encode(), 0o755)
    machine.put(_GRAB, _TRY_TO_GRAB.encode())
    environment = f"DISPLAY={display} XDG_SESSION_TYPE=x11 XDG_SESSION_CLASS=user"
    environment += f" XDG_SEAT={seat}" if seat else ""
    machine.sh(
        f"systemd-run --quiet --unit={_UNIT.format(user=user)} -p PAMName=login -p User={user} -p LimitMEMLOCK=4M"
        f" -p Environment='{environment}' {script}"
    ).check()
    desktop = Desktop(machine=machine, user=user, session=_wait_for_session(machine, user), display=display)
    _wait_for_screen(desktop, locker)
    return desktop


def _wait_for_session(machine: Machine, user: str, timeout: float = 90) -> str:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        listed = json.loads(machine.sh("loginctl list-sessions --output=json").out or "[]")
        for session in listed:
            if session["user"] == user and not _is_closing(machine, str(session["session"])):
                return str(session["session"])
        time.sleep(_POLL)
    raise LabError(f"no session of {user} appeared in logind within {timeout:.0f} s")


def _is_closing(machine: Machine, session: str) -> bool:
    """Whether the person has signed out of it: it stays listed while something that began in it runs."""
    return machine.sh(f"loginctl show-session {session} --property=State --value").out.strip() == "closing"


def _wait_for_screen(desktop: Desktop, locker: bool, timeout: float = 90) -> None:
    wanted = "xset q >/dev/null 2>&1" + (
        f" && pgrep -u {desktop.user} -x xss-lock >/dev/null" if locker else ""
    )
    deadline = time.monotonic() + timeout
    while desktop.run(f"sh -c '{wanted}'").rc != 0:
        if time.monotonic() > deadline:
            unit = _UNIT.format(user=desktop.user)
            raise LabError(f"no screen: {desktop.machine.sh(f'journalctl --no-pager -n 20 -u {unit}').out}")
        time.sleep(_POLL)
