"""Every name that the files of a pack define, gathered once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from schoolkeeper_policies import model
from schoolkeeper_policies.applies import names_group
from schoolkeeper_policies.categories import shipped_names
from schoolkeeper_policies.matrices import rule_id
from schoolkeeper_policies.source import Source

File = tuple[Source, model.PackFile]
RULE_PARTS = ("applications", "media", "screen", "sites", "browser", "network", "peripherals")
"""Where rules stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """``rules`` holds the ids of rules in the files, ``made`` those made from matrices."""

    groups: tuple[model.Group, ...]
    people: dict[str, model.PeopleGroup]
    periods: frozenset[str]
    categories: frozenset[str]
    rules: frozenset[str]
    made: frozenset[str]
    register: bool
    sites: bool
    other_groups: bool
    language: Literal["en", "cy"]
    """Of the notice."""
    lost: frozenset[str] = frozenset()
    """Parts of the pack that could not be read whole: of a name in them it cannot be said that it leads nowhere."""

    def unsure_of(self, *parts: str) -> bool:
        """Whether any of these parts of the pack could not be read whole."""
        return not self.lost.isdisjoint(parts)

    def audiences(self) -> list[str]:
        """Names of groups of people that rules can give."""
        return sorted({*model.BUILT_IN, *self.people, model.EVERYBODY})

    def matched(self, refs: tuple[str, ...]) -> tuple[model.Group, ...]:
        """The groups of devices that a rule's references mean."""
        return tuple(group for group in self.groups if names_group(refs, group.name, group))


def names_of(
    files: Iterable[File], rules: Iterable[model.Rule], *, lost: frozenset[str] = frozenset()
) -> Names:
    held = [file for _, file in files]
    people = [file.people for file in held if file.people is not None]
    schools = [file.school for file in held if file.school is not None]
    abouts = [file.pack for file in held if file.pack is not None]
    made = {
        rule_id(matrix, row, audience)
        for file in held
        for matrix in file.matrices
        for row in matrix.rows
        for audience in row.answers
    }
    return Names(
        groups=tuple(group for file in held for group in file.groups),
        people={group.name: group for one in people for group in one.groups},
        periods=frozenset(period.name for school in schools for period in school.timetable),
        categories=frozenset({*shipped_names(), *(one.name for file in held for one in file.categories)}),
        rules=frozenset(rule.id for rule in rules),
        made=frozenset(made),
        register=any(one.register_ is not None for one in people),
        sites=any(school.sites for school in schools),
        other_groups=any(about.other_groups == "rules-for-all" for about in abouts),
        language=next((file.notice.language for file in held if file.notice is not None), "en"),
        lost=lost,
    )
