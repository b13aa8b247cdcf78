"""Rules that can never decide: always when they would, a stricter one does. Asked of the compiled rules.

Stricter wins on a device, whatever the order of rules; so a weaker rule that lies wholly inside a stricter one is dead,
and its author meant something else. Two rules of the pack that say the same about the same are one too many. Rules made
from the school's tables may lie inside each other: that is said as advice, since the tables are the school's own words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from schoolkeeper_policies import model
from schoolkeeper_policies.comparing.ranks import asked_of
from schoolkeeper_policies.comparing.regions import Rule, rule_extent
from schoolkeeper_policies.lowering import sections
from schoolkeeper_proto import policy
from schoolkeeper_proto.matching import mode_of
from schoolkeeper_proto.policy import MatchBy

_NO_KEY = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """The rule ``weaker`` of a section never decides, because ``stronger`` does; ``same``: both say the same."""

    section: str
    weaker: str
    stronger: str
    same: bool


def covered_rules(pack: model.Pack) -> tuple[Covered, ...]:
    """Every rule that is covered on all devices that have it, in order; a rule is named once."""
    present: dict[tuple[str, str], int] = defaultdict(int)
    covered: dict[Covered, int] = defaultdict(int)
    for group in _groups(pack):
        for name, rules in _by_section(pack, group):
            for rule in rules:
                present[name, rule.text.rule_id] += 1
            for pair in _pairs(name, rules):
                covered[pair] += 1
    whole = {pair for pair, times in covered.items() if times == present[pair.section, pair.weaker]}
    found: dict[tuple[str, str], Covered] = {}
    for pair in sorted(whole, key=lambda one: (one.section, one.weaker, one.same, one.stronger)):
        turned = Covered(section=pair.section, weaker=pair.stronger, stronger=pair.weaker, same=pair.same)
        if pair.same and turned in whole and pair.weaker < pair.stronger:
            continue  # each covers the other: the later id is named
        found.setdefault((pair.section, pair.weaker), pair)
    return tuple(found.values())


def _groups(pack: model.Pack) -> list[str]:
    """Every group of devices that can have a bundle; without a name the one that the pack does not name."""
    named = [group.name for group in pack.groups]
    return named if named and pack.about.other_groups == "refuse" else [*named, ""]


def _by_section(pack: model.Pack, group: str) -> Iterator[tuple[str, tuple[Rule, ...]]]:
    for section in sections(pack, group, _NO_KEY):
        match section:
            case policy.ApplicationsSection():
                yield "applications", section.rules
            case policy.MediaSection():
                yield "media", section.rules
            case policy.BrowserSection():
                yield "sites", section.rules
            case policy.NetworkSection():
                yield "network", section.rules
            case policy.PeripheralsSection():
                yield "peripherals", section.rules
            case _:
                pass


def _pairs(section: str, rules: tuple[Rule, ...]) -> Iterator[Covered]:
    enforced = [rule for rule in rules if mode_of(rule.text) == "enforce"]
    index = _Index(enforced)
    for rule in enforced:
        for other in index.near(rule):
            if other is rule or not _at_least_as_strict(other, rule) or not rule_extent(rule, other).covers:
                continue
            yield Covered(
                section=section,
                weaker=rule.text.rule_id,
                stronger=other.text.rule_id,
                same=asked_of(other) == asked_of(rule),
            )


def _at_least_as_strict(one: Rule, other: Rule) -> bool:
    return all(mine >= theirs for mine, theirs in zip(asked_of(one), asked_of(other), strict=True))


class _Index:
    """Which rules could cover another: those that share a thing with it, and those that name no single thing."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by_key: dict[str, list[Rule]] = defaultdict(list)
        self._broad: list[Rule] = []
        for rule in rules:
            keys = _keys(rule)
            if keys is None:
                self._broad.append(rule)
            for key in keys or ():
                self._by_key[key].append(rule)

    def near(self, rule: Rule) -> list[Rule]:
        """Whoever covers a rule covers its first thing."""
        first = _first(rule)
        return [*self._by_key.get(first, ()), *self._broad] if first is not None else self._all()

    def _all(self) -> list[Rule]:
        return [*{id(rule): rule for rules in self._by_key.values() for rule in rules}.values(), *self._broad]


def _keys(rule: Rule) -> frozenset[str] | None:
    """Things a rule names exactly; None for one that is about more than can be listed."""
    match rule:
        case policy.ApplicationRule():
            if any(match.by is MatchBy.PATH_PATTERN for match in rule.matches):
                return None
            return frozenset(f"{match.by}:{match.text}" for match in rule.matches)
        case policy.SiteRule():
            return None if rule.sites else frozenset(f"category:{name}" for name in rule.categories)
        case policy.NetworkRule():
            return frozenset({str(rule.use)})
        case policy.PeripheralRule():
            return frozenset({str(rule.kind)})
        case _:
            return None


def _first(rule: Rule) -> str | None:
    if isinstance(rule, policy.ApplicationRule):
        match = rule.matches[0] if rule.matches else None
        # A path may be covered by its file's name: then the names decide who is near.
        if match is None or match.by in (MatchBy.PATH, MatchBy.PATH_PATTERN):
            return None
        return f"{match.by}:{match.text}"
    keys = _keys(rule)
    return min(keys) if keys else None
