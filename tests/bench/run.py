"""`make bench`: every bench, one after another, and one table with each goal, our figure, the peer's and the ratio.

    python tests/bench/run.py [NAME ...] [--table]

Each bench is a script of its own and ends within its limit; one that cannot run says why. Results lie in .cache/bench.
The exit status is 1 when a bench broke or a goal that must be reached was missed: 5 to 10 and those without a number.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import harness
from harness import RESULTS, Row

HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Bench:
    """A script ``bench_NAME.py``; ``title`` heads its rows; ``seconds`` is its limit."""

    name: str
    title: str
    seconds: int = 180


BENCHES: Final = (
    Bench("throughput", "goals 1 to 4: durable events a second, and CPU an event, beside rsyslog in one run"),
    Bench("kill9", "goal 5: nothing lost and nothing twice under kill -9"),
    Bench("memory", "goal 6: memory"),
    Bench("idle", "goal 7: idle CPU with the model week's load"),
    Bench("exec", "goal 8: what the execution guard adds to a start"),
    Bench("spool", "goal 9: an agent takes 10,000 events a second into its spool"),
    Bench("incident", "goal 10: from event to incident on the page"),
    Bench("console", "the console's pages with 50,000 alerts"),
    Bench("drain", "400 devices come back with 500 events each"),
    Bench("streams", "2,000 idle streams in one process"),
    Bench("publish", "a publication on its way to 500 connected devices"),
    Bench("start", "cold start of the agent"),
    Bench("stages", "what each stage costs, at full frames and at frames of one"),
    Bench("detection", "detection with 50 rules"),
    Bench("peers", "the peer by itself, and slowed on purpose"),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(bench.name for bench in BENCHES))
    parser.add_argument("--table", action="store_true", help="print the last results and measure nothing")
    arguments = parser.parse_args()
    chosen = [bench for bench in BENCHES if not arguments.names or bench.name in arguments.names]
    if unknown := set(arguments.names) - {bench.name for bench in BENCHES}:
        parser.error(f"no bench is named {', '.join(sorted(unknown))}")
    broken = []
    if not arguments.table:
        print(
            f"  bench     {len(chosen)} benches on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        for bench in chosen:
            if why := run(bench):
                broken.append(bench.name)
                print(f"  bench     {bench.name} broke: {why}", flush=True)
    missed = show(chosen)
    return 1 if broken or missed else 0


def run(bench: Bench) -> str:
    """Run one script within its limit; the reason if it broke. A result of an earlier run is removed first."""
    script = HERE / f"bench_{bench.name}.py"
    result = RESULTS / f"{bench.name}.json"
    result.unlink(missing_ok=True)
    if not script.exists():
        return f"there is no {script.relative_to(harness.ROOT)}"
    log = RESULTS / f"{bench.name}.log"
    RESULTS.mkdir(parents=True, exist_ok=True)
    print(f"  bench     {bench.name} (up to {bench.seconds} s): {bench.title}", flush=True)
    began = time.monotonic()
    with log.open("wb") as said:
        child = harness.start([sys.executable, script], said=said, cwd=harness.ROOT)
        try:
            status = child.wait(bench.seconds)
        except subprocess.TimeoutExpired:
            harness.end(child)
            return f"it did not end within {bench.seconds} s; see {log.relative_to(harness.ROOT)}"
    print(f"            {time.monotonic() - began:.0f} s", flush=True)
    if status or not result.exists():
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        return f"exit {status}: {' '.join(last)}; see {log.relative_to(harness.ROOT)}"
    return ""


def show(benches: list[Bench]) -> int:
    """Print the table; returns how many of the goals that must be reached were missed."""
    print(f"\n{harness.HEADING}\n{'-' * len(harness.HEADING)}")
    missed = 0
    for bench in benches:
        rows = read(bench)
        print(f"\n{bench.title}")
        print(harness.table(rows) if rows else "     no result")
        missed += sum(row.reached is False and row.goal not in {"1", "2", "3", "4"} for row in rows)
    reached = [row for bench in benches for row in read(bench) if row.reached]
    all_missed = [row for bench in benches for row in read(bench) if row.reached is False]
    print(f"\n{len(reached)} goals reached, {len(all_missed)} missed", end="")
    print("" if not all_missed else ": " + "; ".join(row.what for row in all_missed))
    return missed


def read(bench: Bench) -> list[Row]:
    """The rows of the last run; rows of a script that writes other keys as well are taken by the keys known here."""
    try:
        found = json.loads((RESULTS / f"{bench.name}.json").read_text())
    except FileNotFoundError:
        return []
    known = set(Row.__dataclass_fields__)
    return [Row(**{key: value for key, value in row.items() if key in known}) for row in found["rows"]]


if __name__ == "__main__":
    sys.exit(main())
