"""A loop device, as a stick that nobody can pull out."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """``name`` is the kernel's, as loop0; ``image`` the file behind it."""

    name: str
    image: Path

    @property
    def disk(self) -> Path:
        return Path("/sys/block", self.name)


@contextlib.contextmanager
def loop_device(size: int = 32 << 20) -> Iterator[Loop]:
    """Skips without root or without loop devices."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes a loop device")
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(size)
        made = subprocess.run(
            ["losetup", "--find", "--show", file.name], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            pytest.skip(f"no loop device: {made.stderr.strip()}")
        device = made.stdout.strip()
        try:
            yield Loop(name=device.removeprefix("/dev/"), image=Path(file.name))
        finally:
            # The flag outlives the file behind the device: whoever gets this loop device next could not write.
            subprocess.run(["blockdev", "--setrw", device], check=False)
            subprocess.run(["losetup", "--detach", device], check=False)
