"""rsyslog by itself: durable, from memory, into PostgreSQL; and whether its figure moves when it is slowed.

    python tests/bench/bench_peers.py [--events N] [--rounds N]

Goals 1 to 4 are ratios to these figures; ``bench_throughput.py`` takes both sides alternately in one run. This script
shows the peer alone, and proves that the driver measures the peer: with its syncs slowed, its figure falls.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import harness
from harness import Report, Row
from peers import postgres, rsyslog
from peers.rsyslog import Kind, Outcome, Rsyslog

SLOWED_BY_US = 3_000
MUST_FALL_BELOW = 0.7


def one(folder: Path, kind: Kind, events: int, *, delay_us: int = 0, connection: str = "") -> Outcome:
    """One run of one kind in a folder of its own."""
    place = folder / f"{kind}-{len(list(folder.iterdir()))}"
    place.mkdir()
    peer = Rsyslog(folder=place, kind=kind, sync_delay_us=delay_us, postgres=connection)
    return rsyslog.measure(peer, events)


def measure(report: Report, arguments: argparse.Namespace) -> None:
    with harness.scratch("peers") as folder:
        found: dict[str, list[Outcome]] = {}
        for _ in range(arguments.rounds):
            for kind, events in ((Kind.DURABLE, arguments.events // 4), (Kind.MEMORY, arguments.events)):
                found.setdefault(kind, []).append(one(folder, kind, events))
            slowed = one(folder, Kind.DURABLE, max(arguments.events // 40, 500), delay_us=SLOWED_BY_US)
            found.setdefault("slowed", []).append(slowed)
        for kind in (Kind.DURABLE, Kind.MEMORY):
            rate = harness.median([outcome.per_second for outcome in found[kind]])
            cpu = harness.median([outcome.cpu_us for outcome in found[kind]])
            memory = max(outcome.receiver_rss_mib for outcome in found[kind])
            note = f"CPU of both ends {cpu:.0f} us an event; receiver's RSS {memory:.0f} MiB"
            report.add(Row(goal="", what=f"peer: rsyslog {kind}", peer=f"{rate:,.0f}/s", note=note))
        ratio = _rate(found["slowed"]) / _rate(found[Kind.DURABLE])
        report.add(
            Row(
                goal="",
                what=f"peer slowed ({SLOWED_BY_US} us a sync): its figure falls",
                peer=f"{_rate(found['slowed']):,.0f}/s",
                ratio=ratio,
                target=f"< {MUST_FALL_BELOW} x",
                reached=ratio < MUST_FALL_BELOW,
            )
        )
        report.detail = {kind: [str(outcome) for outcome in outcomes] for kind, outcomes in found.items()}
        try:
            with postgres.running() as server:
                runs = [
                    postgres.measure_rsyslog(server, folder, arguments.events // 4)
                    for _ in range(arguments.rounds)
                ]
            note = f"CPU of both ends and the server {harness.median([run.cpu_us for run in runs]):.0f} us an event"
            what = "peer: rsyslog -> PostgreSQL"
            report.add(Row(goal="", what=what, peer=f"{_rate(runs):,.0f}/s", note=note))
        except harness.CannotMeasure as reason:
            report.add(Row(goal="", what="peer: rsyslog -> PostgreSQL", note=f"not measured: {reason}"))


def _rate(outcomes: list[Outcome]) -> float:
    return harness.median([outcome.per_second for outcome in outcomes])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=2)
    harness.main("peers", measure, parser)
