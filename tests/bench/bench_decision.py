"""A decision on the device among 2,000 rules, in dictionary look-ups.

    python tests/bench/bench_decision.py [--rules 2000]

Goals: an application start costs at most 10 dictionary look-ups, a medium at most 40, and neither depends on the number
of rules that do not concern it. The same holds where rules name packages, hashes and the origin of programs, so that
the driver tells all of these. The look-up and the decision are timed in turns, in the same run and by CPU time: the
look-up finds the same paths in a dictionary of the same size. Beside the goals: a start whose rule depends on the time,
a program that was not asked for before, and what compiling the table costs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import harness
from harness import Report, Row

from schoolkeeper_proto import policy
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.matching import ApplicationTable, compile_applications
from schoolkeeper_proto.media_matching import MediaTable
from schoolkeeper_proto.model import DecisionKind, Medium, MediumEncryption
from schoolkeeper_proto.policy import MatchBy, MediaAccess

NOW = Circumstances(now_ms=1_795_428_000_000, place="on-site", groups=frozenset({"pupils"}))
SCHOOL = policy.Applicability(
    times=(policy.TimeWindow(weekdays=31, from_minute=510, to_minute=945),), time_zone="Europe/London"
)
LOOPS = 20_000
ROUNDS = 25


def applications(rules: int) -> policy.ApplicationsSection:
    """A quarter each of paths, names, patterns in many folders, and rules that hold in school hours only."""
    kinds = (
        (MatchBy.PATH, "/opt/app-{}/bin/run", None),
        (MatchBy.FILE_NAME, "game-{}", None),
        (MatchBy.PATH_PATTERN, "/home/*/apps-{}/**", None),
        (MatchBy.FILE_NAME, "lesson-{}", SCHOOL),
    )
    made = []
    for number in range(rules):
        by, text, when = kinds[number % 4]
        made.append(
            policy.ApplicationRule(
                text=policy.RuleText(rule_id=f"r{number}"),
                decision=DecisionKind.BLOCK,
                matches=(policy.ApplicationMatch(by=by, text=text.format(number)),),
                when=when,
            )
        )
    return policy.ApplicationsSection(rules=tuple(made))


def rules_of_every_kind(rules: int) -> policy.ApplicationsSection:
    """The same, with rules about packages, hashes, origin and what they leave out, and some for pupils only."""
    held = list(applications(rules).rules)
    personal = policy.ApplicationMatch(by=MatchBy.ORIGIN, text="personal")
    made = policy.ApplicationMatch(by=MatchBy.PATH_PATTERN, text="/home/*/made-here/**")
    held[0] = replace(held[0], matches=(personal,), unless=(made,))
    for number in range(4, len(held), 8):
        match = policy.ApplicationMatch(by=MatchBy.PACKAGE, text=f"package-{number}")
        held[number] = replace(held[number], matches=(match,))
    held[2] = replace(held[2], matches=(policy.ApplicationMatch(by=MatchBy.SHA256, text="0" * 64),))
    pupils = replace(SCHOOL, user_groups=("pupils",))
    for number in range(7, len(held), 8):
        held[number] = replace(held[number], when=pupils)
    return policy.ApplicationsSection(rules=tuple(held))


def media(rules: int) -> policy.MediaSection:
    """Half by serial number, half by product."""
    made = []
    for number in range(rules):
        named = {"serials": (f"S{number}",)} if number % 2 else {"vendor_products": (f"{number:04x}:0001",)}
        made.append(
            policy.MediaRule(
                text=policy.RuleText(rule_id=f"m{number}"),
                access=MediaAccess.BLOCK,
                when=SCHOOL if number % 3 else None,
                **named,
            )
        )
    return policy.MediaSection(rules=tuple(made))


def in_turns(ours: Callable[[], object], bare: Callable[[], object]) -> tuple[float, float, float]:
    """(ns of ours, ns of the look-up, median ratio of the rounds)."""
    pairs = [(_timed(ours), _timed(bare)) for _ in range(ROUNDS)]
    ratio = statistics.median(one / other for one, other in pairs)
    return min(p[0] for p in pairs), min(p[1] for p in pairs), ratio


def _timed(loop: Callable[[], object]) -> float:
    began = time.process_time_ns()
    loop()
    return (time.process_time_ns() - began) / LOOPS


def starts(
    table: ApplicationTable, paths: list[str], sha256: str = "", package: str = "", origin: str = ""
) -> tuple[Callable[[], object], Callable[[], object]]:
    """The same paths decided, with what a driver tells of them, and looked up."""
    asked = (paths * (LOOPS // len(paths) + 1))[:LOOPS]
    held = {f"/opt/app-{number}/bin/run": number for number in range(2000)} | dict.fromkeys(paths, 1)

    def decide() -> None:
        decide_one = table.decide
        now = NOW
        for path in asked:
            decide_one(path, now, sha256=sha256, package=package, origin=origin)

    def look_up() -> None:
        look = held.get
        for path in asked:
            look(path)

    return decide, look_up


def of_media(table: MediaTable, known: list[Medium]) -> tuple[Callable[[], object], Callable[[], object]]:
    asked = (known * (LOOPS // len(known) + 1))[:LOOPS]
    held = {f"S{number}": number for number in range(2000)}
    serials = [medium.serial for medium in asked]

    def decide() -> None:
        decide_one = table.decide
        now = NOW
        for medium in asked:
            decide_one(medium, now)

    def look_up() -> None:
        look = held.get
        for serial in serials:
            look(serial)

    return decide, look_up


def unseen(table: ApplicationTable) -> float:
    """Nanoseconds for a program that was never asked for."""
    number = count()
    paths = [f"/usr/bin/never-{next(number)}" for _ in range(3000)]
    began = time.process_time_ns()
    for path in paths:
        table.decide(path, NOW)
    return (time.process_time_ns() - began) / len(paths)


def measure(report: Report, arguments: argparse.Namespace) -> None:
    rules: int = arguments.rules
    began = time.process_time()
    table = compile_applications(applications(rules))
    compiling = time.process_time() - began
    small = compile_applications(applications(rules // 10))
    free = [f"/usr/bin/program-{number}" for number in range(40)]
    refused = [f"/opt/app-{number * 4}/bin/run" for number in range(20)] + [
        f"/x/game-{n * 4 + 1}" for n in range(20)
    ]
    timed = [f"/usr/games/lesson-{number * 4 + 3}" for number in range(40)]
    what = f"a start among {rules:,} rules"
    for name, paths, goal in (
        (f"{what}, none about it", free, 10),
        (f"{what}, refused", refused, 10),
        (f"{what}, by the time of day", timed, 10),
    ):
        ns, bare, ratio = in_turns(*starts(table, paths))
        _row(report, name, ns, bare, ratio, goal)
    whole = compile_applications(rules_of_every_kind(rules))
    lessons = [f"/usr/games/lesson-{number * 8 + 3}" for number in range(40)]
    people = [f"/usr/games/lesson-{number * 8 + 7}" for number in range(40)]
    brought = [f"/home/pupil/bin/program-{number}" for number in range(40)]
    for name, paths, origin in (
        (f"{what} of every kind, none about it", free, "system"),
        (f"{what} of every kind, refused by its origin", brought, "personal"),
        (f"{what} of every kind, by the time of day", lessons, "system"),
        (f"{what} of every kind, by time and person", people, "system"),
    ):
        ns, bare, ratio = in_turns(*starts(whole, paths, "a" * 64, "bash", origin))
        _row(report, name, ns, bare, ratio, 10)
    many, few, ratio = in_turns(starts(table, free)[0], starts(small, free)[0])
    report.add(
        Row(
            goal="",
            what=f"the same beside {rules // 10:,} rules, in turns",
            ours=f"{many:.0f} ns",
            peer=f"{few:.0f} ns",
            ratio=ratio,
            target="<= 1.3 x",
            reached=ratio <= 1.3,
        )
    )
    boxes = MediaTable(media(rules))
    mine = [
        Medium(kernel_name="sda", serial=f"S{n}", vendor_id="ffff", product_id="1", bus="usb", encryption=e)
        for n in range(10)
        for e in (MediumEncryption.NONE, MediumEncryption.LUKS2)
    ]
    _row(report, f"a medium among {rules:,} rules", *in_turns(*of_media(boxes, mine)), 40)
    report.add(
        Row(goal="", what=f"a program never asked for, {rules:,} rules", ours=f"{unseen(table):.0f} ns")
    )
    report.add(
        Row(goal="", what=f"a program never asked for, {rules // 10:,} rules", ours=f"{unseen(small):.0f} ns")
    )
    report.add(Row(goal="", what=f"compiling {rules:,} rules", ours=f"{compiling * 1000:.0f} ms"))


def _row(report: Report, what: str, ns: float, bare: float, ratio: float, goal: int) -> None:
    report.add(
        Row(
            goal="",
            what=what,
            ours=f"{ns:.0f} ns",
            peer=f"dict {bare:.0f} ns",
            ratio=ratio,
            target=f"<= {goal} x",
            reached=ratio <= goal,
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rules", type=int, default=2000)
    harness.main("decision", measure, parser)
