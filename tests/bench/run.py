"""`make bench`: every bench, one after another, and one table with each goal, our figure, the peer's and the ratio.

    python tests/bench/run.py [NAME ...] [--short] [--table]

Each bench is a script of its own and ends within its limit; one that cannot run says why. Results lie in .cache/bench.
The table comes at the end whatever broke, and so does the name of what broke. The exit status is 1 when a bench broke
or a goal that must be reached was missed: 5 to 10 and those without a number. With --short each bench does little of
what it does, to see that all of them run: those figures judge nothing.
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
AIMS: Final = frozenset({"1", "2", "3", "4"})
"""Goals that do not make the run fail when they are missed."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A script ``bench_NAME.py``; ``title`` heads its rows; ``seconds``: its limit; ``short``: for --short."""

    name: str
    title: str
    short: str = ""
    seconds: int = 240


BENCHES: Final = (
    Bench(
        "throughput",
        "goals 1 to 4: durable events a second, and CPU an event, beside rsyslog in one run",
        "--rounds 1 --events 20000 --ones 1000",
    ),
    Bench(
        "kill9",
        "goal 5: nothing lost and nothing twice under kill -9",
        "--collector-kills 2 --agent-kills 2 --peer-kills 1 --peer-events 2000",
    ),
    Bench("memory", "goal 6: memory", "--settle 5"),
    Bench("idle", "goal 7: idle CPU with the model week's load", "--seconds 20 --settle 5", 420),
    Bench("exec", "goal 8: what the execution guard adds to a start", "--rounds 4"),
    Bench("spool", "goal 9: an agent takes 10,000 events a second into its spool", "--seconds 3"),
    Bench("incident", "goal 10: from event to incident on the page", "--devices 50 --events 5"),
    Bench("console", "the console's pages with 50,000 alerts", "--alerts 5000 --rounds 5"),
    Bench("drain", "400 devices come back with 500 events each", "--devices 40"),
    Bench("streams", "2,000 idle streams in one process", "--streams 200"),
    Bench("publish", "a publication on its way to 500 connected devices", "--devices 50 --rounds 1"),
    Bench("start", "cold start of the agent", "--rounds 2"),
    Bench("media", "a refused stick is gone within 2 s of the plug, in the virtual laptop", "--rounds 1"),
    Bench("stages", "what each stage costs, at full frames and at frames of one"),
    Bench("detection", "detection with 50 rules", "--events 20000"),
    Bench("plan", "a plan tried against a million events, and the check of a pack", "--events 50000"),
    Bench("decision", "a decision among 2,000 rules, in dictionary look-ups"),
    Bench("peers", "the peer by itself, and slowed on purpose", "--events 10000 --rounds 1"),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(bench.name for bench in BENCHES))
    parser.add_argument("--short", action="store_true", help="little of each, to see that they run")
    parser.add_argument("--table", action="store_true", help="print the last results and measure nothing")
    arguments = parser.parse_args()
    chosen = [bench for bench in BENCHES if not arguments.names or bench.name in arguments.names]
    if unknown := set(arguments.names) - {bench.name for bench in BENCHES}:
        parser.error(f"no bench is named {', '.join(sorted(unknown))}")
    broken: dict[str, str] = {}
    if not arguments.table:
        print(
            f"  bench     {len(chosen)} benches on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        began = time.monotonic()
        try:
            for bench in chosen:
                if why := run(bench, short=arguments.short):
                    broken[bench.name] = why
                    print(f"  bench     {bench.name} broke: {why}", flush=True)
        except KeyboardInterrupt:
            broken["the run"] = (
                "interrupted: what is below stands from an earlier run where this one did not come"
            )
        print(f"  bench     {(time.monotonic() - began) / 60:.0f} minutes", flush=True)
    missed = show(chosen)
    for name, why in broken.items():
        print(f"broken: {name}: {why}")
    if arguments.short and not arguments.table:
        print("a short run: none of these figures is a measurement")
        missed = 0
    return 1 if broken or missed else 0


def run(bench: Bench, *, short: bool) -> str:
    """Run one script within its limit; the reason if it broke. A result of an earlier run is removed first."""
    script = HERE / f"bench_{bench.name}.py"
    result, log = RESULTS / f"{bench.name}.json", RESULTS / f"{bench.name}.log"
    print(f"  bench     {bench.name} (up to {bench.seconds} s): {bench.title}", flush=True)
    began = time.monotonic()
    try:
        RESULTS.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        with log.open("wb") as said:
            arguments = bench.short.split() if short else []
            child = harness.start([sys.executable, script, *arguments], said=said, cwd=harness.ROOT)
            try:
                status = child.wait(bench.seconds)
            except subprocess.TimeoutExpired:
                return f"it did not end within {bench.seconds} s; see {log.relative_to(harness.ROOT)}"
            finally:
                harness.end(child, within=30)
    except OSError as error:
        return f"it could not be started: {error}"
    print(f"            {time.monotonic() - began:.0f} s", flush=True)
    if status or not result.exists():
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        return f"exit {status}: {' '.join(last)}; see {log.relative_to(harness.ROOT)}"
    return ""


def show(benches: list[Bench]) -> int:
    """Print the table; returns how many of the goals that must be reached were missed."""
    print(f"\n{harness.HEADING}\n{'-' * len(harness.HEADING)}")
    found: list[Row] = []
    for bench in benches:
        rows = read(bench)
        print(f"\n{bench.title}")
        print(harness.table(rows) if rows else "     no result")
        found += rows
    reached = [row for row in found if row.reached]
    missed = [row for row in found if row.reached is False]
    print(f"\n{len(reached)} goals reached, {len(missed)} missed", end="")
    print("" if not missed else ": " + "; ".join(row.what for row in missed))
    return sum(row.goal not in AIMS for row in missed)


def read(bench: Bench) -> list[Row]:
    """The rows of the last run; rows of a script that writes other keys as well are taken by the keys known here."""
    try:
        found = json.loads((RESULTS / f"{bench.name}.json").read_text())
        known = set(Row.__dataclass_fields__)
        return [Row(**{key: value for key, value in row.items() if key in known}) for row in found["rows"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [
            Row(goal="", what=bench.name, note=f"its result cannot be read: {type(error).__name__}: {error}")
        ]


if __name__ == "__main__":
    sys.exit(main())
