"""Goals 1 to 4: durable events a second and CPU an event through the whole collector, rsyslog beside it in one run.

    python tests/bench/bench_throughput.py [--rounds 2] [--events 80000] [--ones 8000] [--no-postgres]

Ours: mTLS, signed batches, HPKE segments, AES-GCM, zstd, parse, dedup, event leaves, ledger, signed checkpoint, fsync,
acknowledgement with its proof; 50 rules follow in the same process. The senders' batches are sealed and signed before
the clock starts, as rsyslog's input file is written before; what sealing costs a device is in goal 4 (`agent_cost.py`).
Both sides take turns in each round, so that a noisy machine is noisy for both; figures are medians over rounds.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fleets
import harness
import stack
from harness import CannotMeasure, Report, Row
from peers import postgres, rsyslog
from peers.rsyslog import Kind, Outcome, Rsyslog
from stack import Collector

DEVICES, PROCESSES, FULL = 8, 1, 512
SERVE = [sys.executable, str(Path(__file__).with_name("serve.py"))]
AGENT = [sys.executable, str(Path(__file__).with_name("agent_cost.py"))]


class Ours:
    """One running collector; each round a new fleet sends to it."""

    def __init__(self, collector: Collector, server_cpu: Any = lambda: 0.0) -> None:
        self.collector = collector
        self._server_cpu = server_cpu
        self._first = 0

    def round(self, events: int, per_frame: int) -> dict[str, float]:
        """Events/s acknowledged, CPU of the collector (and its database server) an event, and stage by stage."""
        with fleets.fleets(PROCESSES) as found:
            token = self.collector.token(DEVICES)
            found[0].ask(
                "enrol", address=self.collector.enrol_address, token=token, first=self._first, devices=DEVICES
            )
            self._first += DEVICES
            found[0].ask("fill", events=events // DEVICES, per_frame=per_frame)
            found[0].ask("connect")
            stages, cpu = self._stages(), self._cpu()
            answer = found[0].ask("go", within=60)
            cpu = self._cpu() - cpu
            stages = {name: value - stages[name] for name, value in self._stages().items()}
        count = answer["acknowledged"]
        if not answer["drained"] or count < events // DEVICES * DEVICES:
            raise CannotMeasure(f"only {count} of {events} events were acknowledged within 60 s")
        return {
            "rate": count / answer["seconds"],
            "cpu_us": cpu / count * 1e6,
            "sender_us": answer["cpu"] / count * 1e6,
            **{f"{name}_us": value / count * 1e6 for name, value in stages.items()},
        }

    def _cpu(self) -> float:
        return harness.cpu_seconds(self.collector.pid) + float(self._server_cpu())

    def _stages(self) -> dict[str, float]:
        prefix = 'schoolkeeper_stage_seconds_total{stage="'
        found = self.collector.metrics().items()
        return {name[len(prefix) : -2]: value for name, value in found if name.startswith(prefix)}


def measure(report: Report, arguments: argparse.Namespace) -> None:
    with ExitStack() as exits:
        folder = exits.enter_context(harness.scratch("throughput"))
        ours = {"sqlite": Ours(exits.enter_context(stack.running("throughput", program=SERVE)))}
        server = None
        if arguments.postgres:
            server, ours["postgres"] = _with_postgres(exits, report)
        figures: dict[str, list[Any]] = {}
        for number in range(arguments.rounds):
            for name, take in _turns(ours, server, folder, arguments, number):
                figures.setdefault(name, []).append(take())
        agent = agent_cost(arguments.events // 4)
    report.detail = {
        **{name: [_plain(v) for v in values] for name, values in figures.items()},
        "agent": agent,
    }
    _rows(report, figures, agent)


def _with_postgres(exits: ExitStack, report: Report) -> tuple[Any, Any]:
    try:
        server = exits.enter_context(postgres.running())
    except CannotMeasure as reason:
        report.add(Row(goal="3", what="PostgreSQL", note=f"not measured: {reason}"))
        return None, None
    urls = {"database_url": server.new_database(), "keystore_url": server.new_database()}
    collector = exits.enter_context(stack.running("throughput-pg", program=SERVE, **urls))
    return server, Ours(collector, lambda: postgres.server_cpu_seconds(server))


def _turns(
    ours: dict[str, Any], server: Any, folder: Path, arguments: argparse.Namespace, number: int
) -> list[Any]:
    """This round's measurements, in an order that turns with the round."""

    def peer(kind: Kind, events: int) -> Any:
        place = folder / f"{kind}-{number}"
        place.mkdir()
        return lambda: rsyslog.measure(Rsyslog(folder=place, kind=kind), events)

    turns = [
        ("peer durable", peer(Kind.DURABLE, max(arguments.events // 32, 2_000))),
        ("ours", lambda: ours["sqlite"].round(arguments.events, FULL)),
        ("peer memory", peer(Kind.MEMORY, arguments.events)),
        ("ours, frames of one", lambda: ours["sqlite"].round(arguments.ones, 1)),
    ]
    if server is not None:
        turns += [
            ("ours, PostgreSQL", lambda: ours["postgres"].round(arguments.events // 2, FULL)),
            ("peer PostgreSQL", lambda: postgres.measure_rsyslog(server, folder, arguments.events // 4)),
        ]
    cut = number % len(turns)
    return turns[cut:] + turns[:cut]


def agent_cost(events: int) -> dict[str, Any]:
    """CPU of the sending side as an agent does it, in a process of its own; see agent_cost.py."""
    import json
    import subprocess

    done = subprocess.run([*AGENT, str(events)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMeasure(f"agent_cost.py failed: {done.stderr[-400:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _rows(report: Report, figures: dict[str, list[Any]], agent: dict[str, Any]) -> None:
    def ours(name: str, key: str) -> float:
        return harness.median([value[key] for value in figures[name]])

    def peer(name: str, key: str) -> float:
        return harness.median([getattr(value, key) for value in figures[name]])

    rate, ones = ours("ours", "rate"), ours("ours, frames of one", "rate")
    cpu = ours("ours", "cpu_us") + agent["cpu_us"]
    for goal, name, target in (("1", "peer durable", 8.0), ("2", "peer memory", 1.2)):
        found = peer(name, "per_second")
        what = f"durable events/s : rsyslog {'durable' if goal == '1' else 'from memory'}"
        note = f"frames of one event: {ones:,.0f}/s, {ones / found:.2f} x"
        report.add(_at_least(goal, what, rate, found, target, note))
    if "ours, PostgreSQL" in figures:
        found, mine = peer("peer PostgreSQL", "per_second"), ours("ours, PostgreSQL", "rate")
        what = "durable events/s in PostgreSQL : rsyslog -> PostgreSQL"
        report.add(_at_least("3", what, mine, found, 2.5, "the same server for both"))
    for name, target in (("peer durable", 0.4), ("peer memory", 0.8)):
        found = peer(name, "cpu_us")
        what = f"CPU an event, agent + collector : rsyslog {name.removeprefix('peer ')}, both ends"
        note = f"collector {ours('ours', 'cpu_us'):.1f} us, agent {agent['cpu_us']:.1f} us ({agent['what']})"
        report.add(
            Row(
                goal="4", what=what, ours=f"{cpu:.1f} us", peer=f"{found:.1f} us", ratio=cpu / found,
                target=f"<= {target} x", reached=cpu / found <= target, note=note,
            )
        )  # fmt: skip
    for name in ("ours", "ours, frames of one"):
        stages = ", ".join(
            f"{key.removesuffix('_us')} {ours(name, key):.1f}"
            for key in figures[name][0]
            if key.endswith("_us")
        )
        frames = "full frames" if name == "ours" else "frames of one"
        report.add(
            Row(
                goal="",
                what=f"us an event by stage, {frames}",
                ours=f"{ours(name, 'rate'):,.0f}/s",
                note=stages,
            )
        )


def _at_least(goal: str, what: str, mine: float, found: float, target: float, note: str) -> Row:
    return Row(
        goal=goal, what=what, ours=f"{mine:,.0f}/s", peer=f"{found:,.0f}/s", ratio=mine / found,
        target=f">= {target} x", reached=mine / found >= target, note=note,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, Outcome):
        return {"per_second": value.per_second, "cpu_us": value.cpu_us, "seconds": value.seconds}
    return value


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--events", type=int, default=80_000)
    parser.add_argument("--ones", type=int, default=8_000)
    parser.add_argument("--no-postgres", dest="postgres", action="store_false")
    harness.main("throughput", measure, parser)
