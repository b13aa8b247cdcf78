"""The policy as it holds while grants are in force: a bundle in, a bundle out. Pure.

``loosened`` and ``tightened`` change rules and nothing else; what remains is compiled and decided as ever, so that a
grant needs no engine of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Protocol, TypeVar, cast

from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.matching import STRICTNESS
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import Applicability, RuleMode, RuleText
from schoolkeeper_proto.wire import GrantKind

_Change = Callable[["Rule", "InForce", int], "Rule | None"]
_ORDER = (RuleMode.OBSERVE, RuleMode.WARN, RuleMode.ENFORCE)


class Rule(Protocol):
    """Any rule of any section."""

    @property
    def text(self) -> RuleText: ...

    @property
    def when(self) -> Applicability | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """One grant that holds now. ``rule_ids`` None: every rule; ``spared`` are those it cannot touch. An isolation and
    a lost device change no rule: the device acts on them apart; ``quiet``: it says nothing of it."""

    grant_id: bytes
    kind: GrantKind
    until_unix_ms: int
    rule_ids: tuple[str, ...] | None = None
    spared: frozenset[str] = frozenset()
    mode: RuleMode = RuleMode.OBSERVE
    applications: policy.ApplicationsSection | None = None
    browser: policy.BrowserSection | None = None
    quiet: bool = False

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
    for kind, change in (
        (GrantKind.OBSERVE, _observed),
        (GrantKind.LESSON, _opened),
        (GrantKind.EXCEPTION, _excepted),
    ):
        for grant in grants:
            if grant.kind is kind:
                bundle = _changed(bundle, grant, change)
                if kind is GrantKind.OBSERVE and grant.rule_ids is None:
                    bundle = _nothing_closed(bundle, grant.mode)
    for grant in sorted(grants, key=lambda one: one.grant_id):
        if grant.kind is GrantKind.EMERGENCY_BLOCK:
            bundle = _blocked(bundle, grant)
    return bundle


def _sections(bundle: OpenBundle) -> Iterator[policy.Section]:
    for part in fields(bundle):
        value = getattr(bundle, part.name)
        if isinstance(value, policy.Section):
            yield value


def _changed(bundle: OpenBundle, grant: InForce, change: _Change) -> OpenBundle:
    """Each rule that the grant concerns, replaced by what ``change`` makes of it; one that it makes None of is gone."""
    parts: dict[str, object] = {}
    for part in fields(bundle):
        section = getattr(bundle, part.name)
        if not isinstance(section, policy.Section):
            continue
        if hasattr(section, "text"):
            rule = cast(Rule, section)
            parts[part.name] = change(rule, grant, 0) if grant.concerns(rule.text.rule_id) else section
            continue
        parts[part.name] = _section(section, grant, change)
    return replace(bundle, **parts)  # type: ignore[arg-type]


def _section(section: policy.Section, grant: InForce, change: _Change) -> policy.Section:
    closed = STRICTNESS.get(str(getattr(section, "otherwise", "allow")), 0)
    lists: dict[str, object] = {}
    for part in fields(section):
        value = getattr(section, part.name)
        if isinstance(value, tuple) and value and hasattr(value[0], "text"):
            kept = (
                change(rule, grant, closed) if grant.concerns(rule.text.rule_id) else rule for rule in value
            )
            lists[part.name] = tuple(rule for rule in kept if rule is not None)
    return replace(section, **lists) if lists else section  # type: ignore[arg-type]


def _observed(rule: Rule, grant: InForce, closed: int) -> Rule:
    """The milder of the rule's own mode and the grant's. One that opens goes on to open: on trial it would not."""
    if _opens(rule, closed):
        decision = getattr(rule, "decision", None)
        if decision is DecisionKind.WARN and grant.mode is RuleMode.OBSERVE:
            return _with(rule, decision=DecisionKind.OBSERVE)
        return rule
    own = rule.text.mode if rule.text.mode in _ORDER else RuleMode.ENFORCE
    mode = min(own, grant.mode, key=_ORDER.index)
    return _with(rule, text=replace(rule.text, mode=mode))


def _nothing_closed(bundle: OpenBundle, mode: RuleMode) -> OpenBundle:
    """While every rule is observed, what no rule names is observed, too."""
    milder = DecisionKind.WARN if mode is RuleMode.WARN else DecisionKind.OBSERVE
    parts: dict[str, object] = {}
    for part in fields(bundle):
        section = getattr(bundle, part.name)
        otherwise = getattr(section, "otherwise", None)
        if otherwise is not None and STRICTNESS.get(str(otherwise), 0) > STRICTNESS[str(milder)]:
            parts[part.name] = replace(section, otherwise=milder)
    return replace(bundle, **parts)  # type: ignore[arg-type]


def _opened(rule: Rule, _grant: InForce, closed: int) -> Rule | None:
    """A rule that opens at certain times or to certain people opens now; one that refuses is lifted."""
    if not _opens(rule, closed):
        return None
    when = rule.when
    if when is not None:
        when = replace(when, times=(), days=(), user_groups=())
    return _allowing(_with(rule, when=when))


def _excepted(rule: Rule, _grant: InForce, closed: int) -> Rule | None:
    return _allowing(_with(rule, when=None)) if _opens(rule, closed) else None


def _opens(rule: Rule, closed: int) -> bool:
    """Whether the rule is milder than what holds without it (``closed``), so that it lets something through."""
    decision, access = getattr(rule, "decision", None), getattr(rule, "access", None)
    if decision is not None:
        return decision is DecisionKind.ALLOW or STRICTNESS.get(str(decision), 0) < closed
    if access is not None:
        return access is policy.MediaAccess.ALLOW or (
            closed >= STRICTNESS["read-only"] and access is not policy.MediaAccess.BLOCK
        )
    return False


def _allowing(rule: Rule) -> Rule:
    """Without reserve: a warning beside another rule's allowance would be stricter than before."""
    if hasattr(rule, "decision"):
        return _with(rule, decision=DecisionKind.ALLOW)
    return _with(rule, access=policy.MediaAccess.ALLOW) if hasattr(rule, "access") else rule


def _blocked(bundle: OpenBundle, grant: InForce) -> OpenBundle:
    """The grant's rules beside those in force: the strictest of all that concern a thing holds."""
    programs, sites = bundle.applications, bundle.browser
    if grant.applications is not None:
        more = (_enforced(rule) for rule in grant.applications.rules)
        programs = replace(programs, rules=(*programs.rules, *more))
    if grant.browser is not None:
        sites = replace(sites, rules=(*sites.rules, *(_enforced(rule) for rule in grant.browser.rules)))
    return replace(bundle, applications=programs, browser=sites)


_AnyRule = TypeVar("_AnyRule", policy.ApplicationRule, policy.SiteRule)


def _enforced(rule: _AnyRule) -> _AnyRule:
    return replace(rule, text=replace(rule.text, mode=RuleMode.ENFORCE), when=None)


def _with(rule: Rule, **changes: object) -> Rule:
    return replace(rule, **changes)  # type: ignore[type-var]
