"""A plan with a backtest over a million events, and the check of the largest pack.

    python tests/bench/bench_plan.py [--events 1000000]

Goals: the plan in under 10 s of CPU, from events in a file to the printed report; ``check`` in under 1 s.
CPU time, so that others on the machine do not count. Beside it, what one
pass over the same file costs that only parses every line.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import harness
from harness import Report, Row, scratch

from schoolkeeper_policies.detection.load import load_rules
from schoolkeeper_policies.parse import load_pack, pack_names
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.subject import LoadedPack
from schoolkeeper_policies.trying.backtest import Backtest, Pair
from schoolkeeper_policies.trying.report import make_plan, plan_json, plan_text
from schoolkeeper_policies.trying.sightings import Sighting, as_json, read_sightings

MONDAY_MS = 1_794_787_200_000  # 2026-11-16T00:00Z
DAY_MS = 86_400_000
PACK = "default"


def week(count: int, groups: list[str]) -> Iterator[Sighting]:
    """A fortnight of 500 devices: 300 programs, most starts in school hours, one in twenty a game."""
    draw = random.Random(7)
    programs = [f"/usr/bin/program-{number}" for number in range(295)]
    games = [f"/usr/games/{name}" for name in ("steam", "lutris", "heroic", "minecraft-launcher", "tor")]
    persons = [draw.randbytes(16) for _ in range(600)]
    for number in range(count):
        device = draw.randrange(500)
        at_ms = MONDAY_MS + draw.randrange(14) * DAY_MS + int(draw.gauss(11.5, 2.5) * 3_600_000)
        path = draw.choice(games) if draw.random() < 0.05 else draw.choice(programs)
        place = "on-site" if draw.random() < 0.8 else "off-site"
        common = (f"device-{device}", groups[device % len(groups)], at_ms, draw.choice(persons), place)
        if number % 50 == 0:
            what = (
                f"S{draw.randrange(200)}",
                "abcd",
                "1234",
                "usb",
                draw.choice(["none", "luks2", "unknown"]),
            )
            yield Sighting("medium", *common, what)
        elif number % 3:
            hour = at_ms - at_ms % 3_600_000
            yield Sighting(
                "usage", *common, (path, "", ""), draw.randrange(1, 6), hour, number.to_bytes(16, "big")
            )
        else:
            yield Sighting("started", *common, (path, "", ""))


def write_sqlite(path: Path, sightings: list[Sighting]) -> None:
    """The same as an SQLite export."""
    columns = "kind device group at_ms person place times hour_ms aggregate path sha256 package"
    names = [*columns.split(), "serial", "vendor", "product", "bus", "encryption"]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE sightings (" + ", ".join(f'"{name}"' for name in names) + ")")
        rows = ((*_plain(s), *_what(s)) for s in sightings)
        database.executemany(f"INSERT INTO sightings VALUES ({', '.join('?' * len(names))})", rows)


def _plain(s: Sighting) -> tuple[object, ...]:
    return (s.kind, s.device, s.group, s.at_ms, s.person, s.place, s.times, s.hour_ms, s.aggregate)


def _what(s: Sighting) -> tuple[str, ...]:
    return ("", "", "", *s.what) if s.kind == "medium" else (*s.what, "", "", "", "", "")


def planned(file: Path, groups: list[str]) -> tuple[float, int, int]:
    """(seconds from nothing to the printed report, effects found, distinct questions)."""
    began = time.process_time()
    now = MONDAY_MS + 14 * DAY_MS
    pack = LoadedPack.read(PACK)
    pairs = {group: Pair(before=None, after=pack.bundle(group, now_ms=now)) for group in groups}
    backtest = Backtest(pairs, since_ms=MONDAY_MS, until_ms=now)
    backtest.feed(read_sightings(file))
    outcome = backtest.result()
    report = make_plan(pairs, devices=dict.fromkeys(groups, 100), outcome=outcome, time_zone="Europe/London")
    assert plan_text(report)
    assert json.dumps(plan_json(report))
    return time.process_time() - began, sum(tally.count for tally in outcome.tallies), outcome.questions


def checked(name: str) -> float:
    """Seconds for a pack's whole check, its detection rules included."""
    began = time.process_time()
    load_pack(name)
    load_rules(name)
    return time.process_time() - began


def only_parsed(file: Path) -> float:
    began = time.process_time()
    with file.open() as lines:
        for line in lines:
            json.loads(line)
    return time.process_time() - began


def measure(report: Report, arguments: argparse.Namespace) -> None:
    groups = [group.name for group in load_pack(PACK).groups]
    count: int = arguments.events
    with scratch("plan") as folder:
        sightings = list(week(count, groups))
        lines, export = folder / "events.jsonl", folder / "events.sqlite"
        lines.write_text("\n".join(map(as_json, sightings)) + "\n")
        write_sqlite(export, sightings)
        del sightings
        bare = only_parsed(lines)
        for name, file in (("JSON lines", lines), ("an SQLite export", export)):
            seconds, found, questions = planned(file, groups)
            report.add(
                Row(
                    goal="",
                    what=f"plan with {count:,} events from {name}",
                    ours=f"{seconds:.2f} s",
                    peer=f"json.loads only {bare:.2f} s",
                    ratio=seconds / bare,
                    target="<= 10 s",
                    reached=seconds <= 10,
                    note=f"{found:,} effects found by {questions:,} questions",
                )
            )
            report.detail[name] = {"seconds": seconds, "effects": found, "questions": questions}
    for name in pack_names():
        try:
            seconds = min(checked(name) for _ in range(3))
        except PolicyError as error:
            note = f"not measured: the pack has {len(error.problems)} mistakes"
            report.add(Row(goal="", what=f"check of the pack {name}", note=note))
            continue
        report.add(
            Row(
                goal="",
                what=f"check of the pack {name}",
                ours=f"{seconds:.2f} s",
                target="<= 1 s",
                reached=seconds <= 1,
            )
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    harness.main("plan", measure, parser)
