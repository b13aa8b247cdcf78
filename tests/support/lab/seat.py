"""A person at the virtual laptop's own screen and keyboard: what polkit lets somebody there do, and no more."""

import shlex

from support.lab.commands import Result
from support.lab.tree import PUPIL
from support.lab.virtual_laptop import VirtualLaptop

_SESSION = "XDG_SEAT=seat0 XDG_VTNR=1 XDG_SESSION_CLASS=user XDG_SESSION_TYPE=tty"


def as_person(laptop: VirtualLaptop, command: str, *, user: str = PUPIL, timeout: float = 180) -> Result:
    """Run a shell command in a session of this account on the first seat; it lasts as long as the command."""
    return laptop.sh(
        f"systemd-run --quiet --wait --pipe -p PAMName=login -p User={user} -p Environment='{_SESSION}'"
        f" sh -c {shlex.quote(command)}",
        timeout,
    )


def mount(laptop: VirtualLaptop, device: str) -> Result:
    """As a desktop does it for whoever plugged a stick in."""
    return as_person(laptop, f"udisksctl mount --no-user-interaction -b {device}")
