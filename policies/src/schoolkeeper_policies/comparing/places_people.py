"""Sites, the register's groups, and what may be granted beside the rules: compared."""

from __future__ import annotations

from collections.abc import Iterator

from schoolkeeper_policies.comparing.change import Aspect, Change, Direction, together
from schoolkeeper_policies.comparing.rules import change_of, unlike
from schoolkeeper_policies.comparing.sections import one_change
from schoolkeeper_proto.policy import GrantBound, GrantsSection, PeopleSection, Site, SitesSection


def compare_sites(group: str, old: SitesSection, new: SitesSection) -> Iterator[Change]:
    """How a device knows where it is decides which rules hold: always DIFFERENT, and safeguarding."""
    before = {site.name: site for site in old.sites}
    after = {site.name: site for site in new.sites}
    for name in sorted({*before, *after}):
        first, second = before.get(name), after.get(name)
        if first == second:
            continue
        if first is None or second is None:
            held = first or second
            assert held is not None
            yield one_change("sites", group, name, first is None, Direction.DIFFERENT, True, _site(held))
            continue
        why = "which rules hold hangs on where a device believes to be"
        aspect = Aspect(direction=Direction.DIFFERENT, before=_site(first), after=_site(second), why=why)
        yield change_of("sites", group, name, [aspect], True)


def _site(site: Site) -> str:
    marks = ", ".join(f"{mark.kind} {mark.hash.hex()[:8]}" for mark in site.marks)
    return f"{site.kinds_needed or 1} kind of: {marks}"


_NO_GROUP = "no group that the policy names"


def compare_people(
    group: str, old: PeopleSection | None, new: PeopleSection | None, *, ruled: frozenset[str] | None
) -> Iterator[Change]:
    """Accounts in the register. One that moves to other groups may escape a rule, so that counts for safeguarding.

    An account that was not known gets the stricter side of every rule: coming is no loosening that hides, leaving
    is none at all. ``ruled`` are the groups that rules of either policy name: between others no rule is escaped, only
    another agreement is asked for.
    """
    if old == new:
        return
    before, after = _groups(old), _groups(new)
    if before is None or after is None:
        direction, why = Direction.DIFFERENT, "the register is written in another way: it cannot be compared"
        aspect = Aspect(direction=direction, before="", after="", why=why)
        yield change_of("people", group, "", [aspect], True)
        return
    moves: dict[tuple[str | None, str | None], int] = {}
    for member in {*before, *after}:
        pair = before.get(member), after.get(member)
        if pair[0] != pair[1]:
            moves[pair] = moves.get(pair, 0) + 1
    for (was, now), count in sorted(moves.items(), key=lambda item: tuple(map(str, item[0]))):
        why, escapes = _move(was, now, ruled)
        words = f"{count} account{'s' if count != 1 else ''}"
        aspect = Aspect(
            direction=Direction.DIFFERENT,
            before="" if was is None else f"{words} in {was or _NO_GROUP}",
            after="" if now is None else f"{words} in {now or _NO_GROUP}",
            why=why,
        )
        yield change_of("people", group, f"{was or ''} > {now or ''}", [aspect], escapes)


def _move(was: str | None, now: str | None, ruled: frozenset[str] | None) -> tuple[str, bool]:
    """Why, and whether the accounts may escape a rule by it. None: the register does not hold them."""
    if was is None:
        return "they are new", False
    if now is None:
        return "they are gone", False
    if ruled is not None and set(was.split(", ")) & ruled == set(now.split(", ")) & ruled:
        return "they move to other groups, between which no rule tells", False
    return "they move to other groups", True


def _groups(section: PeopleSection | None) -> dict[bytes, str] | None:
    """Groups by member; None when two tables' members could not be compared (see ``_width``)."""
    if section is None:
        return {}
    width = section.member_bytes
    if width != 8:
        return None
    found = {}
    for people in section.sets:
        words = ", ".join(sorted(people.groups))
        for at in range(0, len(people.members), width):
            found[people.members[at : at + width]] = words
    return found


def compare_grants(group: str, old: GrantsSection | None, new: GrantsSection | None) -> Iterator[Change]:
    """What may be granted beside the rules: more of it, for longer, by more duties or by one person is weaker."""
    if old == new:
        return
    if (old is None) is not (new is None):
        direction, why = Direction.DIFFERENT, "the bounds of what may be granted come, or go, as a whole"
        shown = [", ".join(b.kind for b in side.bounds) if side is not None else "" for side in (old, new)]
        aspect = Aspect(direction=direction, before=shown[0], after=shown[1], why=why)
        yield change_of("grants", group, "", [aspect], True)
        return
    assert old is not None
    assert new is not None
    before, after = _bounds(old), _bounds(new)
    for key in sorted({*before, *after}):
        first, second = before.get(key), after.get(key)
        if first == second:
            continue
        name = key[0] + (f" {', '.join(key[1])}" if key[1] else "")
        if first is None or second is None:
            held = first or second
            assert held is not None
            direction = Direction.WEAKER if first is None else Direction.STRICTER
            yield one_change("grants", group, name, first is None, direction, True, _bound(held))
            continue
        direction = together(_bound_directions(first, second))
        why = "what may be granted, by whom, for how long"
        aspect = Aspect(direction=direction, before=_bound(first), after=_bound(second), why=why)
        yield change_of("grants", group, name, [aspect], True)


_Key = tuple[str, tuple[str, ...], int]


def _bounds(section: GrantsSection) -> dict[_Key, GrantBound]:
    found: dict[_Key, GrantBound] = {}
    for bound in section.bounds:
        number = sum(key[:2] == (bound.kind, bound.rule_ids) for key in found)
        found[bound.kind, bound.rule_ids, number] = bound
    return found


def _bound_directions(old: GrantBound, new: GrantBound) -> Iterator[Direction]:
    for name in unlike(old, new):
        match name:
            case "max_seconds":
                longer = (new.max_seconds or 1 << 62) > (old.max_seconds or 1 << 62)
                yield Direction.WEAKER if longer else Direction.STRICTER
            case "two_person":
                yield Direction.STRICTER if new.two_person else Direction.WEAKER
            case "time_zone" if not (old.console and new.console):
                pass  # the zone of hours that there are not
            case "console" if set(old.console) <= set(new.console):
                yield Direction.WEAKER
            case "console" if set(new.console) <= set(old.console):
                yield Direction.STRICTER
            case "duties" if old.duties and new.duties and set(old.duties) <= set(new.duties):
                yield Direction.WEAKER
            case "duties" if old.duties and new.duties and set(new.duties) <= set(old.duties):
                yield Direction.STRICTER
            case _:
                yield Direction.DIFFERENT


def _bound(bound: GrantBound) -> str:
    who = "two of" if bound.two_person else "one of"
    rules = ", ".join(bound.rule_ids) or "every rule that is not safeguarding"
    return f"{rules}, at most {bound.max_seconds} s, by {who} {', '.join(bound.duties) or 'any duty'}" + (
        "; in its hours by any member of staff on the console" if bound.console else ""
    )
