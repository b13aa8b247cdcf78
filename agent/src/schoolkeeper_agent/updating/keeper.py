"""Installs a verified package of the agent, waits until it reports, and otherwise puts the former one back.

A program of its own, of Python's library alone: it runs as a copy in the state folder under the system's Python,
because the package that it watches over may not work. ``schoolkeeper-update.service`` starts it when the agent wants an
update and again at each boot while one is under way, so every step may be cut off anywhere: what is done next is read
from ``state.json`` and from dpkg.

    wanted.json -> (checked, former package at hand) -> installing -> waiting -> outcome.json: succeeded
                                                             \\-----------\\-> reverting -> outcome.json: rolled back
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGE = "schoolkeeper-agent"
SECONDS = 900
"""Powered on, after the installation: so long the new agent may take until the school acknowledged it."""
TRIES = 3
REVERTS = 5
LOOK_S, LOCK_S, AGAIN_S = 2.0, 10.0, 30.0
ROOM = 3
"""Free space needed, in sizes of what is installed now."""
WANTED, STATE, OUTCOME, FAILED = "wanted.json", "state.json", "outcome.json", "failed.json"
STARTED, REPORTED = "started", "reported"
"""The agent writes its own package's version there: when it runs, and once the school acknowledged it."""
NEW, FORMER = "new.deb", "former.deb"
_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "DPKG_FRONTEND_LOCKED": "1", "LC_ALL": "C.UTF-8"}


Note = dict[str, Any]
"""What lies in a file of JSON between two steps."""


class Refused(Exception):
    """This package is not installed, now or ever; says why. Nothing was changed."""


class NotNow(Exception):
    """This device cannot do it now; says why. Nothing was changed, and it may be tried again."""


class Keeper:
    """``folder``: the agent's ``updates``. ``seconds``: see ``SECONDS``."""

    def __init__(self, folder: Path, seconds: float = SECONDS, look_s: float = LOOK_S) -> None:
        self.folder = folder
        self.seconds = seconds
        self.look_s = look_s

    def run(self) -> None:
        """To the end of the update that is wanted or under way; returns at once when there is none."""
        state = self._read(STATE)
        if not state:
            state = self._begin()
        while state:
            match state["step"]:
                case "installing":
                    state = self._install(state)
                case "waiting":
                    state = self._wait(state)
                case "reverting":
                    state = self._revert(state)
                case _:
                    self._end(state, "refused", "the note of the update cannot be read")
                    state = {}

    # ---- the steps ----------------------------------------------------------------------------------

    def _begin(self) -> Note:
        wanted = self._read(WANTED)
        installed = installed_version()
        try:
            if not wanted:
                raise Refused("the note of what is wanted cannot be read")
            self._check(wanted, installed)
            self._have_former(installed)
        except (Refused, NotNow, OSError, subprocess.CalledProcessError, KeyError, ValueError) as error:
            shutil.rmtree(self.folder / "repacking", ignore_errors=True)
            if (self.folder / WANTED).exists():
                named = {
                    name: str(wanted.get(key, "")) for name, key in (("to", "version"), ("sha256", "sha256"))
                }
                for_good = isinstance(error, Refused | KeyError | ValueError)
                came = "refused" if for_good else "put-off"
                self._end({"from": installed, **named}, came, str(error)[:300])
            return {}
        for name in (STARTED, REPORTED):
            (self.folder / name).unlink(missing_ok=True)
        state = {"step": "installing", "from": installed, "to": wanted["version"], "sha256": wanted["sha256"],
                 "tries": 0, "waited": 0.0, "why": ""}  # fmt: skip
        return self._save(state)

    def _check(self, wanted: Note, installed: str) -> None:
        new = self.folder / NEW
        if sha256(new) != wanted["sha256"]:
            raise Refused("the package is not the one that was verified")
        control = dict(
            line.split(": ", 1)
            for line in said("dpkg-deb", "--field", new, "Package", "Version", "Architecture").splitlines()
        )
        if control["Package"] != PACKAGE or control["Version"] != wanted["version"]:
            raise Refused(f"the package is {control['Package']} {control['Version']}")
        if control["Architecture"] not in ("all", said("dpkg", "--print-architecture").strip()):
            raise Refused(f"the package is for {control['Architecture']}")
        if not installed:
            raise Refused("no package of the agent is installed")
        if subprocess.run(
            ("dpkg", "--compare-versions", wanted["version"], "gt", installed), check=False
        ).returncode:
            raise Refused(f"version {wanted['version']} is not newer than {installed}")
        room = shutil.disk_usage(self.folder).free
        size = 1024 * int(said("dpkg-query", "--showformat", "${Installed-Size}", "--show", PACKAGE) or 0)
        if room < ROOM * size + new.stat().st_size:
            raise NotNow(f"the disk has {room >> 20} MiB left, {(ROOM * size) >> 20} MiB are needed")

    def _have_former(self, installed: str) -> None:
        """The package to go back to: kept from the last update, else made of what is installed."""
        former, kept = self.folder / FORMER, self._read("former.json")
        if kept.get("version") == installed and former.is_file() and sha256(former) == kept.get("sha256"):
            return
        former.unlink(missing_ok=True)
        repack(self.folder / "repacking", former)
        self._write("former.json", {"version": installed, "sha256": sha256(former)})

    def _install(self, state: Note) -> Note:
        if state["tries"] >= TRIES:
            return self._back(state, state["why"] or "it was cut off again and again")
        state = self._save({**state, "tries": state["tries"] + 1})
        new = self.folder / NEW
        if not new.is_file() or sha256(new) != state["sha256"]:
            return self._back(state, "the package was changed on the disk")
        code = dpkg_install(new)
        if code == 0 and installed_version() == state["to"]:
            return self._save({**state, "step": "waiting", "tries": 0})
        return self._save({**state, "why": f"dpkg ended with {code}"})

    def _back(self, state: Note, why: str) -> Note:
        return self._save({**state, "step": "reverting", "tries": 0, "why": why})

    def _wait(self, state: Note) -> Note:
        while True:
            if self._note(REPORTED) == state["to"]:
                if (self.folder / NEW).is_file():  # else it was cut off here before
                    (self.folder / NEW).replace(self.folder / FORMER)
                self._write("former.json", {"version": state["to"], "sha256": state["sha256"]})
                self._end(state, "succeeded", "")
                return {}
            if state["waited"] >= self.seconds and (why := self._unsound(state)):
                return self._back(state, why)
            began = time.monotonic()
            time.sleep(self.look_s)
            before = state["waited"]
            state["waited"] = before + time.monotonic() - began
            if state["waited"] // 30 != before // 30:
                self._save(state)

    def _unsound(self, state: Note) -> str:
        """Why the new agent is not kept; empty: it runs, and the school cannot be reached by anybody now."""
        if self._note(STARTED) != state["to"]:
            return "it did not start"
        if (
            said("systemctl", "show", "--property=ActiveState", "--value", f"{PACKAGE}.service").strip()
            != "active"
        ):
            return "it does not run"
        if any(answers(address) for address in self._addresses()):
            return "the school's server answers, and the new agent did not report to it"
        return ""

    def _addresses(self) -> list[str]:
        try:
            return list(json.loads((self.folder.parent / "trust/addresses.json").read_bytes())["uplink"])
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def _revert(self, state: Note) -> Note:
        if state["tries"] >= REVERTS:
            self._end(state, "stuck", f"{state['why']}; the former one cannot be installed either")
            return {}
        state = self._save({**state, "tries": state["tries"] + 1})
        kept, former = self._read("former.json"), self.folder / FORMER
        if not former.is_file() or sha256(former) != kept.get("sha256"):
            self._end(state, "stuck", f"{state['why']}; the former package is damaged")
            return {}
        if dpkg_install(former) == 0 and installed_version() == kept["version"]:
            self._end(state, "rolled-back", state["why"])
            return {}
        time.sleep(min(AGAIN_S, self.seconds))
        return state

    # ---- notes --------------------------------------------------------------------------------------

    def _end(self, state: Note, came: str, why: str) -> None:
        """The outcome is on the disk before the update is forgotten: cut off in between, it is only said again."""
        if came not in ("succeeded", "put-off") and state.get("sha256"):
            failed = [*self._read(FAILED).get("sha256", []), state["sha256"]]
            self._write(FAILED, {"sha256": failed[-32:]})
        outcome = {"state": came, "from": state.get("from", ""), "to": state.get("to", ""), "why": why}
        self._write(OUTCOME, outcome | {"sha256": state.get("sha256", "")})
        for name in (WANTED, NEW, STATE):
            (self.folder / name).unlink(missing_ok=True)
        print(f"update to {state.get('to', '')}: {came} {why}", flush=True)

    def _save(self, state: Note) -> Note:
        self._write(STATE, state)
        return state

    def _read(self, name: str) -> Note:
        try:
            found = json.loads((self.folder / name).read_bytes())
            if isinstance(found, dict):
                return found
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            pass
        return {"step": "unreadable"} if name == STATE else {}

    def _note(self, name: str) -> str:
        try:
            return (self.folder / name).read_text().strip()
        except (OSError, ValueError):
            return ""

    def _write(self, name: str, value: Note) -> None:
        new = self.folder / f".{name}"
        with new.open("w") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.folder / name)
        sync(self.folder)


def repack(tree: Path, target: Path) -> None:
    """A package of what is installed now, with its scripts and settings: what dpkg would need to put it back."""
    root = Path(os.environ.get("DPKG_ROOT", "/"))
    shutil.rmtree(tree, ignore_errors=True)
    control = tree / "DEBIAN"
    control.mkdir(parents=True)
    listed = said("dpkg-query", "--listfiles", PACKAGE).splitlines()
    # What holds other files of the package is a folder of it, also where the system made a link of it (/lib).
    folders = {str(parent) for line in listed for parent in Path(line).parents}
    for line in listed:
        source, place = root / line.lstrip("/"), tree / line.lstrip("/")
        if source.is_symlink() and line not in folders:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source.readlink())
        elif source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif source.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)
    fields = said("dpkg-query", "--status", PACKAGE)
    (control / "control").write_text("".join(_control_lines(fields)))
    for path in said("dpkg-query", "--control-path", PACKAGE).splitlines():
        source = Path(path)
        name = source.name.rpartition(".")[2]
        if name == "conffiles":
            there = [line for line in source.read_text().splitlines() if (tree / line.lstrip("/")).is_file()]
            (control / name).write_text("".join(f"{line}\n" for line in there))
        elif name in ("preinst", "postinst", "prerm", "postrm", "md5sums", "triggers"):
            shutil.copy(source, control / name)
            (control / name).chmod(0o644 if name in ("md5sums", "triggers") else 0o755)
    unfinished = target.with_suffix(".new")
    subprocess.run(("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, unfinished), check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(target)
    sync(target.parent)
    shutil.rmtree(tree, ignore_errors=True)


def _control_lines(status: str) -> Iterator[str]:
    """Without what only dpkg's own list has: the state, and the hashes of settings files."""
    dropped = False
    for line in status.splitlines():
        if not line.startswith(" "):
            dropped = line.partition(":")[0] in ("Status", "Conffiles", "Config-Version")
        if line and not dropped:
            yield f"{line}\n"


def dpkg_install(package: Path) -> int:
    """Once nobody else uses dpkg. The exit code; 0: installed. A half-done one of before is finished or replaced."""
    with frontend_lock():
        environment = os.environ | _ENVIRONMENT
        command = ("dpkg", "--force-downgrade", "--force-confdef", "--force-confold", "--install", package)
        code = subprocess.run(command, check=False, env=environment).returncode
        if code:
            subprocess.run(("dpkg", "--configure", PACKAGE), check=False, env=environment)
        return code


@contextmanager
def frontend_lock() -> Iterator[None]:
    """Like apt: two that install at once would undo each other."""
    root = Path(os.environ.get("DPKG_ROOT", "/"))
    with (root / "var/lib/dpkg/lock-frontend").open("a") as file:
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(LOCK_S)
        yield


def installed_version() -> str:
    """Of a package that is wholly installed; empty for none, or half a one."""
    done = subprocess.run(("dpkg-query", "--showformat", "${db:Status-Status} ${Version}", "--show", PACKAGE),
                          capture_output=True, text=True, check=False)  # fmt: skip
    state, _, version = done.stdout.strip().partition(" ")
    return version if done.returncode == 0 and state == "installed" else ""


def said(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), 5).close()
    except (OSError, ValueError):
        return False
    return True


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(folder: Path) -> None:
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def main(arguments: list[str]) -> int:
    os.umask(0o022)
    Keeper(Path(arguments[0]), float(arguments[1]) if len(arguments) > 1 else SECONDS).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
