"""Detection with 50 rules: passing over what no rule wants, looking at what some rule wants.

    python tests/bench/bench_detection.py [--events 200000]

Goal: 100,000 summaries a second on one core for kinds that no rule wants. Shown beside it, as the denominator, is how
fast this machine does bare dictionary look-ups, and what one SQLite scan of the same rows costs. All per second of CPU
time, so that others on the machine do not count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import harness
from harness import Report, Row, scratch
from sqlalchemy import insert, select

from schoolkeeper_collector.detection.engine import Budget
from schoolkeeper_collector.store import tables
from schoolkeeper_policies.detection.load import load_rules, rules_of_texts
from schoolkeeper_policies.detection.records import EventRecord
from schoolkeeper_policies.detection.ruleset import RuleSet, evaluate
from schoolkeeper_policies.sigma.correlate import Window
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import kind_number
from support.detection import NOON_MS, SCHOOL, Bench, make_event, refused, user
from support.stores import StoreUrls

RULES = 50
TEXT = """\
title: t
name: extra.{number}
level: low
logsource: {{product: schoolkeeper, category: application.refused}}
detection:
  a: {{application.path|contains: ['/x{number}/', '/y{number}/'], rule.rule_id|startswith: nothing}}
  b: {{application.path|re: '/z{number}-[0-9]+/.*[.]exe$'}}
  condition: a or b
schoolkeeper: {{audience: safeguarding, subject: user, category: x, headline: h, explanation: e}}
"""


def fifty_rules() -> RuleSet:
    """The shipped rules and more, so that there are 50; all of the added ones want application.refused."""
    shipped = load_rules("default")
    missing = max(RULES - len(shipped.rules), 10)
    extra = rules_of_texts({f"{n}.yaml": TEXT.format(number=n) for n in range(missing)})
    by_kind = dict(shipped.by_kind)
    for kind, detectors in extra.by_kind.items():
        by_kind[kind] = (*by_kind.get(kind, ()), *detectors)
    return RuleSet(rules={**shipped.rules, **extra.rules}, by_kind=by_kind)


def dispatch(rules: RuleSet, count: int) -> tuple[float, float]:
    """(summaries/s through the index, bare dictionary look-ups/s) for kinds that no rule wants."""
    kinds = ["heartbeat", "session.signed_in", "application.usage", "site.usage"] * (count // 4)
    by_kind = rules.by_kind
    began = time.process_time()
    hits = 0
    for kind in kinds:
        for _ in by_kind.get(kind, ()):
            hits += 1
    ours = len(kinds) / (time.process_time() - began)
    assert hits == 0
    plain = dict.fromkeys(by_kind, 1)
    began = time.process_time()
    for kind in kinds:
        plain.get(kind)
    return ours, len(kinds) / (time.process_time() - began)


def looked_at(rules: RuleSet, count: int) -> float:
    """Events/s that every rule of their kind looks at, and none matches; one core."""
    body = refused("games.launchers")
    records = [
        EventRecord(make_event(body, number=number, who=user("p")), b"d" * 16, "ks2-laptops")
        for number in range(64)
    ]
    detectors = rules.by_kind["application.refused"]
    began = time.process_time()
    for number in range(count):
        record = records[number % 64]
        for detector in detectors:
            for _ in evaluate(
                detector, record, at_ms=NOON_MS, reference="e:1", horizon_ms=0, window=lambda *_: Window()
            ):
                raise AssertionError("nothing should be found")
    return count / (time.process_time() - began)


def passed_over(folder: Path, rules: RuleSet, count: int) -> tuple[float, float]:
    """(rows/s that the engine passes over in a real store, rows/s of a bare scan)."""
    bench = Bench.make(
        StoreUrls(store=f"sqlite:///{folder}/c.db", keystore=f"sqlite:///{folder}/k.db"), rules
    )
    row = {"school_id": SCHOOL, "device_no": bench.device(), "blob_no": 1, "position": 0, "severity": 1}
    row |= {"kind": kind_number(model.Heartbeat.KIND), "event_ms": NOON_MS}
    with bench.store.write() as connection:
        for _ in range(count // 10_000):
            connection.execute(insert(tables.events), [row] * 10_000)
    began = time.process_time()
    bench.run(budget=Budget())
    ours = count / (time.process_time() - began)
    began = time.process_time()
    with bench.store.read() as connection:
        rows: Sequence[object] = connection.execute(
            select(tables.events.c.event_no, tables.events.c.kind)
        ).all()
    scan = len(rows) / (time.process_time() - began)
    bench.store.close()
    return ours, scan


def stored(folder: Path, rules: RuleSet, count: int) -> float:
    """Findings/s: every event matches, is written as a finding, and grows an alert."""
    bench = Bench.make(
        StoreUrls(store=f"sqlite:///{folder}/f.db", keystore=f"sqlite:///{folder}/g.db"), rules
    )
    device = bench.device()
    for number in range(count):
        bench.event(device, refused(), who=user(f"p{number % 40}"), at_ms=NOON_MS + number * 1_000)
    began = time.process_time()
    bench.run(NOON_MS + count * 1_000)
    rate = count / (time.process_time() - began)
    assert bench.number_of("findings") > count
    bench.store.close()
    return rate


def measure(report: Report, arguments: argparse.Namespace) -> None:
    rules = fifty_rules()
    report.detail["rules"] = len(rules.rules)
    index, bare = dispatch(rules, arguments.events)
    report.detail |= {"index": index, "dictionary": bare}
    report.add(
        Row(
            goal="",
            what=f"detection, {len(rules.rules)} rules: summaries no rule wants",
            ours=f"{index:,.0f}/s",
            peer=f"dict {bare:,.0f}/s",
            ratio=index / bare,
            target=">= 100,000/s",
            reached=index >= 100_000,
        )
    )
    with scratch("detection") as folder:
        passing, scan = passed_over(folder, rules, arguments.events)
        report.add(
            Row(
                goal="",
                what="the same through the engine and a real SQLite store",
                ours=f"{passing:,.0f}/s",
                peer=f"scan {scan:,.0f}/s",
                ratio=passing / scan,
                target=">= 100,000/s",
                reached=passing >= 100_000,
            )
        )
        looking = looked_at(rules, 20_000)
        of_kind = len(rules.by_kind["application.refused"])
        report.add(
            Row(goal="", what=f"events that {of_kind} rules look at, none matches", ours=f"{looking:,.0f}/s")
        )
        writing = stored(folder, rules, 400)
        report.add(
            Row(goal="", what="events that match, written as findings into alerts", ours=f"{writing:,.0f}/s")
        )
        report.detail |= {"passing": passing, "scan": scan, "looking": looking, "writing": writing}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=200_000)
    harness.main("detection", measure, parser)
