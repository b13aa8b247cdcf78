"""The policy as it holds while grants are in force: a bundle in, a bundle out. Pure.

``loosened`` and ``tightened`` change rules and nothing else; what remains is compiled and decided as ever, so that a
grant needs no engine of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Protocol, cast

from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import Applicability, RuleMode, RuleText
from schoolkeeper_proto.wire import GrantKind

_ORDER = (RuleMode.OBSERVE, RuleMode.WARN, RuleMode.ENFORCE)


class Rule(Protocol):
    """Any rule of any section."""

    @property
    def text(self) -> RuleText: ...

    @property
    def when(self) -> Applicability | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """One grant that holds now. ``rule_ids`` None: every rule; ``spared`` are those it cannot touch."""

    grant_id: bytes
    kind: GrantKind
    until_unix_ms: int
    rule_ids: tuple[str, ...] | None = None
    spared: frozenset[str] = frozenset()
    mode: RuleMode = RuleMode.OBSERVE
    applications: policy.ApplicationsSection | None = None

    def concerns(self, rule_id: str) -> bool:
        return rule_id not in self.spared and (self.rule_ids is None or rule_id in self.rule_ids)


def rules_of(bundle: OpenBundle) -> Iterator[Rule]:
    """Every rule of every section, whatever it is about."""
    for section in _sections(bundle):
        if hasattr(section, "text"):
            yield cast(Rule, section)
        for part in fields(cast(policy.ScreenSection, section)):
            value = getattr(section, part.name)
            if isinstance(value, tuple):
                yield from (cast(Rule, item) for item in value if hasattr(item, "text"))


def with_grants(bundle: OpenBundle, grants: tuple[InForce, ...]) -> OpenBundle:
    """The bundle as these grants leave it. The order of grants makes no difference."""
    for grant in grants:
        if grant.kind is GrantKind.OBSERVE:
            bundle = _changed(bundle, lambda rule, g=grant: _observed(rule, g))  # type: ignore[misc]
    for grant in grants:
        if grant.kind is GrantKind.LESSON:
            bundle = _changed(bundle, lambda rule, g=grant: _opened(rule, g))  # type: ignore[misc]
    for grant in grants:
        if grant.kind is GrantKind.EXCEPTION:
            bundle = _changed(bundle, lambda rule, g=grant: _excepted(rule, g))  # type: ignore[misc]
    for grant in sorted(grants, key=lambda one: one.grant_id):
        if grant.kind is GrantKind.EMERGENCY_BLOCK and grant.applications is not None:
            bundle = _blocked(bundle, grant.applications)
    return bundle


def _sections(bundle: OpenBundle) -> Iterator[policy.Section]:
    for part in fields(bundle):
        value = getattr(bundle, part.name)
        if isinstance(value, policy.Section):
            yield value


def _changed(bundle: OpenBundle, change: Callable[[Rule], Rule | None]) -> OpenBundle:
    """Each rule replaced by what ``change`` makes of it; one that it makes None of is gone."""
    parts: dict[str, object] = {}
    for part in fields(bundle):
        section = getattr(bundle, part.name)
        if not isinstance(section, policy.Section):
            continue
        if hasattr(section, "text"):
            parts[part.name] = change(cast(Rule, section))
            continue
        parts[part.name] = _section(section, change)
    return replace(bundle, **parts)  # type: ignore[arg-type]


def _section(section: policy.Section, change: Callable[[Rule], Rule | None]) -> policy.Section:
    lists: dict[str, object] = {}
    for part in fields(section):
        value = getattr(section, part.name)
        if isinstance(value, tuple) and value and hasattr(value[0], "text"):
            kept = (change(rule) for rule in value)
            lists[part.name] = tuple(rule for rule in kept if rule is not None)
    return replace(section, **lists) if lists else section  # type: ignore[arg-type]


def _observed(rule: Rule, grant: InForce) -> Rule:
    """The milder of the rule's own mode and the grant's."""
    if not grant.concerns(rule.text.rule_id):
        return rule
    own = rule.text.mode if rule.text.mode in _ORDER else RuleMode.ENFORCE
    mode = min(own, grant.mode, key=_ORDER.index)
    return _with(rule, text=replace(rule.text, mode=mode))


def _opened(rule: Rule, grant: InForce) -> Rule | None:
    """A rule that allows at certain times or to certain people allows now; one that refuses is lifted."""
    if not grant.concerns(rule.text.rule_id):
        return rule
    if not _allows(rule):
        return None
    return (
        rule if rule.when is None else _with(rule, when=replace(rule.when, times=(), days=(), user_groups=()))
    )


def _excepted(rule: Rule, grant: InForce) -> Rule | None:
    if not grant.concerns(rule.text.rule_id):
        return rule
    return _with(rule, when=None) if _allows(rule) else None


def _allows(rule: Rule) -> bool:
    return getattr(rule, "decision", None) is DecisionKind.ALLOW or (
        getattr(rule, "access", None) is policy.MediaAccess.ALLOW
    )


def _blocked(bundle: OpenBundle, extra: policy.ApplicationsSection) -> OpenBundle:
    held = bundle.applications
    rules = tuple(
        replace(rule, text=replace(rule.text, mode=RuleMode.ENFORCE), when=None) for rule in extra.rules
    )
    return replace(bundle, applications=replace(held, rules=(*held.rules, *rules)))


def _with(rule: Rule, **changes: object) -> Rule:
    return replace(rule, **changes)  # type: ignore[type-var]
