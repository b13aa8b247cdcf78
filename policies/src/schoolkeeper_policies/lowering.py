"""A pack's rules as a device reads them: the sections of one group's bundle. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from typing import TypeVar

from schoolkeeper_policies import model
from schoolkeeper_policies.applies import (
    Target,
    applicability,
    concerns,
    lifted_rules,
    school_hours,
    window_of,
)
from schoolkeeper_policies.matrices import expand
from schoolkeeper_policies.people import named_groups, people_section
from schoolkeeper_policies.registers import Register
from schoolkeeper_policies.telling import AGREEING, agreement_section, notice_section
from schoolkeeper_proto import mandatory, policy
from schoolkeeper_proto.marks import mark_hash
from schoolkeeper_proto.model import DecisionKind, Posture, SealingScheme
from schoolkeeper_proto.posture import Check

PEOPLE_CAPABILITY = "people/1"
"""Asked of devices whose rules name groups of people: one without it would leave such a rule out."""
R = TypeVar("R", bound=model.Rule)


def sections(
    pack: model.Pack,
    group: str,
    pseudonym_key: bytes,
    *,
    register: Register | None = None,
    today: date | None = None,
) -> tuple[policy.Section, ...]:
    """What the bundle of ``group`` holds, in the order of the container.

    Without ``register`` there is no section ``people``. ``today`` leaves out of it who has not come or has left.
    """
    target = Target(pack=pack, group=group, pseudonym_key=pseudonym_key, register=register)
    target = replace(target, lifted=lifted_rules(target))
    made = expand(pack)
    held: list[policy.Section] = [
        policy.ApplicationsSection(
            rules=tuple(
                _application(rule, target) for rule in _of((*pack.applications, *made.applications), target)
            ),
            otherwise=DecisionKind.ALLOW,
        ),
        policy.MediaSection(
            rules=tuple(_medium(rule, target) for rule in _of(pack.media, target)),
            otherwise=DecisionKind.ALLOW,
        ),
        *(_screen(rule, target) for rule in _of((pack.screen,) if pack.screen is not None else (), target)),
        policy.PostureSection(checks=_checks(pack)),
        _collection(pack, pseudonym_key),
        replace(notice_section(pack.notice, pack.categories), someone_looks=school_hours(pack.school)),
        *_optional(target, (*pack.sites, *made.sites), (*pack.grants, *made.grants)),
    ]
    conditions, exceptions = named_groups(conditions_of(held))
    agreeing = AGREEING if pack.agreement is not None else frozenset()
    people = people_section(target, conditions | exceptions | agreeing, today)
    return (*held, people) if people is not None else tuple(held)


def capabilities(held: tuple[policy.Section, ...]) -> tuple[str, ...]:
    """What a device must be able to do so that no rule is weaker on it than it was meant."""
    conditions, _ = named_groups(conditions_of(held))
    return (PEOPLE_CAPABILITY,) if conditions else ()


def conditions_of(held: Iterable[policy.Section]) -> Iterator[policy.Applicability | None]:
    """The applicability of every rule in the sections."""
    for section in held:
        match section:
            case policy.ScreenSection():
                yield section.when
            case policy.BrowserSection():
                yield from (rule.when for rule in section.rules)
                yield from (setting.when for setting in section.settings)
            case policy.ApplicationsSection():
                yield from (rule.when for rule in section.rules)
            case policy.MediaSection():
                yield from (rule.when for rule in section.rules)
            case policy.NetworkSection():
                yield from (rule.when for rule in section.rules)
            case policy.PeripheralsSection():
                yield from (rule.when for rule in section.rules)
            case _:
                pass


def _of(rules: Iterable[R], target: Target) -> Iterator[R]:
    return (rule for rule in rules if concerns(rule, target))


def _optional(
    target: Target, sites: tuple[model.SiteRule, ...], grants: tuple[model.GrantBound, ...]
) -> Iterator[policy.Section]:
    """The sections that a pack may go without, where it says anything for them."""
    pack = target.pack
    if pack.school.sites:
        yield _sites(pack.school, target.pseudonym_key)
    rules, settings = tuple(_of(sites, target)), tuple(_of(pack.browser, target))
    if rules or settings:
        yield _browser(rules, settings, target)
    if network := tuple(_network(rule, target) for rule in _of(pack.network, target)):
        yield policy.NetworkSection(rules=network)
    if peripherals := tuple(_peripheral(rule, target) for rule in _of(pack.peripherals, target)):
        yield policy.PeripheralsSection(rules=peripherals)
    if grants:
        yield policy.GrantsSection(bounds=tuple(_bound(bound, pack.school) for bound in grants))
    if pack.agreement is not None:
        yield agreement_section(pack.agreement, target)


def _text(rule: model.Rule) -> policy.RuleText:
    return policy.RuleText(
        rule_id=rule.id,
        description=rule.description,
        why=rule.why,
        resolution=rule.resolution,
        source=rule.source,
        mode=rule.mode,
        severity=rule.severity,
        safeguarding=rule.safeguarding,
    )


def _application(rule: model.ApplicationRule, target: Target) -> policy.ApplicationRule:
    return policy.ApplicationRule(
        text=_text(rule),
        decision=rule.decision,
        matches=tuple(_matches(rule.match, target.pack)),
        identity=rule.identity,
        when=applicability(rule, target),
        unless=tuple(_matches(rule.unless, target.pack)),
        of_categories=_of_categories(rule),
    )


def _of_categories(rule: model.ApplicationRule) -> tuple[str, ...]:
    """The categories that a rule names, where it names nothing else."""
    named = tuple(dict.fromkeys(match.category for match in rule.match if match.category is not None))
    return named if all(match.category is not None for match in rule.match) else ()


def _matches(given: tuple[model.Match, ...], pack: model.Pack) -> Iterator[policy.ApplicationMatch]:
    """Categories become what is in them; nothing stands twice."""
    held = {category.name: category.applications for category in pack.categories}
    seen: set[policy.ApplicationMatch] = set()
    for match in given:
        for one in held.get(match.category, ()) if match.category is not None else (match,):
            for by, text in one.chosen():
                entry = policy.ApplicationMatch(by=by, text=text)
                if entry not in seen:
                    seen.add(entry)
                    yield entry


def _medium(rule: model.MediaRule, target: Target) -> policy.MediaRule:
    return policy.MediaRule(
        text=_text(rule),
        access=rule.access,
        plain=rule.plain,
        unknown=rule.unknown,
        serials=rule.serials,
        vendor_products=rule.vendor_products,
        buses=rule.buses,
        when=applicability(rule, target),
    )


def _screen(screen: model.Screen, target: Target) -> policy.ScreenSection:
    return policy.ScreenSection(
        text=_text(screen),
        idle_lock_seconds=screen.idle_lock_seconds,
        warn_seconds=screen.warn_seconds,
        when=applicability(screen, target),
        lock_on_lid=screen.lock_on_lid,
        tokens=tuple(
            policy.SecurityToken(vendor_product=token.vendor_product, serial=token.serial)
            for token in screen.tokens
        ),
        end_unlocked_seconds=screen.end_unlocked_seconds,
        hold_media=screen.hold_media,
    )


def _sites(school: model.School, key: bytes) -> policy.SitesSection:
    return policy.SitesSection(
        sites=tuple(
            policy.Site(name=site.name, marks=tuple(_marks(site.marks, key)), kinds_needed=site.kinds_needed)
            for site in school.sites
        )
    )


def _marks(marks: model.Marks, key: bytes) -> Iterator[policy.NetworkMark]:
    given = {
        policy.MarkKind.GATEWAY_MAC: marks.gateway_mac,
        policy.MarkKind.SSID: marks.ssid,
        policy.MarkKind.DNS_SUFFIX: marks.dns_suffix,
    }
    for kind, values in given.items():
        for value in values:
            yield policy.NetworkMark(kind=kind, hash=mark_hash(key, kind, value))


def _browser(
    rules: tuple[model.SiteRule, ...], settings: tuple[model.BrowserRule, ...], target: Target
) -> policy.BrowserSection:
    used = {name for rule in rules for name in rule.categories}
    return policy.BrowserSection(
        rules=tuple(
            policy.SiteRule(
                text=_text(rule),
                decision=rule.decision,
                categories=rule.categories,
                sites=rule.sites,
                when=applicability(rule, target),
                allowed=tuple(dict.fromkeys(_left_out(rule, target.pack))),
            )
            for rule in rules
        ),
        otherwise=DecisionKind.ALLOW,
        categories=tuple(
            policy.SiteCategory(name=one.name, sites=one.sites, filter_knows_more=one.filter_knows_more)
            for one in target.pack.categories
            if one.name in used
        ),
        settings=tuple(_browser_rule(rule, target) for rule in settings),
    )


def _left_out(rule: model.SiteRule, pack: model.Pack) -> Iterator[str]:
    """The sites that a rule is not about; a category is what the pack lists under it."""
    yield from rule.allowed
    for one in pack.categories:
        if one.name in rule.allowed_categories:
            yield from one.sites


def _browser_rule(rule: model.BrowserRule, target: Target) -> policy.BrowserRule:
    return policy.BrowserRule(
        text=_text(rule),
        safe_search=rule.safe_search,
        search_engine=rule.search_engine,
        home_page=rule.home_page,
        private_windows=rule.private_windows,
        guest_profiles=rule.guest_profiles,
        developer_tools=rule.developer_tools,
        own_name_servers=rule.own_name_servers,
        synchronisation=rule.synchronisation,
        password_saving=rule.password_saving,
        downloads=rule.downloads,
        extensions=rule.extensions,
        allowed_extensions=rule.allowed_extensions,
        proxy=rule.proxy,
        when=applicability(rule, target),
    )


def _network(rule: model.NetworkRule, target: Target) -> policy.NetworkRule:
    return policy.NetworkRule(
        text=_text(rule),
        use=rule.use,
        decision=rule.decision,
        allowed=rule.allowed,
        when=applicability(rule, target),
    )


def _peripheral(rule: model.PeripheralRule, target: Target) -> policy.PeripheralRule:
    return policy.PeripheralRule(
        text=_text(rule),
        kind=rule.kind,
        decision=rule.decision,
        allowed=rule.allowed,
        when=applicability(rule, target),
    )


def _bound(bound: model.GrantBound, school: model.School) -> policy.GrantBound:
    return policy.GrantBound(
        kind=bound.kind,
        rule_ids=bound.rules,
        max_seconds=bound.max_minutes * 60,
        duties=bound.duties,
        two_person=bound.two_persons,
        console=tuple(window_of(hours) for hours in bound.console),
        time_zone=school.time_zone if bound.console else "",
    )


def _checks(pack: model.Pack) -> tuple[policy.PostureCheck, ...]:
    """The pack's checks, and the one that no pack can leave out."""
    checks = tuple(_check(check) for check in pack.posture)
    if any(check.check is Check.CONTENT_FILTER for check in checks):
        return checks
    added = policy.PostureCheck(check=mandatory.FILTER_CHECK, every_seconds=3_600, fix=mandatory.FIX)
    return (*checks, added)


def _check(check: model.PostureCheck) -> policy.PostureCheck:
    return policy.PostureCheck(
        check=check.check.value,
        every_seconds=check.every_seconds,
        threshold=check.threshold,
        fix=check.fix,
        filter_test=_filter_test(check.filter_test) if check.filter_test is not None else None,
    )


def _filter_test(test: model.FilterTest) -> policy.FilterTest:
    return policy.FilterTest(
        blocked_url=test.blocked_page,
        control_url=test.control_page,
        refusal_says=test.refusal_says,
        provider=test.provider,
        declares=test.declares or "",
        declared_on=test.declared_on.isoformat() if test.declared_on is not None else "",
    )


def _collection(pack: model.Pack, pseudonym_key: bytes) -> policy.CollectionSection:
    collection = pack.collection
    shared = [account.account for account in (pack.people.shared if pack.people is not None else ())]
    return policy.CollectionSection(
        kinds=_with_posture(
            policy.CollectedKind(
                kind=kind,
                notice=item.notice,
                purpose=item.purpose,
                retention_days=item.retention_days,
                readers=item.readers,
                off_site=kind not in model.COUNTS_OF_USE if item.off_site is None else item.off_site,
                sealing=item.seal or SealingScheme.UNSPECIFIED,
                when=None if _out_of_hours(item, kind) else school_hours(pack.school),
            )
            for item in collection.collected
            for kind in item.kinds
        ),
        heartbeat_seconds=collection.heartbeat_seconds,
        pseudonym_key=pseudonym_key,
        shared_accounts=tuple(dict.fromkeys((*collection.shared_accounts, *shared))),
    )


def _out_of_hours(item: model.Collected, kind: str) -> bool:
    return kind not in model.COUNTS_OF_USE if item.out_of_hours is None else item.out_of_hours


def _with_posture(collected: Iterable[policy.CollectedKind]) -> tuple[policy.CollectedKind, ...]:
    """What the pack collects, and the result of the check that no pack can leave out."""
    kinds = tuple(collected)
    return kinds if any(kind.kind == Posture.KIND for kind in kinds) else (*kinds, mandatory.COLLECTED)
