"""What is decided for one person, shared accounts, and bounds of grants."""

from __future__ import annotations

import re
from collections.abc import Iterator

from schoolkeeper_policies import model
from schoolkeeper_policies.checking.names import RULE_PARTS, File, Names
from schoolkeeper_policies.problems import Problem
from schoolkeeper_policies.source import Path, Source
from schoolkeeper_policies.validate import suggest


def check_persons(files: list[File], names: Names) -> Iterator[Problem]:
    """Every mistake in overrides, people and grants."""
    rules = sorted(names.rules | names.made)
    for source, file in files:
        for number, override in enumerate(file.overrides):
            yield from _override(source, ("overrides", number), override, names, rules)
        for number, bound in enumerate(file.grants):
            yield from _bound(source, ("grants", number), bound, names, rules)
        if file.people is not None:
            yield from _people(source, file.people)


def _override(
    source: Source, path: Path, override: model.Override, names: Names, rules: list[str]
) -> Iterator[Problem]:
    if (override.person is None) == (override.pseudonym is None):
        remedy = "write 'pseudonym:', or 'person:' with the id of the register"
        yield source.problem(path, f"the override {override.id!r} must name one person", remedy)
    if override.person is not None and not names.register and not names.unsure_of("people"):
        remedy = "add 'people: {register: {file: ...}}', or write 'pseudonym:'"
        yield source.problem((*path, "person"), "an id of the register, and the pack has none", remedy)
    if not override.lift and override.treat_as is None:
        yield source.problem(
            path, f"the override {override.id!r} decides nothing", "add 'lift:' or 'treat_as:'"
        )
    for number, name in enumerate(() if names.unsure_of(*RULE_PARTS, "matrices") else override.lift):
        if name not in rules:
            yield source.problem(
                (*path, "lift", number), f"there is no rule {name!r}", suggest(name, rules, "rules")
            )
    group = override.treat_as
    if group is not None and group not in names.audiences() and not names.unsure_of("people"):
        remedy = suggest(group, names.audiences(), "groups of people")
        yield source.problem((*path, "treat_as"), f"there is no group of people {group!r}", remedy)


def _bound(
    source: Source, path: Path, bound: model.GrantBound, names: Names, rules: list[str]
) -> Iterator[Problem]:
    if bound.console and (bound.kind != "lesson" or bound.two_persons or not bound.rules):
        remedy = "name the rules of a lesson that one person may open, or leave 'console:' out"
        yield source.problem(
            (*path, "console"), "only a lesson that names its rules is opened on the console", remedy
        )
    for number, pattern in enumerate(() if names.unsure_of(*RULE_PARTS, "matrices") else bound.rules):
        stem = re.escape(pattern.removesuffix("*")) + (".*" if pattern.endswith("*") else "")
        if not any(re.fullmatch(stem, rule) for rule in rules):
            yield source.problem(
                (*path, "rules", number), f"no rule is called {pattern!r}", suggest(pattern, rules, "rules")
            )


def _people(source: Source, people: model.People) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, group in enumerate(people.groups):
        at: Path = ("people", "groups", number, "name")
        if group.name in model.BUILT_IN or group.name in {model.EVERYBODY, "known"}:
            yield source.problem(at, f"{group.name!r} is a built-in group of people", "give it another name")
        elif group.name in seen:
            yield source.problem(
                at, f"the group of people {group.name!r} is already there", "keep one of them"
            )
        seen.add(group.name)
    accounts: set[str] = set()
    for number, shared in enumerate(people.shared):
        if shared.account in accounts:
            at = ("people", "shared", number, "account")
            yield source.problem(at, f"the account {shared.account!r} is already there", "keep one of them")
        accounts.add(shared.account)
