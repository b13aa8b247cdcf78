"""The browser's categories and settings, compared; its rules are compared like all others, in ``rules.py``."""

from __future__ import annotations

from collections.abc import Iterator

from schoolkeeper_policies.comparing.change import Aspect, Change, Direction, together
from schoolkeeper_policies.comparing.ranks import MODES, added, lows_of, weights_of
from schoolkeeper_policies.comparing.regions import Extent, rule_extent, site_covered
from schoolkeeper_policies.comparing.rules import change_of, text_aspects, unlike
from schoolkeeper_policies.comparing.sections import one_change
from schoolkeeper_policies.comparing.words import when_said
from schoolkeeper_proto.browser_holding import STRICTNESS
from schoolkeeper_proto.matching import mode_of
from schoolkeeper_proto.policy import BrowserRule, BrowserSection, SafeSearch, SiteCategory, Switch

_ORDER = {name: {value: rank for rank, value in enumerate(order)} for name, order in STRICTNESS.items()}


def compare_categories(group: str, old: BrowserSection, new: BrowserSection) -> Iterator[Change]:
    """A category's list of sites is part of every rule that names it."""
    before = {category.name: category for category in old.categories}
    after = {category.name: category for category in new.categories}
    for name in sorted({*before, *after}):
        first = before.get(name) or SiteCategory(name=name)
        second = after.get(name) or SiteCategory(name=name)
        if first == second:
            continue
        direction, guarded = _direction(name, first, second, old, new)
        aspect = Aspect(
            direction=direction,
            before=_sites(first),
            after=_sites(second),
            why="the sites of a category that rules name",
        )
        yield change_of("browser", group, f"category {name}", [aspect], guarded)


def _direction(
    name: str, first: SiteCategory, second: SiteCategory, old: BrowserSection, new: BrowserSection
) -> tuple[Direction, bool]:
    rules = [rule for rule in (*old.rules, *new.rules) if name in rule.categories]
    guarded = any(rule.text.safeguarding for rule in rules)
    before = [rule for rule in old.rules if name in rule.categories]
    if not before or len(before) == len(rules):
        # No rule named it before, or none does any more: what that means is said of the rules that came or went.
        return Direction.WORDS, False
    if old.otherwise != new.otherwise or first.filter_knows_more != second.filter_knows_more:
        return Direction.DIFFERENT, guarded
    everything = (*old.rules, *new.rules)
    meant = {
        added(weight)
        for rule in rules
        for weight in weights_of(
            rule,
            old.otherwise,
            lows_of([r for r in everything if r is not rule], (old.otherwise,), 1),
        )
    }
    came = together(meant)
    if len(meant) > 1:
        came = Direction.DIFFERENT
    wider = all(site_covered(site, second.sites) for site in first.sites)
    narrower = all(site_covered(site, first.sites) for site in second.sites)
    if wider and narrower:
        return Direction.WORDS, guarded
    if not wider and not narrower:
        return Direction.DIFFERENT if came is not Direction.WORDS else came, guarded
    return came if wider else came.reversed, guarded


def _sites(category: SiteCategory) -> str:
    return f"{len(category.sites)} sites: {', '.join(category.sites[:6])}" if category.sites else ""


def compare_settings(group: str, old: BrowserSection, new: BrowserSection) -> Iterator[Change]:
    """Settings rule by rule; one that is no longer said is left as the browser has it: the weakest."""
    before = {rule.text.rule_id: rule for rule in old.settings}
    after = {rule.text.rule_id: rule for rule in new.settings}
    for name in sorted({*before, *after}):
        first, second = before.get(name), after.get(name)
        if first == second:
            continue
        if first is None or second is None:
            held = first or second
            assert held is not None
            blank = BrowserRule(text=held.text, when=held.when)
            pair = (blank, held) if first is None else (held, blank)
            direction = together(_setting(key, *pair) for key in unlike(*pair))
            if mode_of(held.text) == "observe":
                direction = Direction.WORDS
            guarded = held.text.safeguarding
            yield one_change("browser", group, name, first is None, direction, guarded, _said(held))
            continue
        aspects = [*_settings(first, second), *text_aspects(first.text, second.text)]
        yield change_of("browser", group, name, aspects, first.text.safeguarding or second.text.safeguarding)


def _settings(old: BrowserRule, new: BrowserRule) -> Iterator[Aspect]:
    names = unlike(old, new) - {"text", "when"}
    directions = [_setting(name, old, new) for name in sorted(names)]
    modes = MODES[mode_of(old.text)], MODES[mode_of(new.text)]
    if modes[0] != modes[1]:
        directions.append(Direction.STRICTER if modes[1] > modes[0] else Direction.WEAKER)
    extent = rule_extent(old, new)
    if extent is not Extent.SAME:
        reach = {Extent.WIDER: Direction.STRICTER, Extent.NARROWER: Direction.WEAKER}
        directions.append(reach.get(extent, Direction.DIFFERENT))
        # Where a setting loosens (search made moderate, extensions allowed), reaching further is not stricter.
        if _loosens(old) or _loosens(new):
            directions.append(Direction.DIFFERENT)
    if names or modes[0] != modes[1] or old.when != new.when:
        yield Aspect(
            direction=together(directions), before=_said(old), after=_said(new), why="settings of the browser"
        )


_TEXTS = ("search_engine", "home_page", "proxy")


def _loosens(rule: BrowserRule) -> bool:
    return any(getattr(rule, name) in (SafeSearch.OFF, Switch.ALLOWED) for name in _ORDER)


def _setting(name: str, old: BrowserRule, new: BrowserRule) -> Direction:
    before, after = getattr(old, name), getattr(new, name)
    if name in _TEXTS:
        # Another engine may know no strict search, another proxy no filter.
        return Direction.DIFFERENT
    if name == "allowed_extensions":
        if set(before) <= set(after):
            return Direction.WEAKER
        return Direction.STRICTER if set(after) <= set(before) else Direction.DIFFERENT
    order = _ORDER.get(name)
    if order is None:
        return Direction.DIFFERENT
    return Direction.STRICTER if order[after] > order[before] else Direction.WEAKER


def _said(rule: BrowserRule) -> str:
    said = [
        f"{name.replace('_', '-')} {getattr(rule, name)}"
        for name in (*_ORDER, *_TEXTS)
        if str(getattr(rule, name)) not in ("", "unspecified")
    ]
    if rule.allowed_extensions:
        said.append(f"extensions allowed: {', '.join(rule.allowed_extensions)}")
    return f"{rule.text.mode}: {', '.join(said)}{when_said(rule.when)}"
