"""What no single value shows: names that lead nowhere, the same thing twice, rules that contradict themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from schoolkeeper_policies import model
from schoolkeeper_policies.checking.assessments import check_assessments
from schoolkeeper_policies.checking.clocks import check_hours, time_zones
from schoolkeeper_policies.checking.names import File, Names, names_of
from schoolkeeper_policies.checking.overlaps import covered_rules
from schoolkeeper_policies.checking.people import check_persons
from schoolkeeper_policies.checking.rules import check_rule
from schoolkeeper_policies.checking.tables import check_tables
from schoolkeeper_policies.problems import Position, Problem
from schoolkeeper_policies.source import Path, Source
from schoolkeeper_policies.validate import suggest

_SINGLE = ("pack", "school", "people", "screen", "collection", "notice", "agreement")
_REQUIRED = ("pack", "school", "collection", "notice")
RULE_LISTS = ("applications", "media", "sites", "browser", "network", "peripherals")


def check_whole(files: list[File], pack: str, *, lost: frozenset[str] = frozenset()) -> Iterator[Problem]:
    """Every mistake across the files; ``lost`` are parts of the pack that could not be read whole."""
    yield from _singles(files)
    for name in _REQUIRED:
        if name not in lost and all(getattr(file, name) is None for _, file in files):
            yield Problem(
                position=Position(file=pack),
                reason=f"no file of the pack says {name!r}",
                remedy=f"add '{name}:' to a file",
            )
    yield from _twice(files, "groups", lambda item: item.name, "the group")
    yield from _rule_ids(files)
    yield from _twice(files, "posture", lambda item: item.check, "the check")
    names = names_of(files, (rule for _, file in files for _, rule in rules_of(file)), lost=lost)
    for source, file in files:
        for path, rule in rules_of(file):
            yield from check_rule(source, path, rule, names)
        yield from _school(source, file.school)
        yield from _screen(source, file.screen)
    yield from check_tables(files, names)
    yield from check_persons(files, names)
    yield from _clocks(files)
    yield from _made_twice(files, names)
    yield from _collection(files)
    if "collection" not in lost:
        yield from _agreement(files)
    yield from check_assessments(files)


def check_overlaps(files: list[File], pack: model.Pack) -> Iterator[Problem]:
    """Rules of the files that never decide, asked of the pack, which may hold a part of the files' rules only."""
    places: dict[tuple[str | int, str], tuple[Source, Path]] = {}
    for source, file in files:
        for path, rule in rules_of(file):
            places.setdefault((path[0], rule.id), (source, path))
    for pair in covered_rules(pack):
        here, there = places.get((pair.section, pair.weaker)), places.get((pair.section, pair.stronger))
        if here is None:
            continue  # made from a table: `advice.py` says it
        source, path = here
        other = repr(pair.stronger) + (f" in {there[0].at(there[1])}" if there is not None else "")
        if pair.same:
            reason = f"the rule {pair.weaker!r} says what {other} says already"
            yield source.problem(path, reason, "keep one of them")
        else:
            yield source.problem(
                path,
                f"the rule {pair.weaker!r} can never decide: {other} is stricter and holds whenever it does",
                "make the stricter rule narrower, or give it an exception",
            )


def _made_twice(files: list[File], names: Names) -> Iterator[Problem]:
    for source, file in files:
        for path, rule in rules_of(file):
            if rule.id in names.made:
                reason = f"a rule made from a matrix is called {rule.id!r}, too"
                yield source.problem((*path, "id"), reason, "give this one another name")


def _clocks(files: list[File]) -> Iterator[Problem]:
    """Every window that begins or ends at a time that the change of clocks makes ambiguous."""
    zones = [file.school.time_zone for _, file in files if file.school is not None]
    if not zones or zones[0] not in time_zones():
        return
    for source, file in files:
        windows: list[tuple[Path, model.Hours]] = []
        if file.school is not None:
            windows += [(("school", "hours", n), one) for n, one in enumerate(file.school.hours)]
            windows += [(("school", "timetable", n), one) for n, one in enumerate(file.school.timetable)]
        whens: list[tuple[Path, model.When | None]] = [(path, rule.when) for path, rule in rules_of(file)]
        whens += [
            (("matrices", m, "rows", r), row.when)
            for m, matrix in enumerate(file.matrices)
            for r, row in enumerate(matrix.rows)
        ]
        for path, when in whens:
            if when is not None:
                windows += [((*path, "when", "times", n), one) for n, one in enumerate(when.times)]
        for path, window in windows:
            yield from check_hours(source, path, window, zones[0])


def rules_of(file: model.PackFile) -> Iterator[tuple[Path, model.Rule]]:
    """Every rule of a file with its path."""
    for name in RULE_LISTS:
        for number, rule in enumerate(getattr(file, name)):
            yield (name, number), rule
    if file.screen is not None:
        yield ("screen",), file.screen


def _singles(files: list[File]) -> Iterator[Problem]:
    for name in _SINGLE:
        held = [source for source, file in files if getattr(file, name) is not None]
        for source in held[1:]:
            yield Problem(
                position=source.at_key((name,)),
                reason=f"{name!r} is already said in {held[0].at_key((name,))}",
                remedy="keep one of them",
            )


def _twice(files: list[File], name: str, key: Callable[[Any], str], what: str) -> Iterator[Problem]:
    first: dict[str, Position] = {}
    for source, file in files:
        for number, item in enumerate(getattr(file, name)):
            at = source.at((name, number))
            if key(item) in first:
                yield Problem(
                    position=at,
                    reason=f"{what} {key(item)!r} is already there, in {first[key(item)]}",
                    remedy="keep one of them",
                )
            first.setdefault(key(item), at)


def _rule_ids(files: list[File]) -> Iterator[Problem]:
    first: dict[str, Position] = {}
    for source, file in files:
        for path, rule in rules_of(file):
            at = source.at((*path, "id"))
            if rule.id in first:
                yield Problem(
                    position=at,
                    reason=f"the rule {rule.id!r} is already there, in {first[rule.id]}",
                    remedy="give each rule a name of its own",
                )
            first.setdefault(rule.id, at)


def _school(source: Source, school: model.School | None) -> Iterator[Problem]:
    if school is None:
        return
    if school.time_zone not in time_zones():
        remedy = suggest(school.time_zone, sorted(time_zones()), "")
        yield source.problem(
            ("school", "time_zone"),
            f"there is no time zone {school.time_zone!r}",
            remedy if remedy.startswith("did") else "write it like Europe/London",
        )
    for number, term in enumerate(school.terms):
        if term.last < term.first:
            yield source.problem(
                ("school", "terms", number), f"the term {term.name!r} ends before it begins", "swap the dates"
            )
    for number, site in enumerate(school.sites):
        kinds = sum(bool(found) for found in (site.marks.gateway_mac, site.marks.ssid, site.marks.dns_suffix))
        if kinds < site.kinds_needed:
            yield source.problem(
                ("school", "sites", number),
                f"the site {site.name!r} needs {site.kinds_needed} kinds of mark and has {kinds}",
                "add gateway_mac, ssid or dns_suffix",
            )


def _screen(source: Source, screen: model.Screen | None) -> Iterator[Problem]:
    if screen is not None and screen.warn_seconds >= screen.idle_lock_seconds:
        yield source.problem(
            ("screen", "warn_seconds"),
            "the warning would come before the idle time begins",
            "make it shorter",
        )


def _collection(files: list[File]) -> Iterator[Problem]:
    first: dict[str, Position] = {}
    for source, file in files:
        collected = file.collection.collected if file.collection is not None else ()
        for number, item in enumerate(collected):
            for index, kind in enumerate(item.kinds):
                path = ("collection", "collected", number, "kinds", index)
                if kind not in model.KINDS:
                    remedy = suggest(kind, sorted(model.KINDS), "kinds")
                    yield source.problem(path, f"there is no kind of event {kind!r}", remedy)
                elif kind in first:
                    yield source.problem(path, f"{kind!r} is already collected, in {first[kind]}", "keep one")
                first.setdefault(kind, source.at(path))


def _agreement(files: list[File]) -> Iterator[Problem]:
    """Whoever is asked to agree is written down, so the kinds for that must be collected, and told of."""
    collected = {
        kind
        for _, file in files
        for item in (file.collection.collected if file.collection is not None else ())
        for kind in item.kinds
    }
    for source, file in files:
        lacking = sorted(model.AGREEMENT_KINDS - collected) if file.agreement is not None else []
        if lacking:
            yield source.problem(
                ("agreement",),
                f"people are asked to agree, and {' and '.join(map(repr, lacking))} is not collected",
                "add it to 'collection: collected:' with a notice, or leave 'agreement' out",
            )
