"""2,000 idle streams in one collector: what each costs in memory, and what they cost together while nothing happens.

    python tests/bench/bench_streams.py [--streams 2000]

The baseline is the collector after it enrolled them all and welcomed one device, so that what is loaded once is.
"""

from __future__ import annotations

import argparse
import resource
import time

import fleets
import harness
import stack
from harness import Report, Row

KB_EACH = 100.0
QUIET_SECONDS = 12.0


def measure(report: Report, arguments: argparse.Namespace) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < arguments.streams * 2 + 500:
        raise harness.CannotMeasure(
            f"this machine allows {hard} open files, {arguments.streams * 2 + 500} are needed"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with stack.running("streams") as collector, fleets.fleets(3) as found:
        fleets.enrol([found[0]], collector, 1)
        found[0].ask("connect")
        began = time.monotonic()
        fleets.enrol(found[1:], collector, arguments.streams)
        enrolled = time.monotonic() - began
        time.sleep(2)
        before = harness.memory_mib(collector.pid)
        cpu = harness.cpu_seconds(collector.pid)
        began = time.monotonic()
        fleets.all_of(found[1:], "connect")
        took = time.monotonic() - began
        each_ms = (harness.cpu_seconds(collector.pid) - cpu) / arguments.streams * 1000
        time.sleep(3)
        after = harness.memory_mib(collector.pid)
        cpu = harness.cpu_seconds(collector.pid)
        time.sleep(QUIET_SECONDS)
        idle = (harness.cpu_seconds(collector.pid) - cpu) / QUIET_SECONDS * 100
        each = (after["rss"] - before["rss"]) * 1024 / arguments.streams * 1.024
        report.add(
            Row(
                goal="", what=f"memory of one of {arguments.streams:,} idle streams", ours=f"{each:.0f} kB",
                target=f"< {KB_EACH:.0f} kB", reached=each < KB_EACH,
                note=(
                    f"collector {before['rss']:.0f} -> {after['rss']:.0f} MiB; connecting costs {each_ms:.1f} ms each; "
                    f"all open in {took:.0f} s; idle {idle:.1f} % of a core (heartbeats due each minute); "
                    f"enrolled in {enrolled:.0f} s"
                ),
            )
        )  # fmt: skip
        report.detail = {"before": before, "after": after, "connect_s": took, "idle_percent": idle}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=2_000)
    harness.main("streams", measure, parser)
