"""Two lists of rules, compared rule by rule by their id.

A rule that came is judged against what ``otherwise`` gave before, one that went against what it gives now: taken in
that order, no step on the way hides a loosening.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from schoolkeeper_policies.comparing.change import Aspect, Change, Direction, together
from schoolkeeper_policies.comparing.ranks import (
    added,
    asked_of,
    base_of,
    changed,
    level_of,
    lows_of,
    weights_of,
)
from schoolkeeper_policies.comparing.regions import Extent, Rule, rule_extent
from schoolkeeper_policies.comparing.words import entry_said, said
from schoolkeeper_proto.matching import mode_of
from schoolkeeper_proto.model import DecisionKind, Severity
from schoolkeeper_proto.policy import NoticeSection, RuleText
from schoolkeeper_proto.wording import few

_WORDS = frozenset({"description", "why", "resolution", "source"})
_WEIGHED = frozenset(
    {"when", "decision", "matches", "access", "plain", "unknown", "serials", "vendor_products", "buses"}
    | {"categories", "sites", "use", "kind", "allowed", "unless"}
)
_NAMES = frozenset({"identity", "of_categories"})
_SEVERITIES = list(Severity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A section's rules and what everything else gets."""

    rules: tuple[Rule, ...]
    otherwise: DecisionKind = DecisionKind.ALLOW
    notice: NoticeSection = dataclasses.field(default_factory=NoticeSection)
    """What categories are called."""


def compare_rules(section: str, group: str, before: Rules, after: Rules) -> Iterator[Change]:
    """What changed in ``otherwise`` and in each rule of the section."""
    if before.otherwise != after.otherwise:
        yield _otherwise(section, group, before, after)
    old, new = _by_id(before.rules), _by_id(after.rules)
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            yield _Pair(section, group, key[0], old.get(key), new.get(key), (before, after)).change()


def unlike(old: Any, new: Any) -> set[str]:
    """The names of fields in which two values of one class differ."""
    return {
        field.name
        for field in dataclasses.fields(old)
        if getattr(old, field.name) != getattr(new, field.name)
    }


def _by_id(rules: Iterable[Rule]) -> dict[tuple[str, int], Rule]:
    """By id; a second rule of the same id gets a number, so that none is lost."""
    found: dict[tuple[str, int], Rule] = {}
    for rule in rules:
        found[next((rule.text.rule_id, n) for n in count() if (rule.text.rule_id, n) not in found)] = rule
    return found


def _otherwise(section: str, group: str, before: Rules, after: Rules) -> Change:
    old, new = level_of(str(before.otherwise)), level_of(str(after.otherwise))
    direction = Direction.STRICTER if new > old else Direction.WEAKER
    if old == new or _turns(before, after):
        direction = Direction.DIFFERENT
    return Change(
        group=group,
        section=section,
        rule_id="",
        what="changed",
        direction=direction,
        # It holds for everything that no rule names, and so for what a safeguarding rule might be about.
        safeguarding=True,
        before=str(before.otherwise),
        after=str(after.otherwise),
        why="what everything else gets",
    )


def _turns(before: Rules, after: Rules) -> bool:
    """Whether a rule whose place or person cannot be told may cease to hold, and leave its events to a weaker one.

    Such a rule holds while it is stricter than ``otherwise``; when that rises above it, it does not.
    """
    rules = (*before.rules, *after.rules)
    for rule in rules:
        unsure = rule.when is not None and (rule.when.places or rule.when.user_groups)
        bases = base_of(rule, before.otherwise), base_of(rule, after.otherwise)
        for number, asked in enumerate(asked_of(rule)):
            weaker = any(
                asked_of(other)[number] < asked for other in rules if mode_of(other.text) == "enforce"
            )
            if unsure and weaker and min(bases) < asked <= max(bases):
                return True
    return False


def _came(direction: Direction) -> str:
    return {
        Direction.STRICTER: "a rule that limits more came",
        Direction.WEAKER: "a rule that allows more than everything else gets came",
        Direction.DIFFERENT: "a rule came that limits some more and some less",
        Direction.WORDS: "a rule came that changes no decision",
    }[direction]


def _went(direction: Direction) -> str:
    return {
        Direction.STRICTER: "a rule that allowed more than everything else gets is gone",
        Direction.WEAKER: "a rule that limited is gone",
        Direction.DIFFERENT: "a rule is gone that limited some more and some less",
        Direction.WORDS: "a rule is gone that changed no decision",
    }[direction]


class _Pair:
    """One rule before and after, among the others of both policies."""

    def __init__(
        self,
        section: str,
        group: str,
        rule_id: str,
        old: Rule | None,
        new: Rule | None,
        sides: tuple[Rules, Rules],
    ) -> None:
        self._section, self._group, self._id = section, group, rule_id
        self._old, self._new = old, new
        self._was, self._now = sides[0].otherwise, sides[1].otherwise
        self._notices = sides[0].notice, sides[1].notice
        everything = (*sides[0].rules, *sides[1].rules)
        one = old or new
        assert one is not None
        width = len(asked_of(one))
        # Where ``otherwise`` changes too, the two versions are weighed against each other like strangers.
        own = (old, new) if self._was == self._now else ()
        strangers = [rule for rule in everything if all(rule is not mine for mine in own)]
        self._lows_old = lows_of([r for r in strangers if r is not old], (self._was, self._now), width)
        self._lows_new = lows_of([r for r in strangers if r is not new], (self._was, self._now), width)

    def change(self) -> Change:
        if self._old is not None and self._new is not None:
            return self._changed(self._old, self._new)
        if self._new is not None:
            direction = together(self._coming(self._new))
            return self._one("added", direction, self._new, _came(direction))
        assert self._old is not None
        direction = together(self._going(self._old))
        return self._one("removed", direction, self._old, _went(direction))

    def _coming(self, rule: Rule) -> Iterator[Direction]:
        return (added(weight) for weight in weights_of(rule, self._was, self._lows_new))

    def _going(self, rule: Rule) -> Iterator[Direction]:
        return (added(weight).reversed for weight in weights_of(rule, self._now, self._lows_old))

    def _one(self, what: Literal["added", "removed"], direction: Direction, rule: Rule, why: str) -> Change:
        text = said(rule, self._notices[rule is self._new])
        return Change(
            group=self._group,
            section=self._section,
            rule_id=self._id,
            what=what,
            direction=direction,
            safeguarding=rule.text.safeguarding,
            before=text if what == "removed" else "",
            after=text if what == "added" else "",
            why=why,
        )

    def _changed(self, old: Rule, new: Rule) -> Change:
        aspects = [*self._aspects(old, new), *text_aspects(old.text, new.text)]
        guarded = old.text.safeguarding or new.text.safeguarding
        return change_of(self._section, self._group, self._id, aspects, guarded)

    def _aspects(self, old: Rule, new: Rule) -> Iterator[Aspect]:
        names = unlike(old, new) - {"text"}
        for name in sorted(names - _WEIGHED):
            direction = Direction.WORDS if name in _NAMES else Direction.DIFFERENT
            yield _aspect(direction, name, getattr(old, name), getattr(new, name), f"{name} changed")
        weighed = sorted(names & _WEIGHED)
        if weighed or old.text.mode != new.text.mode:
            extent = rule_extent(old, new)
            direction = together(self._directions(old, new, extent))
            why = _because(weighed, old, new, extent)
            before, after = said(old, self._notices[0]), said(new, self._notices[1])
            yield Aspect(direction=direction, before=before, after=after, why=why)

    def _directions(self, old: Rule, new: Rule, extent: Extent) -> Iterator[Direction]:
        if self._was == self._now:
            first = weights_of(old, self._was, self._lows_old)
            second = weights_of(new, self._was, self._lows_new)
            for one, other in zip(first, second, strict=True):
                yield changed(one, other, extent)
            return
        # The rule and what everything else gets changed at once: as if it went, and another came.
        yield from self._going(old)
        yield from self._coming(new)


def _because(weighed: list[str], old: Rule, new: Rule, extent: Extent) -> str:
    parts = [name.replace("_", "-") for name in weighed if name != "when"]
    if old.text.mode != new.text.mode:
        parts.append("mode")
    if "when" in weighed:
        parts.append("when it holds")
    reach = "" if extent is Extent.SAME else f"; it is about {extent.value}"
    return f"changed: {', '.join(parts)}{reach}" + "".join(_listed(weighed, old, new))


def _listed(weighed: list[str], old: Rule, new: Rule) -> Iterator[str]:
    """What came to a list and what left it: a rule's own line shows only its first entries."""
    for name in weighed:
        before, after = getattr(old, name), getattr(new, name)
        if name != "when" and isinstance(before, tuple) and isinstance(after, tuple):
            for word, entries in (("new", set(after) - set(before)), ("gone", set(before) - set(after))):
                if entries:
                    yield f"; {word}: {few(sorted(map(entry_said, entries)))}"


def change_of(section: str, group: str, rule_id: str, aspects: list[Aspect], is_safeguarding: bool) -> Change:
    """One change of everything in which the two versions differ; what matters is named first."""
    ordered = sorted(aspects, key=lambda aspect: aspect.direction is Direction.WORDS)
    return Change(
        group=group,
        section=section,
        rule_id=rule_id,
        what="changed",
        direction=together(aspect.direction for aspect in aspects),
        safeguarding=is_safeguarding,
        before="; ".join(aspect.before for aspect in ordered),
        after="; ".join(aspect.after for aspect in ordered),
        why="; ".join(aspect.why for aspect in ordered),
    )


def text_aspects(old: RuleText, new: RuleText) -> Iterator[Aspect]:
    """What a rule says about itself. Its mode is weighed with the rule."""
    for field in dataclasses.fields(RuleText):
        name = field.name
        first, second = getattr(old, name), getattr(new, name)
        if first == second or name in ("rule_id", "mode"):
            continue
        if name in _WORDS:
            yield _aspect(Direction.WORDS, name, first, second, f"its {name} reads otherwise")
        elif name == "severity":
            grew = _SEVERITIES.index(second) > _SEVERITIES.index(first)
            direction = Direction.STRICTER if grew else Direction.WEAKER
            yield _aspect(
                direction, name, first, second, f"what it raises is {'more' if grew else 'less'} urgent"
            )
        elif name == "safeguarding":
            direction = Direction.STRICTER if second else Direction.WEAKER
            why = "it is now a safeguarding rule" if second else "it is no safeguarding rule any more"
            yield _aspect(direction, name, first, second, why)
        else:
            yield _aspect(Direction.DIFFERENT, name, first, second, f"its {name} changed")


def _aspect(direction: Direction, name: str, before: object, after: object, why: str) -> Aspect:
    return Aspect(
        direction=direction, before=f"{name} {_short(before)}", after=f"{name} {_short(after)}", why=why
    )


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return repr(text if len(text) <= 120 else text[:119] + "…")
