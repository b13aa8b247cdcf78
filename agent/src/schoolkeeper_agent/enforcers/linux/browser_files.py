"""The files by which browsers on Linux are managed: where they lie, written whole, read back, and given back.

Chromium, Chrome and Edge read every file of a folder; one of ours lies there under a name of its own. Firefox reads one
file: what was there before is kept beside it, what it said is taken along where our rules say nothing of it, and it
comes back when ours goes. Written for every browser whether it is there or not: one that is installed tomorrow finds
its rules at its first start.

As a program (``python browser_files.py ETC [OWNER_FILE TOKEN]``) it gives everything back: when the package is
removed, and some time after the service was stopped, unless another one has taken over (its own token is in the file).
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

MARK = "schoolkeeper"
SAVED = "before-schoolkeeper"
_NOTE = (
    "Written by the Schoolkeeper agent: changes are undone. What was here before, if anything, lies beside it as "
    f"policies.json.{SAVED} and comes back when the agent goes."
)
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """``file`` below ``/etc``; ``programs`` tell whether it is installed; ``takes`` says when it reads a change."""

    name: str
    file: str
    programs: tuple[str, ...]
    takes: str = "it takes a change while it runs"
    shared: bool = False
    """The file is the only one that the browser reads."""


BROWSERS = (
    Browser(
        name="chromium",
        file="chromium/policies/managed/schoolkeeper.json",
        programs=("/usr/bin/chromium", "/usr/bin/chromium-browser"),
    ),
    Browser(
        name="chrome",
        file="opt/chrome/policies/managed/schoolkeeper.json",
        programs=("/usr/bin/google-chrome", "/opt/google/chrome/chrome"),
    ),
    Browser(
        name="edge",
        file="opt/edge/policies/managed/schoolkeeper.json",
        programs=("/usr/bin/microsoft-edge", "/opt/microsoft/msedge/msedge"),
    ),
    Browser(
        name="firefox",
        file="firefox/policies/policies.json",
        programs=("/usr/bin/firefox", "/usr/bin/firefox-esr"),
        takes="it reads them when it starts",
        shared=True,
    ),
)


def folders_of(path: Path, top: Path) -> list[Path]:
    """The folders on the way to a file, the outermost (``top``) first."""
    between = [folder for folder in path.parents if folder == top or top in folder.parents]
    return between[::-1]


def write(path: Path, data: bytes) -> None:
    """The whole file or nothing of it, readable by everybody, whatever the umask. Raises ``OSError``."""
    missing = [folder for folder in path.parents if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir()
        folder.chmod(_FOLDER_MODE)
    # Not in the folder itself: Chromium reads every file there, also one that is half written.
    beside = path.parents[1] / f".{path.parent.name}-{path.name}.new"
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), _FILE_MODE)
        os.fsync(file.fileno())
    if path.is_dir() and not path.is_symlink():
        path.rmdir()  # put there so that nothing can be renamed over it; one that is not empty is an error that is said
    beside.replace(path)


def fault(path: Path, data: bytes | None) -> str:
    """What became of the file since it was written, in words; empty when it is as it was. None: there is to be none."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return "" if data is None else "removed"
    except OSError as error:
        return f"made unreadable ({error.strerror})"
    if data is None:
        return "added"
    if not stat.S_ISREG(found.st_mode):
        return "replaced by something that is not a file"
    if found.st_mode & 0o7777 != _FILE_MODE or found.st_uid != os.geteuid():
        return "given other rights"
    try:
        return "" if path.read_bytes() == data else "changed"
    except OSError as error:
        return f"made unreadable ({error.strerror})"


def later_files(path: Path, names: frozenset[str]) -> list[str]:
    """Files that Chromium lets decide instead of ours: the last one in the alphabet that sets a policy counts."""
    found = []
    for other in sorted(path.parent.glob("*")):
        if other.name <= path.name or not other.is_file():
            continue
        same = sorted(names & policies_in(other, key=None).keys())
        if same:
            found.append(f"{other} sets {', '.join(same)}")
    return found


def policies_in(path: Path, *, key: str | None) -> dict[str, object]:
    """The settings of a file, or nothing when it cannot be read; ``key`` holds them in Firefox's."""
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    held = said.get(key, {}) if key and isinstance(said, dict) else said
    return held if isinstance(held, dict) else {}


def is_ours(path: Path) -> bool:
    return not path.is_symlink() and MARK in policies_in(path, key=None)


def saved_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.{SAVED}")


def keep_what_was(path: Path) -> str:
    """Puts a file of somebody else aside; the one that was put aside first stays. Says when ours had been replaced."""
    if not (path.exists() or path.is_symlink()) or is_ours(path):
        return ""
    if saved_of(path).exists():
        return "replaced while nobody looked"
    path.replace(saved_of(path))
    return ""


def shared_file(path: Path, settings: dict[str, object]) -> dict[str, object]:
    """Firefox's file: our settings, over those that were there before."""
    return {"policies": {**policies_in(saved_of(path), key="policies"), **settings}, MARK: _NOTE}


def give_back(path: Path, *, shared: bool) -> None:
    """Our file is gone, and what was there before is back. Raises ``OSError``."""
    if not shared or is_ours(path):
        path.unlink(missing_ok=True)
    if shared and saved_of(path).exists() and not path.exists():
        saved_of(path).replace(path)


def _leave(path: Path, etc: Path) -> None:
    """Folders that are empty now are gone; those of the system stay."""
    for folder in path.parents:
        if folder in (etc, etc / "opt"):
            return
        with contextlib.suppress(OSError):
            folder.rmdir()


def main(arguments: list[str]) -> int:
    """0 when everything is given back, or was somebody else's by now."""
    etc = Path(arguments[0])
    if len(arguments) == 3:
        with contextlib.suppress(OSError):
            if Path(arguments[1]).read_text() != arguments[2]:
                return 0
    failed = 0
    for browser in BROWSERS:
        try:
            give_back(etc / browser.file, shared=browser.shared)
            _leave(etc / browser.file, etc)
        except OSError as error:
            print(f"{etc / browser.file}: {error}", file=sys.stderr)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
