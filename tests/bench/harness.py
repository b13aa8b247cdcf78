"""What every bench shares: rows with a goal, a scratch folder, CPU and memory of a process, children that end.

A bench is a script: it measures, prints its rows and writes ``.cache/bench/NAME.json``, which ``run.py`` gathers.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / ".cache" / "bench"
sys.path.insert(0, str(ROOT / "tests"))  # `support.x`, as pytest has it

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG: Final = 1


class CannotMeasure(Exception):
    """The row has no figure on this machine; the message says why and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure beside its goal. ``reached`` is None for a figure without a goal, or one that was not measured."""

    goal: str
    """Number of the goal, or empty."""
    what: str
    ours: str = ""
    peer: str = ""
    ratio: float | None = None
    target: str = ""
    reached: bool | None = None
    note: str = ""


@dataclass(slots=True, kw_only=True)
class Report:
    """The rows of one bench, and the raw figures behind them."""

    name: str
    rows: list[Row] = field(default_factory=list)
    detail: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def add(self, row: Row) -> None:
        self.rows.append(row)

    def finish(self) -> int:
        """Write the JSON, print the rows; the exit status is 0 also where a goal was missed: the table says so."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        seconds = round(time.monotonic() - self.began, 1)
        answer = {
            "name": self.name,
            "at_unix": int(time.time()),
            "seconds": seconds,
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
            "rows": [asdict(row) for row in self.rows],
            "detail": self.detail,
        }
        (RESULTS / f"{self.name}.json").write_text(json.dumps(answer, indent=1, default=str) + "\n")
        print(table(self.rows))
        print(f"  {self.name}: {seconds} s; raw figures in .cache/bench/{self.name}.json", flush=True)
        return 0


def table(rows: Sequence[Row]) -> str:
    """The rows as text, one line each and a second for the note."""
    verdict = {True: "reached", False: "MISSED", None: "-"}
    lines = []
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f} x"
        first = f"{row.goal:>3}  {row.what:<58} {row.ours:>20} {row.peer:>22} {ratio:>9}  {row.target:<16} "
        lines.append((first + verdict[row.reached]).rstrip())
        if row.note:
            lines.append(f"     {row.note}")
    return "\n".join(lines)


HEADING: Final = f"{'':>3}  {'what':<58} {'ours':>20} {'peer':>22} {'ratio':>9}  {'goal':<16} "


def main(name: str, measure: Any, parser: argparse.ArgumentParser | None = None) -> None:
    """Run ``measure(report, arguments)``; a bench that cannot run reports a row that says why."""
    arguments = (parser or argparse.ArgumentParser()).parse_args()
    report = Report(name=name)
    # Out of time: what was mounted and started still ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        measure(report, arguments)
    except CannotMeasure as reason:
        report.add(Row(goal="", what=name, note=f"not measured: {reason}"))
    sys.exit(report.finish())


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder of this bench's own, on the disk that holds temporary files; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=f"sk-bench-{name}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start(
    command: Sequence[str | Path],
    *,
    said: Path | IO[bytes] | int = subprocess.DEVNULL,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """A child that ends when this process does; what it says goes to ``said``."""
    out = said.open("ab") if isinstance(said, Path) else said
    try:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent,
            **options,
        )
    finally:
        if isinstance(said, Path):
            out.close()  # type: ignore[union-attr]


def end(child: subprocess.Popen[bytes], *, within: float = 10.0) -> None:
    """Ask a child to stop, and after ``within`` seconds make it."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(within)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def cpu_seconds(*pids: int) -> float:
    """User and system time of these processes, their own threads only; to 10 ms."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def cpu_seconds_exact(pid: int) -> float:
    """Time on the processor of all living threads, to a nanosecond (scheduler's own account)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended between the listing and the reading
    return total / 1e9


@contextmanager
def accounted(name: str) -> Iterator[Accounts]:
    """A control group of the kernel's: what everything in it takes, children that ended included. Needs root."""
    for root, usage in (
        (Path("/sys/fs/cgroup/cpuacct"), "cpuacct.usage"),
        (Path("/sys/fs/cgroup"), "cpu.stat"),
    ):
        group = root / f"sk-bench-{name}-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / usage).exists():
            break
        group.rmdir()
    else:
        raise CannotMeasure(
            "no control group can be made here to account for processes that end (needs root)"
        )
    try:
        yield Accounts(group, usage)
    finally:
        for _ in range(50):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)  # a process of it is still ending


@dataclass(frozen=True, slots=True)
class Accounts:
    """CPU seconds of a control group."""

    group: Path
    usage: str

    def add(self, pid: int) -> None:
        (self.group / "cgroup.procs").write_text(str(pid))

    def seconds(self) -> float:
        text = (self.group / self.usage).read_text()
        if self.usage == "cpuacct.usage":
            return int(text) / 1e9
        return int(text.split("usage_usec ")[1].split()[0]) / 1e6


def memory_mib(pid: int) -> dict[str, float]:
    """Resident (Rss), proportional (Pss) and private memory of a process in MiB."""
    found = {"Rss": 0.0, "Pss": 0.0, "Private_Clean": 0.0, "Private_Dirty": 0.0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in found:
            found[name] = int(rest.split()[0]) / 1024
    return {
        "rss": found["Rss"],
        "pss": found["Pss"],
        "private": found["Private_Clean"] + found["Private_Dirty"],
    }


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], part: float) -> float:
    """Nearest-rank percentile; ``part`` between 0 and 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(part * len(ordered) + 0.5) - 1))]


def wait_for_port(port: int, child: subprocess.Popen[bytes], *, within: float = 20.0) -> None:
    """Raises CannotMeasure when the child ends or does not listen in time."""
    import socket

    deadline = time.monotonic() + within
    while time.monotonic() < deadline and child.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.3).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise CannotMeasure(f"{child.args} does not listen on port {port} (exit status {child.poll()})")


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
