"""What no single value shows: names that lead nowhere, the same thing twice, rules that contradict themselves."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any

from schoolkeeper_policies import model
from schoolkeeper_policies.problems import Position, Problem
from schoolkeeper_policies.source import Path, Source
from schoolkeeper_policies.validate import suggest
from schoolkeeper_proto.model import Place
from schoolkeeper_proto.policy import MediaAccess, RuleMode

File = tuple[Source, model.PackFile]
_SINGLE = ("pack", "school", "people", "screen", "collection", "notice")
_REQUIRED = ("pack", "school", "collection", "notice")
RULE_LISTS = ("applications", "media", "sites", "browser", "network", "peripherals")


def check_whole(files: list[File], pack: str, *, complete: bool) -> Iterator[Problem]:
    """Every mistake across the files; ``complete`` is False while some file could not be read at all."""
    yield from _singles(files)
    if complete:
        for name in _REQUIRED:
            if all(getattr(file, name) is None for _, file in files):
                yield Problem(
                    position=Position(file=pack),
                    reason=f"no file of the pack says {name!r}",
                    remedy=f"add '{name}:' to a file",
                )
    yield from _twice(files, "groups", lambda item: item.name, "the group")
    yield from _rule_ids(files)
    yield from _twice(files, "posture", lambda item: item.check, "the check")
    known = {group.name for _, file in files for group in file.groups}
    for source, file in files:
        for path, rule in rules_of(file):
            yield from _rule(source, path, rule, known)
        yield from _school(source, file.school)
        yield from _screen(source, file.screen)
    yield from _collection(files)


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


def _rule(source: Source, path: Path, rule: model.Rule, known: set[str]) -> Iterator[Problem]:
    for number, group in enumerate(rule.groups):
        if group not in known and ":" not in group:
            remedy = suggest(group, sorted(known), "groups of the pack")
            yield source.problem((*path, "groups", number), f"there is no group {group!r}", remedy)
    if rule.mode is RuleMode.UNSPECIFIED:
        yield source.problem((*path, "mode"), "'unspecified' is no mode", "write observe, warn or enforce")
    if rule.when is not None:
        for number, place in enumerate(rule.when.places):
            if place not in (Place.ON_SITE, Place.OFF_SITE):
                yield source.problem(
                    (*path, "when", "places", number),
                    f"{place.value!r} is no place",
                    "write on-site or off-site",
                )
    match rule:
        case model.ApplicationRule():
            for number, match in enumerate(rule.match):
                ways = match.ways()
                if ways != 1:
                    yield source.problem(
                        (*path, "match", number),
                        f"{ways} ways to recognise a program in one entry",
                        "write exactly one per entry: path, path-pattern, file-name, sha256, package, flatpak, snap or category",
                    )
        case model.MediaRule(access=MediaAccess.UNSPECIFIED):
            yield source.problem(
                (*path, "access"),
                "'unspecified' is no access",
                "write allow, read-only, block or encrypted-only",
            )
        case _:
            pass


def _school(source: Source, school: model.School | None) -> Iterator[Problem]:
    if school is None:
        return
    if school.time_zone not in zoneinfo.available_timezones():
        remedy = suggest(school.time_zone, sorted(zoneinfo.available_timezones()), "")
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
