"""How long the console's pages take with 50,000 alerts on SQLite, one in ten of them open: p95 under 100 ms."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import harness
from harness import Report, Row

from schoolkeeper_collector.console.access import Role
from support.alerts import add_alert, add_many
from support.console import Clock, new_bench, new_store, post

GOAL_MS = 100.0


def timings(ask: Callable[[], object], rounds: int) -> list[float]:
    """Milliseconds of each round, after a first one that warms up."""
    ask()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1000)
    return times


def measure(report: Report, arguments: argparse.Namespace) -> None:
    with harness.scratch("console") as folder:
        store = new_store(folder)
        bench = new_bench(store, Clock())
        with store.write() as connection:
            # More are open than any school leaves lying.
            add_many(connection, arguments.alerts, at_ms=bench.clock.now_ms, open_share=10)
            item = add_alert(connection, "Tor Browser was refused", at_ms=bench.clock.now_ms).hex()
        client = bench.signed_in(Role.DSL)
        pages: dict[str, Callable[[], object]] = {
            "front page": lambda: client.get("/"),
            "queue, as a live update asks for it": lambda: client.get("/queue"),
            "an alert": lambda: client.get(f"/alerts/{item}"),
            "incident log": lambda: client.get("/incidents"),
            "a note added": lambda: post(client, f"/alerts/{item}/notes", note="seen"),
        }
        for name, ask in pages.items():
            cpu = time.process_time()
            times = timings(ask, arguments.rounds)
            cpu = (time.process_time() - cpu) * 1000 / (arguments.rounds + 1)
            p95 = statistics.quantiles(times, n=20)[-1]
            report.add(
                Row(
                    goal="",
                    what=f"console, {arguments.alerts:,} alerts: {name}, p95",
                    ours=f"{p95:.0f} ms",
                    target=f"< {GOAL_MS:.0f} ms",
                    reached=p95 < GOAL_MS,
                    note=f"median {statistics.median(times):.0f} ms, {cpu:.0f} ms of CPU; "
                    "each read is logged with an fsync",
                )
            )
            report.detail[name] = times
        store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=60)
    harness.main("console", measure, parser)
