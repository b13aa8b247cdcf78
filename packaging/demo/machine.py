"""What the demonstration acts on: its own harmless program, on a file system of its own where it may mount one."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "schoolkeeper-demo-bypass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of starting the program: refused by the kernel, or it ran."""

    refused: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """``folder`` becomes a tmpfs of its own when we are root, so that no mark touches another file system."""

    folder: Path

    @property
    def program(self) -> Path:
        return self.folder / PROGRAM

    def prepare(self) -> bool:
        """Puts the program in place; returns whether it lies on a file system of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mounted = self._mount()
        source = shutil.which("sleep")
        if source is None:
            raise FileNotFoundError("there is no program 'sleep' on this machine to make a harmless copy of")
        shutil.copyfile(source, self.program)
        self.program.chmod(0o755)
        return mounted

    def attempt(self) -> Attempt:
        """Starts the program as a person would. It lives for two seconds, so that a mere observer sees it."""
        try:
            done = subprocess.run([self.program, "2"], capture_output=True, timeout=20, check=False)
        except PermissionError as error:
            return Attempt(refused=True, detail=f"the kernel refused it: {error.strerror}")
        return Attempt(refused=False, detail=f"it ran and ended with {done.returncode}")

    def remove(self) -> None:
        if is_mount(self.folder):
            subprocess.run(["umount", str(self.folder)], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _mount(self) -> bool:
        if os.geteuid() != 0:
            return False
        if is_mount(self.folder):
            return True
        command = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "schoolkeeper-demo", str(self.folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def is_mount(folder: Path) -> bool:
    try:
        return stat.S_ISDIR(folder.stat().st_mode) and folder.stat().st_dev != folder.parent.stat().st_dev
    except OSError:
        return False
