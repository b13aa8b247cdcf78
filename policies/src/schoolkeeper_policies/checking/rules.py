"""One rule: what it names must be there, somebody must be meant, an exception must end."""

from __future__ import annotations

from collections.abc import Iterator

from schoolkeeper_policies import model
from schoolkeeper_policies.applies import audience_of
from schoolkeeper_policies.checking.names import Names
from schoolkeeper_policies.problems import Problem
from schoolkeeper_policies.source import Path, Source
from schoolkeeper_policies.validate import suggest
from schoolkeeper_proto.model import Place
from schoolkeeper_proto.people import PERSON
from schoolkeeper_proto.policy import MediaAccess, NetworkUse, PeripheralKind, RuleMode

_WORDS_OF_PERIODS = ("lessons", "breaks")


def check_rule(source: Source, path: Path, rule: model.Rule, names: Names) -> Iterator[Problem]:
    """Every mistake of one rule."""
    yield from _groups(source, (*path, "groups"), rule.groups, names)
    yield from check_people(source, (*path, "audience"), rule.audience, names)
    if rule.mode is RuleMode.UNSPECIFIED:
        yield source.problem((*path, "mode"), "'unspecified' is no mode", "write observe, warn or enforce")
    if rule.when is not None:
        yield from check_when(source, (*path, "when"), rule.when, names)
    yield from _exceptions(source, path, rule, names)
    yield from _for_nobody(source, path, rule, names)
    yield from _itself(source, path, rule, names)


def _groups(source: Source, path: Path, refs: tuple[str, ...], names: Names) -> Iterator[Problem]:
    known = {
        *(group.name for group in names.groups),
        *(f"profile:{group.profile}" for group in names.groups if group.profile is not None),
        *(f"tag:{tag}" for group in names.groups for tag in group.tags),
    }
    for number, ref in enumerate(() if names.unsure_of("groups") else refs):
        if ref not in known:
            kind, _, rest = ref.rpartition(":")
            if kind == "profile" and rest in set(model.Profile):
                yield source.problem(
                    (*path, number),
                    f"no group of devices has the profile {rest!r}",
                    "give a group that profile, or leave it out here",
                )
            else:
                remedy = suggest(ref, sorted(known), "groups of the pack")
                yield source.problem((*path, number), f"there is no group {ref!r}", remedy)


def check_people(source: Source, path: Path, given: tuple[str, ...], names: Names) -> Iterator[Problem]:
    """Groups of people; a person by the register's id where there is a register."""
    for number, name in enumerate(() if names.unsure_of("people") else given):
        if name.startswith(PERSON):
            if not names.register:
                yield source.problem(
                    (*path, number),
                    f"{name!r} is an id of the register, and the pack has none",
                    "add 'people: {register: {file: ...}}', or name a group of people",
                )
        elif name not in names.audiences():
            remedy = suggest(name, names.audiences(), "groups of people")
            yield source.problem((*path, number), f"there is no group of people {name!r}", remedy)
        elif (
            name in names.people and is_empty(names.people[name]) and not names.people[name].empty_on_purpose
        ):
            yield source.problem(
                (*path, number),
                f"nobody is in the group {name!r}",
                "give it members, classes or years, or write 'empty_on_purpose: true' at the group",
            )


def is_empty(group: model.PeopleGroup) -> bool:
    return not (group.members or group.classes or group.years)


def check_when(source: Source, path: Path, when: model.When, names: Names) -> Iterator[Problem]:
    """Periods and places that there are."""
    known = sorted({*names.periods, *_WORDS_OF_PERIODS})
    for number, period in enumerate(() if names.unsure_of("school") else when.periods):
        if period not in known:
            remedy = suggest(period, known, "periods")
            yield source.problem((*path, "periods", number), f"the timetable has no {period!r}", remedy)
        elif period in _WORDS_OF_PERIODS and not names.periods:
            remedy = "add 'timetable:' to the school, or write 'school_hours: true' or 'times:'"
            yield source.problem((*path, "periods", number), "the school has no timetable", remedy)
    for number, place in enumerate(when.places):
        if place not in (Place.ON_SITE, Place.OFF_SITE):
            yield source.problem(
                (*path, "places", number), f"{place.value!r} is no place", "write on-site or off-site"
            )


def _exceptions(source: Source, path: Path, rule: model.Rule, names: Names) -> Iterator[Problem]:
    first: set[str] = set()
    for number, given in enumerate(rule.exceptions):
        at = (*path, "exceptions", number)
        if given.id in first:
            yield source.problem(
                (*at, "id"), f"the exception {given.id!r} is already there", "give it another name"
            )
        first.add(given.id)
        if given.until is None:
            yield source.problem(
                at, f"the exception {given.id!r} has no end", "add 'until:' with its last day, as 2027-07-20"
            )
        elif given.from_ is not None and given.until < given.from_:
            yield source.problem(at, f"the exception {given.id!r} ends before it begins", "swap the days")
        if not given.people and not given.groups:
            yield source.problem(
                at,
                f"the exception {given.id!r} is for everybody",
                "name people or groups, or change the rule's mode",
            )
        yield from _groups(source, (*at, "groups"), given.groups, names)
        yield from check_people(source, (*at, "people"), given.people, names)


def _for_nobody(source: Source, path: Path, rule: model.Rule, names: Names) -> Iterator[Problem]:
    """A rule whose people use none of its devices, as far as profiles tell."""
    people = audience_of(rule)
    if (
        names.unsure_of("pack", "groups", "people")
        or names.register
        or not people
        or (names.other_groups and not rule.groups)
    ):
        return
    matched = names.matched(rule.groups)
    for group in matched:
        if group.profile is None or not model.AUDIENCES_OF[group.profile].isdisjoint(people):
            return
    if matched:
        yield source.problem(
            (*path, "audience"),
            f"the rule {rule.id!r} can never apply: none of its groups of devices is for {', '.join(people)}",
            "change 'groups' or 'audience'; without a register people are told apart by the profile of the devices",
        )


def _itself(source: Source, path: Path, rule: model.Rule, names: Names) -> Iterator[Problem]:
    match rule:
        case model.ApplicationRule():
            yield from check_matches(source, (*path, "match"), rule.match, names)
            yield from check_matches(source, (*path, "unless"), rule.unless, names)
        case model.MediaRule(access=MediaAccess.UNSPECIFIED):
            remedy = "write allow, read-only, block or encrypted-only"
            yield source.problem((*path, "access"), "'unspecified' is no access", remedy)
        case model.SiteRule():
            yield from check_categories(source, (*path, "categories"), rule.categories, names)
            yield from check_categories(source, (*path, "allowed_categories"), rule.allowed_categories, names)
            if not rule.categories and not rule.sites:
                yield source.problem(
                    path, f"the rule {rule.id!r} names no site", "add 'categories:' or 'sites:'"
                )
        case model.BrowserRule():
            own = set(model.BrowserRule.model_fields) - set(model.Rule.model_fields)
            if not rule.model_fields_set & own:
                remedy = f"add one of: {', '.join(sorted(own))}"
                yield source.problem(path, f"the rule {rule.id!r} sets nothing", remedy)
        case model.NetworkRule(use=NetworkUse.UNSPECIFIED):
            yield source.problem((*path, "use"), "'unspecified' is no use", _all_of(NetworkUse))
        case model.PeripheralRule(kind=PeripheralKind.UNSPECIFIED):
            yield source.problem((*path, "kind"), "'unspecified' is no kind", _all_of(PeripheralKind))
        case _:
            pass


def check_matches(
    source: Source, path: Path, given: tuple[model.Match, ...], names: Names
) -> Iterator[Problem]:
    """Each entry says exactly one way, and a category that there is."""
    for number, match in enumerate(given):
        if match.ways() != 1:
            yield source.problem(
                (*path, number),
                f"{match.ways()} ways to recognise a program in one entry",
                f"write exactly one per entry: {', '.join(_keys(model.Match))}",
            )
        elif match.category is not None:
            yield from check_categories(source, (*path, number), (match.category,), names)


def check_categories(source: Source, path: Path, given: tuple[str, ...], names: Names) -> Iterator[Problem]:
    for number, name in enumerate(() if names.unsure_of("categories") else given):
        if name not in names.categories:
            remedy = suggest(name, sorted(names.categories), "categories")
            yield source.problem((*path, number), f"there is no category {name!r}", remedy)


def _keys(cls: type[model.Strict]) -> list[str]:
    return [info.alias or name for name, info in cls.model_fields.items()]


def _all_of(enum: type[NetworkUse | PeripheralKind]) -> str:
    return f"write one of: {', '.join(member.value for member in enum if member.value != 'unspecified')}"
