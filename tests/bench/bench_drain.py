"""Monday morning: 400 devices come back with 500 buffered events each, while others go on reporting.

    python tests/bench/bench_drain.py [--devices 400] [--events 500] [--per-frame 1]

The devices wrote at the model rate, so each frame holds one event (--per-frame 1): the dearest case. They connect all
at once. Beside them 100 devices are online and play the model week; their time from cut to acknowledgement is the live
figure.
"""

from __future__ import annotations

import argparse
from typing import Any

import fleets
import harness
import stack
from fleets import FleetProcess
from harness import Report, Row

WITHIN, LIVE_P95 = 60.0, 2.0
LIVE_DEVICES, LIVE_SPEED, SLICE = 100, 60.0, 5.0


def measure(report: Report, arguments: argparse.Namespace) -> None:
    with stack.running("drain") as collector, fleets.fleets(3) as found:
        live, returning = found[0], found[1:]
        fleets.enrol(returning, collector, arguments.devices)
        fleets.enrol([live], collector, LIVE_DEVICES, verify_every=20)
        fleets.all_of(returning, "fill", events=arguments.events, per_frame=arguments.per_frame)
        live.ask("connect")
        quiet = live.ask("play", speed=LIVE_SPEED, seconds=SLICE)["latencies"]
        cpu = harness.cpu_seconds(collector.pid)
        for fleet in returning:
            fleet.order("go", within=110)
        latencies, answers = _live_until_done(live, returning)
        cpu = harness.cpu_seconds(collector.pid) - cpu
        events = sum(answer["acknowledged"] for answer in answers)
        wanted = arguments.devices * arguments.events
        seconds = max(answer["ended"] for answer in answers) - min(answer["began"] for answer in answers)
        done = all(answer["drained"] for answer in answers) and events == wanted
        pushed = sum(answer["pushbacks"] for answer in answers)
        note = (
            f"{events:,} of {wanted:,} events in frames of {arguments.per_frame}: {events / seconds:,.0f}/s, "
            f"{cpu / max(events, 1) * 1e6:.0f} us of the collector an event, {pushed} pushbacks"
        )
        what = f"{arguments.devices} devices x {arguments.events} events drained"
        row = Row(
            goal="", what=what, ours=f"{seconds:.1f} s", target=f"< {WITHIN:.0f} s",
            reached=done and seconds < WITHIN, note=note,
        )  # fmt: skip
        report.add(row)
        if latencies:
            p95 = harness.percentile(latencies, 0.95)
            before = harness.percentile(quiet, 0.95) if quiet else float("nan")
            note = (
                f"{len(latencies)} batches of {LIVE_DEVICES} other devices; p95 before {before * 1000:.0f} ms"
            )
            row = Row(
                goal="", what="live events meanwhile, cut to acknowledgement, p95", ours=f"{p95 * 1000:.0f} ms",
                target=f"< {LIVE_P95:.0f} s", reached=p95 < LIVE_P95, note=note,
            )  # fmt: skip
            report.add(row)
        report.detail = {"answers": [{**a, "latencies": len(a["latencies"])} for a in answers], "cpu": cpu}
        report.detail["live"] = [round(value, 4) for value in latencies]


def _live_until_done(
    live: FleetProcess, returning: list[FleetProcess]
) -> tuple[list[float], list[dict[str, Any]]]:
    """Slices of the model week until the others have drained."""
    latencies: list[float] = []
    number = 2
    while not all(fleet.has_answered() for fleet in returning):
        latencies += live.ask("play", speed=LIVE_SPEED, seconds=SLICE, seed=number)["latencies"]
        number += 1
    return latencies, [fleet.answer() for fleet in returning]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=400)
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--per-frame", type=int, default=1)
    harness.main("drain", measure, parser)
