"""Goal 7: what the agent takes of the processor while a school day goes on as the model week says.

    python tests/bench/bench_idle.py [--seconds 90] [--starts-a-minute 6]

The agent is connected, as root, deciding on programs on its own file system and hearing of every process that starts on
the machine. A person's programs are started at the given rate. All of the agent's processes count, also those that
come and go: they are in a control group.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import time
from pathlib import Path

import agent_stack
import harness
import stack
from agent_stack import Agent
from harness import Report, Row

from support.fleet import school_week

PERCENT = 0.15
LASTING = {"service", "exec responder"}


def measure(report: Report, arguments: argparse.Namespace) -> None:
    with (
        stack.running("idle") as collector,
        harness.accounted("idle") as account,
        agent_stack.prepared(collector, mount=True) as agent,
    ):
        agent.start()
        account.add(agent.pid)
        for pid in agent.family():
            account.add(pid)
        time.sleep(arguments.settle)
        family = {pid: what for pid, what in agent.family().items() if what in LASTING}
        before, forks = {pid: harness.cpu_seconds_exact(pid) for pid in family}, processes_started()
        total = account.seconds()
        began = time.monotonic()
        started = use(agent, arguments.seconds, arguments.starts_a_minute)
        seconds, total = time.monotonic() - began, account.seconds() - total
        spent: dict[str, float] = {}
        for pid, what in family.items():
            spent[what] = spent.get(what, 0.0) + harness.cpu_seconds_exact(pid) - before[pid]
        forks = processes_started() - forks
        stored = collector.metrics().get("schoolkeeper_events_total", 0.0)
    percent = total / seconds * 100
    spent["checks that came and went"] = max(0.0, total - sum(spent.values()))
    parts = ", ".join(f"{what} {value / seconds * 100:.3f} %" for what, value in spent.items())
    model_rate = school_week.load().events_per_second
    report.add(
        Row(
            goal="7",
            what="agent's CPU while a person works, of one core",
            ours=f"{percent:.3f} %",
            target=f"<= {PERCENT} %",
            reached=percent <= PERCENT,
            note=(
                f"{parts}; {seconds:.0f} s, {started} programs started by the person, {forks} processes on the whole "
                f"machine, {stored:.0f} events stored since the start (the model week has {model_rate * seconds:.1f})"
            ),
        )
    )
    report.detail = {"total": total, "spent": spent, "seconds": seconds, "machine_processes": forks}


def use(agent: Agent, seconds: float, starts_a_minute: float) -> int:
    """A person's programs, at random moments."""
    assert agent.mount is not None
    program = shutil.copy("/bin/true", agent.mount / "program")
    chance, started = random.Random(7), 0
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, chance.expovariate(starts_a_minute / 60)))
        if time.monotonic() < until:
            subprocess.run([program], check=False)
            started += 1
    return started


def processes_started() -> int:
    """Processes and threads that the machine started since boot."""
    lines = Path("/proc/stat").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("processes ")).split()[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--settle", type=float, default=20.0)
    parser.add_argument("--starts-a-minute", type=float, default=6.0)
    harness.main("idle", measure, parser)
