"""Cold start of the agent: from the start of its process until it says that it is ready.

    python tests/bench/bench_start.py [--rounds 5]

Ready means: policy read and checked, sensors and enforcers running. The machine's page cache is warm.
"""

from __future__ import annotations

import argparse
import time

import agent_stack
import harness
import stack
from harness import Report, Row
from stack import Collector

WITHIN = 1.5


def measure(report: Report, arguments: argparse.Namespace) -> None:
    ready, heard, cpu = [], [], []
    with (
        stack.running("start") as collector,
        agent_stack.prepared(collector, mount=arguments.mount) as agent,
    ):
        for _ in range(arguments.rounds):
            before = stored(collector)
            began = time.monotonic()
            ready.append(agent.start())
            cpu.append(harness.cpu_seconds(agent.pid))
            while stored(collector) <= before and time.monotonic() - began < 20:
                time.sleep(0.02)
            heard.append(time.monotonic() - began)
            agent.stop()
    median = harness.median(ready)
    report.add(
        Row(
            goal="",
            what="cold start of the agent, until sensors and enforcers run",
            ours=f"{median:.2f} s",
            target=f"< {WITHIN} s",
            reached=median < WITHIN,
            note=(
                f"{len(ready)} starts, longest {max(ready):.2f} s, CPU {harness.median(cpu):.2f} s; "
                f"first event stored by the collector after {harness.median(heard):.2f} s; warm page cache"
            ),
        )
    )
    report.detail = {"ready": ready, "heard": heard, "cpu": cpu}


def stored(collector: Collector) -> float:
    return collector.metrics().get("schoolkeeper_events_total", 0.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-mount", dest="mount", action="store_false", help="without deciding on programs")
    harness.main("start", measure, parser)
