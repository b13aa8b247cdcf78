"""Running the lab's own tools, with an error that shows what they said."""

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.lab.cache import LabError

_PR_SET_PDEATHSIG = 1
_SAID = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command in a laptop left behind: its exit status, and standard output and error together."""

    rc: int
    out: str

    def check(self) -> str:
        """The output of a command that must have succeeded.

        Raises:
            LabError: it did not; the message carries its output.
        """
        if self.rc != 0:
            raise LabError(f"the command in the laptop ended with {self.rc}: {self.out[-_SAID:]}")
        return self.out


def run_tool(arguments: Sequence[str | Path], *, timeout: float = 60, cwd: Path | None = None) -> str:
    """Standard output of a tool on this machine.

    Raises:
        LabError: it is missing, did not end within ``timeout`` seconds, or failed.
    """
    name = str(arguments[0])
    try:
        done = subprocess.run(
            arguments,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise LabError(f"{name} is not installed; `make lab` installs it") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{name} did not end within {timeout:.0f} s") from None
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-_SAID:]
        raise LabError(f"{name} ended with {done.returncode}: {said}")
    return done.stdout


def missing_tools(names: Sequence[str]) -> list[str]:
    """Those of ``names`` that are not on PATH."""
    return [name for name in names if shutil.which(name) is None]


def die_with_parent(stop_signal: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """A ``preexec_fn``: the child gets ``stop_signal`` when the test run ends in any way, also by SIGKILL."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return arrange
