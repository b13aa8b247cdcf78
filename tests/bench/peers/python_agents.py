"""What other agents in Python weigh: GRR's client by its imports, salt-minion running without a master.

Each is installed once, every file checked by hash, into its own environment under ``.cache/bench/peers``; nothing of
them is used for anything but this comparison.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import harness
import psutil

HERE: Final = Path(__file__).parent
CACHE: Final = harness.RESULTS / "peers"
_INSTALLS_WITHIN: Final = 120  # seconds
_SYSTEM_PYTHON: Final = shutil.which("python3.11", path="/usr/bin") or sys.executable
_IMPORT: Final = (
    "import warnings; warnings.simplefilter('ignore');"
    "import grr_response_client.client_startup, grr_response_client.comms, grr_response_client.client_plugins;"
    "print('ready', flush=True); input()"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """MiB; ``processes`` that the sum is over."""

    rss: float
    pss: float
    processes: int


def grr() -> Weight:
    """GRR's client: what its imports alone take. Raises CannotMeasure."""
    python = _environment("grr")
    child = subprocess.Popen(
        [python, "-c", _IMPORT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert child.stdout is not None
        if b"ready" not in child.stdout.readline():
            raise harness.CannotMeasure("GRR's client cannot be imported here")
        return _weigh([child.pid])
    finally:
        child.kill()
        child.communicate()


def salt(folder: Path, *, settle_seconds: float = 12.0) -> Weight:
    """salt-minion with ``master_type: disable``, both of its processes. Raises CannotMeasure."""
    program = _environment("salt").with_name("salt-minion")
    place = folder / "salt"
    for name in ("conf", "pki", "run"):
        (place / name).mkdir(parents=True)
    settings = {"root_dir": place, "pki_dir": place / "pki", "log_file": place / "minion.log", "id": "bench"}
    settings |= {"file_client": "local", "master_type": "disable", "user": "root"}
    text = "".join(f"{name}: {value}\n" for name, value in settings.items())
    (place / "conf" / "minion").write_text(text)
    child = harness.start([program, "-c", place / "conf", "-l", "error"], said=place / "said")
    try:
        time.sleep(settle_seconds)
        if child.poll() is not None:
            raise harness.CannotMeasure(f"salt-minion ended: {(place / 'said').read_text()[-300:]}")
        return _weigh([child.pid, *(p.pid for p in psutil.Process(child.pid).children(recursive=True))])
    finally:
        family = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
        harness.end(child)
        for left in family:
            if left.is_running():
                left.kill()


def _weigh(pids: list[int]) -> Weight:
    found = [harness.memory_mib(pid) for pid in pids]
    return Weight(
        rss=sum(each["rss"] for each in found), pss=sum(each["pss"] for each in found), processes=len(pids)
    )


def _environment(name: str) -> Path:
    """The python of the peer's environment, made if there is none."""
    place = CACHE / name
    python = place / "bin" / "python"
    done = place / ".done"
    wanted = (HERE / f"{name}.txt").read_text()
    if done.exists() and done.read_text() == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    uv = Path(sys.executable).with_name("uv")
    steps: list[list[str | Path]] = [
        [uv, "venv", "--quiet", "--python", _SYSTEM_PYTHON, place],
        [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", HERE / f"{name}.txt"],
    ]
    for step in steps:
        try:
            made = subprocess.run(step, capture_output=True, text=True, timeout=_INSTALLS_WITHIN, check=False)
        except (subprocess.TimeoutExpired, OSError) as reason:
            raise harness.CannotMeasure(f"{name} cannot be installed for comparison: {reason}") from reason
        if made.returncode:
            last = made.stderr.strip().splitlines()[-1:]
            raise harness.CannotMeasure(f"{name} cannot be installed for comparison: {' '.join(last)}")
    done.write_text(wanted)
    return python
