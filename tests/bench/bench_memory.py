"""Goal 6: memory of the running agent, connected and deciding on programs, beside Python agents that do like work.

    python tests/bench/bench_memory.py [--settle 20] [--no-peers]

RSS counts shared pages in full, so the sum of PSS is printed, too. GRR's client is weighed by its imports alone,
salt-minion while it runs without a master (both of its processes).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

import agent_stack
import harness
import stack
from agent_stack import Agent
from harness import CannotMeasure, Report, Row
from peers import python_agents
from peers.python_agents import Weight

SERVICE, RESPONDER = 60.0, 16.0


def measure(report: Report, arguments: argparse.Namespace) -> None:
    with (
        stack.running("memory") as collector,
        agent_stack.prepared(collector, mount=True) as agent,
    ):
        agent.start()
        work(agent, arguments.settle)
        wait_for_checks(agent)
        found = {pid: (what, harness.memory_mib(pid)) for pid, what in agent.family().items()}
        collector_mib = harness.memory_mib(collector.pid)["rss"]
        helper = session_helper(agent)
    service = found[agent.pid][1]
    note = f"private {service['private']:.1f}, PSS {service['pss']:.1f} MiB; connected, {arguments.settle:.0f} s old"
    report.add(
        Row(
            goal="6", what="agent's service, RSS", ours=f"{service['rss']:.1f} MiB", target=f"<= {SERVICE:.0f} MiB",
            reached=service["rss"] <= SERVICE, note=note,
        )
    )  # fmt: skip
    responders = [memory for what, memory in found.values() if what == "exec responder"]
    heaviest = max((memory["rss"] for memory in responders), default=None)
    report.add(
        Row(
            goal="6", what="exec responder, RSS of its heaviest process", target=f"<= {RESPONDER:.0f} MiB",
            ours="-" if heaviest is None else f"{heaviest:.1f} MiB",
            reached=None if heaviest is None else heaviest <= RESPONDER,
            note=f"{len(responders)} processes, PSS {sum(memory['pss'] for memory in responders):.1f} MiB together",
        )
    )  # fmt: skip
    pss = sum(memory["pss"] for _, memory in found.values())
    others = ", ".join(what for what, _ in found.values() if what not in {"service", "exec responder"})
    report.add(Row(goal="6", what="everything of the agent, PSS", ours=f"{pss:.1f} MiB", note=others))
    report.add(Row(goal="6", what="helper in a person's session, RSS", ours=helper))
    report.add(Row(goal="", what="collector with one device, RSS", ours=f"{collector_mib:.0f} MiB"))
    report.detail = dict(found.values())
    if arguments.peers:
        compare(report, "GRR's Python client, by its imports", service["rss"], 0.8, python_agents.grr)
        with harness.scratch("salt") as folder:
            weigh = lambda: python_agents.salt(folder)  # noqa: E731
            compare(report, "salt-minion, both processes", service["rss"], 0.55, weigh)


def work(agent: Agent, seconds: float) -> None:
    """Start a program on the agent's file system now and then, so that what is loaded late is loaded."""
    assert agent.mount is not None
    program = shutil.copy("/bin/true", agent.mount / "program")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        subprocess.run([program], check=False)
        time.sleep(1)


def wait_for_checks(agent: Agent) -> None:
    """Programs that check the device's state (updates, for example) come and go; they are no part of its weight."""
    until = time.monotonic() + 30
    while time.monotonic() < until and set(agent.family().values()) - {"service", "exec responder"}:
        time.sleep(0.5)


def session_helper(agent: Agent) -> str:
    """The helper as a session starts it, with the agent's run folder; its RSS after a second."""
    from schoolkeeper_agent.session.lines import SOCKET_NAME

    socket, said = agent.folder / "run" / SOCKET_NAME, agent.folder / "helper.log"
    command = [sys.executable, "-m", "schoolkeeper_agent.session", "--socket", str(socket)]
    child = harness.start(command, said=said)
    try:
        time.sleep(1.5)
        if child.poll() is not None:
            return "not measured"
        return f"{harness.memory_mib(child.pid)['rss']:.1f} MiB"
    finally:
        harness.end(child)


def compare(report: Report, name: str, ours: float, target: float, weigh: Callable[[], Weight]) -> None:
    try:
        peer = weigh()
    except CannotMeasure as reason:
        report.add(Row(goal="6", what=f"service : {name}", note=f"not measured: {reason}"))
        return
    ratio = ours / peer.rss
    report.add(
        Row(
            goal="6", what=f"service : {name}", ours=f"{ours:.1f} MiB", peer=f"{peer.rss:.1f} MiB", ratio=ratio,
            target=f"<= {target} x", reached=ratio <= target, note=f"the peer's PSS is {peer.pss:.1f} MiB",
        )
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settle", type=float, default=20.0, help="seconds")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    harness.main("memory", measure, parser)
