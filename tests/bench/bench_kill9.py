"""Goal 5: nothing lost and nothing stored twice under kill -9 at random points; rsyslog under the same beside it.

    python tests/bench/bench_kill9.py [--collector-kills 12] [--agent-kills 8] [--peer-kills 8] [--seed N]

The collector is killed while devices send; the real agent is killed while it records. Afterwards every event that a
device settled, or that the agent's spool called durable, must be in the store exactly once, and `fsck` must find
it sound.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

import agent_stack
import fleets
import harness
import stack
from harness import CannotMeasure, Report, Row
from peers import kill9
from peers.rsyslog import Kind
from stack import Collector

FEEDING = [sys.executable, str(Path(__file__).with_name("feeding_agent.py")), "--config"]
DEVICES, RATE, AGENT_RATE = 10, 40.0, 200.0


def measure(report: Report, arguments: argparse.Namespace) -> None:
    chance = random.Random(arguments.seed)
    report.detail = {"seed": arguments.seed}
    with stack.running("kill9") as collector:
        with fleets.fleets(1) as found:
            sent = kill_collector(collector, found[0], arguments.collector_kills, chance)
        durable, kills = kill_agent(collector, arguments.agent_kills, chance)
        collector.stop()
        said = collector.fsck().strip().splitlines()[-1]
        ids, numbers, simulated = stored(collector)
    twice = sum(count - 1 for count in ids.values()) + sum(
        count - 1 for count in numbers.values() if count > 1
    )
    lost = max(0, sent - simulated) + len(durable - set(numbers))
    extra = simulated - sent
    total = arguments.collector_kills + kills
    report.add(
        Row(
            goal="5",
            what=f"{total} x kill -9 ({arguments.collector_kills} collector, {kills} agent): lost, stored twice",
            ours=f"{lost} lost, {twice} twice",
            target="0 lost, 0 twice",
            reached=lost == 0 and twice == 0 and extra == 0 and total >= 20 and "sound" in said,
            note=(
                f"{sent:,} events of {DEVICES} devices and {len(durable):,} that the agent's spool called durable; "
                f"fsck: {said}; seed {arguments.seed}"
            ),
        )
    )
    report.detail |= {"sent": sent, "simulated": simulated, "durable": len(durable), "stored": len(numbers)}
    if arguments.peer_kills:
        peers(report, arguments)


def kill_collector(
    collector: Collector, fleet: fleets.FleetProcess, kills: int, chance: random.Random
) -> int:
    """Kill and restart while events come; the number of events that the devices reported."""
    fleets.enrol([fleet], collector, DEVICES, verify_every=5)
    fleet.ask("connect")
    fleet.order("trickle", rate=RATE, until=str(collector.folder / "stop"))
    for _ in range(kills):
        time.sleep(chance.uniform(0.3, 1.2))
        collector.kill()
        collector.start()
    (collector.folder / "stop").touch()
    answer = fleet.answer()
    if not answer["drained"]:
        raise CannotMeasure(f"{answer['pending']} events were still unsettled 30 s after the last kill")
    return int(answer["reported"])


def kill_agent(collector: Collector, kills: int, chance: random.Random) -> tuple[set[int], int]:
    """Kill and restart the agent while it records; the numbers that its spool called durable, and the kills."""
    with agent_stack.prepared(collector) as agent:
        note = agent.folder / "durable"
        os.environ |= {"BENCH_FEED_RATE": str(AGENT_RATE), "BENCH_FEED_DURABLE": str(note)}
        agent.program = FEEDING
        for _ in range(kills):
            agent.start()
            time.sleep(chance.uniform(0.2, 1.6))
            agent.kill()
        os.environ["BENCH_FEED_RATE"] = "0.001"
        agent.start()
        deadline = (
            time.monotonic() + 30
        )  # on a busy machine the agent connects late: 10 s without news, not fewer
        before, since = -1.0, time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - since < 10:
            count = collector.metrics()["schoolkeeper_events_total"]
            if count != before:
                before, since = count, time.monotonic()
            time.sleep(0.2)
        agent.stop()
        return {int(line) for line in note.read_text().split()}, kills


def stored(collector: Collector) -> tuple[Counter[bytes], Counter[int], int]:
    """Ids of all events, numbers of the agent's, and how many came from simulated devices."""
    from schoolkeeper_collector.store.database import open_store
    from schoolkeeper_collector.store.events import events_after
    from schoolkeeper_proto import model

    state = collector.folder / "state"
    store = open_store(f"sqlite:///{state}/collector.db", f"sqlite:///{state}/keystore.db")
    ids: Counter[bytes] = Counter()
    numbers: Counter[int] = Counter()
    simulated, last = 0, 0
    with contextlib.closing(store), store.read() as connection:
        while portion := events_after(connection, store.keystore, stack.SCHOOL, last, 2_000):
            last = portion[-1].event_no
            for found in portion:
                ids[found.event.id] += 1
                body = found.event.body
                if isinstance(body, model.ApplicationStarted):
                    if body.application.path == "/bench/feed":
                        numbers[body.process_id] += 1
                    else:
                        simulated += 1
    return ids, numbers, simulated


def peers(report: Report, arguments: argparse.Namespace) -> None:
    with harness.scratch("kill9-peer") as folder:
        for kind, sender, kills in (
            (Kind.DURABLE, False, arguments.peer_kills),
            (Kind.MEMORY, False, arguments.peer_kills // 2),
            (Kind.DURABLE, True, arguments.peer_kills // 2),
        ):
            end = "sender" if sender else "receiver"
            try:
                found = kill9.run(
                    folder / f"{kind}-{end}", kind, events=arguments.peer_events, kills=kills,
                    seed=arguments.seed, within=40, sender=sender,
                )  # fmt: skip
            except CannotMeasure as reason:
                report.add(Row(goal="5", what=f"peer: rsyslog {kind}", note=f"not measured: {reason}"))
                continue
            what = f"peer: rsyslog {kind}, {found.kills} x kill -9 of its {end}"
            report.add(Row(goal="5", what=what, peer=f"{found.lost} lost, {found.twice} twice"))
            report.detail[f"{kind}-{end}"] = str(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--collector-kills", type=int, default=12)
    parser.add_argument("--agent-kills", type=int, default=8)
    parser.add_argument("--peer-kills", type=int, default=6)
    parser.add_argument("--peer-events", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    harness.main("kill9", measure, parser)
