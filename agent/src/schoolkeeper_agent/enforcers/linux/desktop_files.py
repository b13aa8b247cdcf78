"""The files by which desktops lock a screen by themselves, and which the person cannot set otherwise (W-72).

The agent locks by the idle time that logind is told, and desktops tell it: GNOME after the time that its own setting
says, KDE not at all. So the setting itself is held. GNOME, Cinnamon and MATE read dconf, a database of the system's
with locks (dconf(7)); KDE reads kscreenlockerrc, where ``[$i]`` makes a group immutable (KDE System Administration).

As a program (``python desktop_files.py ETC``) it gives everything back: when the package is removed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from schoolkeeper_agent.enforcers.linux.browser_files import SAVED, fault, saved_of, write

NOTE = "# Written by the Schoolkeeper agent: changes are undone."
PROFILE = "dconf/profile/user"
DATABASES = "dconf/db"
KEYS = f"{DATABASES}/schoolkeeper.d/00-schoolkeeper"
LOCKS = f"{DATABASES}/schoolkeeper.d/locks/schoolkeeper"
COMPILED = f"{DATABASES}/schoolkeeper"
KDE = "xdg/kscreenlockerrc"
_OURS = "system-db:schoolkeeper"
_UPDATE_S = 30


def settings(idle_lock_seconds: int) -> dict[str, dict[str, str]]:
    """dconf's keys by path, in GVariant's text form: locked as soon as the session counts as idle."""
    minutes = max(1, idle_lock_seconds // 60)
    locked = {"idle-activation-enabled": "true", "lock-delay": "uint32 0", "lock-enabled": "true"}
    return {
        "org/cinnamon/desktop/screensaver": {"lock-delay": "uint32 0", "lock-enabled": "true"},
        "org/cinnamon/desktop/session": {"idle-delay": f"uint32 {idle_lock_seconds}"},
        "org/gnome/desktop/lockdown": {"disable-lock-screen": "false"},
        "org/gnome/desktop/screensaver": locked,
        "org/gnome/desktop/session": {"idle-delay": f"uint32 {idle_lock_seconds}"},
        "org/mate/desktop/lockdown": {"disable-lock-screen": "false"},
        "org/mate/screensaver": {**locked, "lock-delay": "0"},
        "org/mate/session": {"idle-delay": str(minutes)},
    }


def files(etc: Path, idle_lock_seconds: int) -> dict[Path, bytes]:
    """What is to lie where, with what somebody else wrote there before taken along."""
    keys, locks = f"{NOTE}\n", f"{NOTE}\n"
    for path, values in settings(idle_lock_seconds).items():
        keys += f"[{path}]\n" + "".join(f"{name}={value}\n" for name, value in values.items()) + "\n"
        locks += "".join(f"/{path}/{name}\n" for name in values)
    found = {
        etc / KEYS: keys.encode(),
        etc / LOCKS: locks.encode(),
        etc / PROFILE: _profile(_before(etc / PROFILE)).encode(),
    }
    if (
        etc / KDE
    ).parent.is_dir():  # every desktop has it; where it is not there, the service may not make it
        found[etc / KDE] = _kde(_before(etc / KDE), idle_lock_seconds).encode()
    return found


def apply(etc: Path, idle_lock_seconds: int) -> list[str]:
    """Writes what is not as it is to be; says what that was. Raises ``OSError``."""
    wrong = []
    for path, data in files(etc, idle_lock_seconds).items():
        found = fault(path, data)
        if found:
            wrong.append(f"{path}: {found}")
            if path in _shared(etc):
                _keep(path)
            write(path, data)
    if wrong or not (etc / COMPILED).exists():
        _compile(etc)
    return wrong


def give_back(etc: Path) -> None:
    """Nothing of ours is left, and what was there before is back. Raises ``OSError``."""
    for path in _shared(etc):
        if _is_ours(path):
            path.unlink()
        if saved_of(path).exists() and not path.exists():
            saved_of(path).replace(path)
    for name in (KEYS, LOCKS, COMPILED):
        (etc / name).unlink(missing_ok=True)
    for folder in (
        (etc / LOCKS).parent,
        (etc / KEYS).parent,
        etc / DATABASES,
        (etc / PROFILE).parent,
        etc / "dconf",
    ):
        with contextlib.suppress(OSError):  # a folder that holds something else stays
            folder.rmdir()


def problem(etc: Path, root: Path = Path("/")) -> str:
    """Why a desktop that is installed here does not heed it; empty when nothing is known to be in the way."""
    if not _has_dconf() and any(
        (root / "usr/bin" / program).exists()
        for program in ("gnome-session", "cinnamon-session", "mate-session")
    ):
        return "GNOME's settings are not held: the command `dconf` is missing (package dconf-cli)"
    text = _text(etc / PROFILE)
    if text and _OURS not in text.splitlines():
        return f"{etc / PROFILE} does not name our database"
    return ""


def _shared(etc: Path) -> tuple[Path, ...]:
    """Files of which there is one only, whoever writes them."""
    return etc / PROFILE, etc / KDE


def _profile(before: str) -> str:
    """Our database comes right after the person's own, so that its locks and values count before others'."""
    lines = [line for line in before.splitlines() if line != _OURS] or ["user-db:user"]
    after = next((at for at, line in enumerate(lines, 1) if line.startswith("user-db:")), 0)
    return "\n".join([NOTE, *lines[:after], _OURS, *lines[after:]]) + "\n"


def _kde(before: str, idle_lock_seconds: int) -> str:
    minutes = max(1, idle_lock_seconds // 60)
    ours = f"[Daemon][$i]\nAutolock=true\nLockGrace=0\nLockOnResume=true\nTimeout={minutes}\n"
    return "\n".join(part for part in (NOTE, before.strip(), ours) if part)


def _has_dconf() -> bool:
    """Looked for by hand: shutil would bring three packers into the service."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return any(os.access(Path(folder, "dconf"), os.X_OK) for folder in folders)


def _compile(etc: Path) -> None:
    if not _has_dconf():
        return  # whether that matters is `problem`'s to say
    try:
        done = subprocess.run(
            ["dconf", "update", str(etc / DATABASES)],
            check=False, capture_output=True, text=True, timeout=_UPDATE_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise OSError(f"`dconf update` did not end within {_UPDATE_S} s") from error
    if done.returncode or not (etc / COMPILED).exists():
        raise OSError(f"`dconf update` failed: {(done.stderr or done.stdout).strip()[-300:]}")


def _before(path: Path) -> str:
    """What somebody else wrote: what was put aside, or what lies there as long as it is not ours."""
    if saved_of(path).exists():
        return _text(saved_of(path))
    return "" if _is_ours(path) else _text(path)


def _keep(path: Path) -> None:
    if path.exists() and not _is_ours(path) and not saved_of(path).exists():
        path.replace(saved_of(path))


def _is_ours(path: Path) -> bool:
    return _text(path).startswith(NOTE)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def main(arguments: list[str]) -> int:
    """0 when everything is given back."""
    try:
        give_back(Path(arguments[0]))
    except OSError as error:
        print(f"desktop settings: {error}; what lay there before ends in .{SAVED}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
