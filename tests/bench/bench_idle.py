"""Goal 7: what the agent takes of the processor while a school day goes on as the model week says.

    python tests/bench/bench_idle.py [--seconds 90] [--starts-a-minute 6]

The agent is connected, as root, deciding on programs on its own file system and hearing of every process that starts on
the machine. A person's programs are started at the given rate. All of the agent's processes count, also those that
come and go: they are in a control group. Those are checks and what a start needs; a costly check runs once, 90 s after
the start, and then every six hours, so that their share of the processor is what they took since the start divided by
six hours. What is measured begins when they are over. The agent hears of every process on
the machine, whoever starts it: where more are started than on a laptop in use, the goal's figure is fitted to its rate.
The plain figure stands beside it.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import agent_stack
import harness
import stack
from agent_stack import Agent
from harness import Accounts, Report, Row

from support.fleet import school_week

PERCENT = 0.15
SLICE_SECONDS = 6.0
BUSY = 1.0
"""Processes a second above which the machine is no laptop in use, and the figure is fitted."""
LASTING = {"service", "exec responder"}
CHECKS_EVERY = 6 * 3_600
"""Seconds; of the costly posture check in the packs that are shipped."""


def measure(report: Report, arguments: argparse.Namespace) -> None:
    slices: list[Slice] = []
    with (
        stack.running("idle") as collector,
        harness.accounted("idle") as account,
        agent_stack.prepared(collector, mount=True) as agent,
    ):
        agent.start()
        settle(agent, account, arguments.settle)
        before = account.seconds()
        at_start = max(0.0, before - sum(harness.cpu_seconds_exact(pid) for pid in lasting_of(agent)))
        began = time.monotonic()
        while time.monotonic() - began < arguments.seconds:
            slices.append(one_slice(agent, arguments.starts_a_minute))
        seconds, total = time.monotonic() - began, account.seconds() - before
        stored = collector.metrics().get("schoolkeeper_events_total", 0.0)
    lasting = sum(piece.lasting for piece in slices)
    still, each = fitted(slices)
    rate = sum(piece.processes for piece in slices) / seconds
    fit = rate > BUSY
    checks = (at_start + total - lasting) / CHECKS_EVERY
    percent = ((still + each * arguments.processes_a_second if fit else lasting / seconds) + checks) * 100
    model_rate = school_week.load().events_per_second
    report.add(
        Row(
            goal="7",
            what="agent's CPU while a person works, of one core",
            ours=f"{percent:.3f} %",
            target=f"<= {PERCENT} %",
            reached=percent <= PERCENT,
            note=(
                f"service and responder, fitted over {len(slices)} slices at {arguments.processes_a_second} processes "
                f"started a second: {still * 100:.3f} % still, {each * 1e6:.0f} us a process"
                if fit
                else f"service and responder, {rate:.1f} processes started a second"
            )
            + f"; checks every six hours {checks * 100:.3f} %",
        )
    )
    note = (
        f"with the {rate:.1f} processes a second of everybody on this machine, and with checks that came and went "
        f"({(total - lasting) / seconds * 100:.2f} %); {seconds:.0f} s, {stored:.0f} events stored since the start "
        f"(the model week has {model_rate * seconds:.1f})"
    )
    report.add(Row(goal="", what="the same as it was", ours=f"{total / seconds * 100:.3f} %", note=note))
    report.detail = {"total": total, "lasting": lasting, "slices": [str(piece) for piece in slices]}


def settle(agent: Agent, account: Accounts, seconds: float) -> None:
    """Wait, and take in what starts meanwhile: the exec responder comes up after the agent says that it is ready, and a
    process that is started while its parent is being moved stays outside. Then the control group counted less than the
    processes' own accounts (0.144 % beside 0.18 %).
    """
    until, inside = time.monotonic() + seconds, set[int]()
    while time.monotonic() < until:
        for pid in set(agent.family()) - inside:
            try:
                account.add(pid)
            except OSError:
                continue  # it ended meanwhile
            inside.add(pid)
        time.sleep(0.5)


@dataclass(frozen=True, slots=True)
class Slice:
    """CPU seconds of the lasting processes, and what was started on the machine meanwhile."""

    seconds: float
    lasting: float
    processes: int


def lasting_of(agent: Agent) -> list[int]:
    return [pid for pid, what in agent.family().items() if what in LASTING]


def one_slice(agent: Agent, starts_a_minute: float) -> Slice:
    family = lasting_of(agent)
    before, forks = {pid: harness.cpu_seconds_exact(pid) for pid in family}, processes_started()
    began = time.monotonic()
    use(agent, SLICE_SECONDS, starts_a_minute)
    seconds = time.monotonic() - began
    lasting = sum(harness.cpu_seconds_exact(pid) - before[pid] for pid in family)
    return Slice(seconds, lasting, processes_started() - forks)


def fitted(slices: list[Slice]) -> tuple[float, float]:
    """(share of a core with nothing started, CPU seconds for each process started): least squares.

    Where the machine is so restless that the line says nothing (a share or a cost below 0), the quietest third of the
    slices counts as it is: more than the share of a laptop, never less.
    """
    xs = [piece.processes / piece.seconds for piece in slices]
    ys = [piece.lasting / piece.seconds for piece in slices]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    each = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0
    still = mean_y - each * mean_x
    if still > 0 and each >= 0:
        return still, each
    quiet = sorted(slices, key=lambda piece: piece.processes / piece.seconds)[: max(1, len(slices) // 3)]
    return sum(piece.lasting for piece in quiet) / sum(piece.seconds for piece in quiet), 0.0


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
    parser.add_argument("--settle", type=float, default=120.0)
    parser.add_argument("--starts-a-minute", type=float, default=6.0)
    parser.add_argument("--processes-a-second", type=float, default=0.5, help="of a laptop in use")
    harness.main("idle", measure, parser)
