"""The agent's parts for screens inside a laptop, by the policy of a test, and what people do there."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from support.lab.cache import REPOSITORY
from support.lab.desktop import Desktop, Machine
from support.patience import until

_SOURCE = Path(__file__).with_name("screen_script.py")
_SCRIPT = "/run/screen_script.py"
_PYTHON = str(Path(sys.prefix) / "bin" / "python")
_AT_SCREEN = REPOSITORY / "tests/lab/programs/at_screen.py"
_TERMINAL = REPOSITORY / "tests/lab/programs/left_terminal.py"
_PLACE = "/run/said"


def start(
    machine: Machine,
    idle_lock_seconds: int,
    *,
    lock_takes_s: float = 5,
    python: str = _PYTHON,
    **section: Any,
) -> None:
    """Sensor, core and enforcer, by a rule on screens (``policy.ScreenSection``), until they know who is signed in.

    ``lock_takes_s``: after so long a lock has failed; shorter where nothing is there that locks. ``python``: one that
    has the agent inside.
    """
    rule = shlex.quote(json.dumps({"idle_lock_seconds": idle_lock_seconds, **section}))
    machine.put(_SCRIPT, _SOURCE.read_bytes())
    machine.sh(f"({python} {_SCRIPT} {rule} {lock_takes_s} >{_PLACE} 2>&1 </dev/null &)").check()
    until_said(machine, "session.signed_in")


def said(machine: Machine) -> str:
    """What the core wants and writes down, a line for each."""
    return machine.sh(f"cat {_PLACE}").out


def until_said(machine: Machine, words: str, *, times: int = 1) -> str:
    """All that was said when ``words`` were said so often."""
    seen = [""]

    def there() -> bool:
        seen[0] = said(machine)
        return seen[0].count(words) >= times

    try:
        until(there, 25, f"{words!r}")
    except AssertionError as late:
        raise AssertionError(f"{late}; said: {seen[0]}") from None
    return seen[0]


def go_away(desktop: Desktop, *, idle: bool = True) -> None:
    """What a desktop tells logind when nobody touched anything, or (not ``idle``) that they are back: the idle hint."""
    path = f"/org/freedesktop/login1/session/_3{desktop.session}"
    call = f"busctl call org.freedesktop.login1 {path} org.freedesktop.login1.Session SetIdleHint b {str(idle).lower()}"
    desktop.machine.sh(f"runuser -u {desktop.user} -- {call}").check()


def sign_in_at_terminal(machine: Machine, user: str, *, host: str = "") -> str:
    """Somebody signs in at a text console, or (``host``) from another machine, and leaves; logind's id of it."""
    before = set(machine.sh("loginctl list-sessions --no-legend | awk '{print $1}'").check().split())
    machine.put("/run/left_terminal.py", _TERMINAL.read_bytes())
    machine.sh(f"setsid python3 /run/left_terminal.py {user} {host} >/run/terminal 2>&1 </dev/null &").check()
    found: list[str] = []

    def there() -> bool:
        for session in machine.sh("loginctl list-sessions --no-legend | awk '{print $1}'").out.split():
            kind = f"loginctl show-session {session} --property=Type --value"
            if session not in before and machine.sh(kind).out.strip() == "tty":
                found.append(session)
        return bool(found)

    until(there, 20, f"a session of {user} at a terminal")
    return found[0]


def is_open(machine: Machine, session: str) -> bool:
    """Whether the session goes on: nobody signed out of it and nothing ended it."""
    state = machine.sh(f"loginctl show-session {session} --property=State --value 2>/dev/null").out.strip()
    return state in ("active", "online")


def unlock(desktop: Desktop, password: str = "opens it again") -> None:
    """The person types their password into the locker, which lets go."""
    machine = desktop.machine
    machine.put("/run/at_screen.py", _AT_SCREEN.read_bytes())
    machine.sh(f"echo '{desktop.user}:{password}' | chpasswd").check()
    desktop.run(f"python3 /run/at_screen.py '{password}' 60", 180).check()
