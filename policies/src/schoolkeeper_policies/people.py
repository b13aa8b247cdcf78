"""The bundle's section ``people``: from an account's pseudonym to the groups that rules of this bundle name.

A group that no rule names is not in it, nor is anybody's name: a device learns as little as it needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from schoolkeeper_policies import model
from schoolkeeper_policies.applies import Target
from schoolkeeper_policies.registers import Person
from schoolkeeper_proto import policy
from schoolkeeper_proto.people import MEMBER_BYTES, PREFIX, account_pseudonym

_STAGES = frozenset(model.KeyStage)


def named_groups(
    applicabilities: Iterable[policy.Applicability | None],
) -> tuple[frozenset[str], frozenset[str]]:
    """Groups of people that rules name: (in their conditions, in their exceptions), without the prefix."""
    conditions: set[str] = set()
    exceptions: set[str] = set()
    for when in applicabilities:
        if when is not None:
            conditions.update(when.user_groups)
            exceptions.update(name for one in when.exceptions for name in one.user_groups)
    return _people(conditions), _people(exceptions)


def _people(names: set[str]) -> frozenset[str]:
    return frozenset(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))


def people_section(target: Target, named: frozenset[str], today: date | None) -> policy.PeopleSection | None:
    """None without a register, or where no rule names a group. Who is not here on ``today`` is not in it."""
    if target.register is None or not named:
        return None
    sets: dict[tuple[str, ...], list[bytes]] = {}
    treated = _treated(target)
    for person in target.register.persons:
        if today is not None and not person.here_on(today):
            continue
        pseudonym = account_pseudonym(target.pseudonym_key, person.account)[:MEMBER_BYTES]
        groups = groups_of(person, target.pack, treated.get(pseudonym.hex()) or treated.get(person.id))
        sets.setdefault(tuple(sorted(groups & named)), []).append(pseudonym)
    for shared in target.pack.people.shared if target.pack.people is not None else ():
        groups = frozenset({"pupils", *((str(shared.key_stage),) if shared.key_stage is not None else ())})
        pseudonym = account_pseudonym(target.pseudonym_key, shared.account)[:MEMBER_BYTES]
        sets.setdefault(tuple(sorted(groups & named)), []).append(pseudonym)
    return policy.PeopleSection(
        member_bytes=MEMBER_BYTES,
        sets=tuple(
            policy.PeopleSet(groups=groups, members=b"".join(sorted(set(members))))
            for groups, members in sorted(sets.items())
        ),
    )


def _treated(target: Target) -> dict[str, str]:
    """Person's id or pseudonym -> the group whose rules hold instead of the key stage's."""
    return {
        override.pseudonym or override.person or "": override.treat_as
        for override in target.pack.overrides
        if override.treat_as is not None
    }


def groups_of(person: Person, pack: model.Pack, treat_as: str | None = None) -> frozenset[str]:
    """Every group of people that a person is in."""
    found: set[str] = {person.kind}
    if person.key_stage is not None:
        found.add(str(person.key_stage))
    if treat_as is not None:
        found = {name for name in found if name not in _STAGES} | {treat_as}
    for group in pack.people.groups if pack.people is not None else ():
        if person.id in group.members or person.class_ in group.classes or _year_in(person, group):
            found.add(group.name)
    return frozenset(found)


def _year_in(person: Person, group: model.PeopleGroup) -> bool:
    return bool(person.year) and person.year in group.years
