"""From a publication to 500 connected devices, measured at each stream; and to one device that verifies and applies it.

    python tests/bench/bench_publish.py [--devices 500] [--rounds 3]

The clock starts when the new timestamp lies on the collector's disk. The 500 hear of it and do not fetch; the one that
follows fetches, verifies from the root in a process of its own, and has the policy in force.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import fleets
import harness
import stack
from harness import Report, Row

from support.fleet.following import Follower  # isort: skip - harness puts tests/ on the path

FAN_OUT_SECONDS = 5.0
APPLY_SECONDS = 1.0
_WAIT_SECONDS = 8.0
_OFFICER = str(Path(sys.executable).with_name("schoolkeeper-officer"))


def publish(collector: stack.Collector) -> float:
    """Stages, has it signed by both duties, publishes; the moment (monotonic) at which the new timestamp was there."""
    collector.command("stage", "--group", stack.GROUP)
    trust = collector.folder / "state" / "trust"
    for name in ("technician", "dsl"):
        key = collector.folder / "state" / "offline" / name / f"{name}.key"
        command = [_OFFICER, "sign", trust / "staged", "--key", key, "--yes"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=collector.environment()
        )
        if done.returncode:
            raise harness.CannotMeasure(f"an officer could not sign: {done.stdout}{done.stderr}")
    stamp = trust / "metadata" / "timestamp.json"
    before, seen = stamp.stat().st_mtime_ns, [0.0]

    def watch() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if stamp.stat().st_mtime_ns != before:
                seen[0] = time.monotonic()
                return
            time.sleep(0.002)

    watching = threading.Thread(target=watch)
    watching.start()
    collector.command("publish")
    watching.join()
    if not seen[0]:
        raise harness.CannotMeasure("nothing was published within a minute")
    return seen[0]


async def follow(collector: stack.Collector, folder: Path, rounds: int) -> list[float]:
    """Seconds in which one device fetched, verified and had in force, once for each publication."""
    follower = await Follower.enrolled(
        collector.enrol_address, collector.token(1), folder / "follower", 100_000
    )
    await follower.start()
    try:
        for number in range(rounds):
            await asyncio.to_thread(publish, collector)
            until = time.monotonic() + 30
            while len(follower.applied) <= number and time.monotonic() < until:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return follower.applied
    finally:
        await follower.stop()


def measure(report: Report, arguments: argparse.Namespace) -> None:
    with stack.running("publish") as collector, fleets.fleets(2) as found:
        fleets.enrol(found, collector, arguments.devices)
        fleets.all_of(found, "connect")
        latencies: list[float] = []
        for _ in range(arguments.rounds):
            published = publish(collector)
            time.sleep(_WAIT_SECONDS)
            for answer in fleets.all_of(found, "offers", after=published):
                missing = answer["devices"] - len(answer["heard"])
                latencies += [at - published for at in answer["heard"]] + [_WAIT_SECONDS] * missing
        latencies.sort()
        p95 = latencies[int(len(latencies) * 0.95) - 1]
        report.add(
            Row(
                goal="", what=f"a publication reaches {arguments.devices} connected devices (p95)",
                ours=f"{p95:.2f} s", target=f"< {FAN_OUT_SECONDS:.0f} s", reached=p95 < FAN_OUT_SECONDS,
                note=(
                    f"{arguments.rounds} publications; median {statistics.median(latencies):.2f} s, "
                    f"last {latencies[-1]:.2f} s; load {os.getloadavg()[0]:.1f}"
                ),
            )
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            applied = asyncio.run(follow(collector, Path(folder), arguments.rounds))
        if len(applied) < arguments.rounds:
            raise harness.CannotMeasure("the device that follows did not apply every publication")
        took = statistics.median(applied)
        report.add(
            Row(
                goal="", what="one device fetches, verifies and applies it", ours=f"{took:.2f} s",
                target=f"< {APPLY_SECONDS:.0f} s", reached=took < APPLY_SECONDS,
                note=f"median of {len(applied)}, slowest {max(applied):.2f} s; load {os.getloadavg()[0]:.1f}",
            )
        )  # fmt: skip
        report.detail = {"latencies": latencies[:: max(1, len(latencies) // 500)], "applied": applied}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    harness.main("publish", measure, parser)
