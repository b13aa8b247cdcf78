"""Site rules as the two lists that browsers know: what is blocked, and what is open although something blocks it. Pure.

The rules given here all hold: who asks has left out what does not. What comes out opens nothing that the rules refuse
(``site_matching``); where a browser's lists cannot say a rule exactly, the stricter reading is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import BrowserRule, BrowserSection, RuleMode, SafeSearch, SiteRule
from schoolkeeper_proto.wording import few

FORBIDS = frozenset({DecisionKind.BLOCK, DecisionKind.BLOCK_AND_RAISE})
MOST_SITES = 1000
"""Entries of one list that a browser reads: Chromium's ``policy::kMaxUrlFiltersPerPolicy``, and the
``LIST_LENGTH_LIMIT`` of Firefox's website filter. What lies beyond is ignored by them, so it is left out and said."""
EVERYTHING = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What became of a rule: ``carried`` tells whether ``note`` is about what is in the lists or what is missing."""

    rule_id: str
    carried: bool
    note: str


class Entry(NamedTuple):
    """A host with everything below it, or with a path that one very host; ``*`` is every host."""

    host: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.host}/{self.path}" if self.path else self.host


_ALL = Entry(EVERYTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """Sites by what they get. ``everything`` says whether all that is not allowed is blocked."""

    block: tuple[Entry, ...] = ()
    allow: tuple[Entry, ...] = ()
    left_out: int = 0
    """Blocked entries beyond ``MOST_SITES``."""

    @property
    def everything(self) -> bool:
        return _ALL in self.block


def entries(sites: Iterable[str]) -> Iterator[Entry]:
    """A site with a path is two: the host that is named, and its ``www.`` (``site_matching``)."""
    for site in sites:
        host, _, path = site.lower().partition("/")
        yield Entry(host, path)
        if path and not host.startswith("www."):
            yield Entry(f"www.{host}", path)


def said_of(section: BrowserSection) -> Iterator[Said]:
    """A line per rule and what is missing of it."""
    known = {category.name: category for category in section.categories}
    for rule in section.rules:
        rule_id = rule.text.rule_id
        if rule.decision not in FORBIDS and rule.decision is not DecisionKind.ALLOW:
            yield Said(
                rule_id=rule_id,
                carried=False,
                note=f"browsers have no setting for {rule.decision.value!r}",
            )
            continue
        count = len(_sites(section, rule))
        yield Said(rule_id=rule_id, carried=True, note=f"{count} addresses in the browsers' own lists")
        partial = [name for name in rule.categories if name in known and known[name].filter_knows_more]
        if partial:
            names = ", ".join(partial)
            yield Said(
                rule_id=rule_id,
                carried=False,
                note=f"sites of {names} that only the school's web filter knows",
            )


def not_carried(section: BrowserSection) -> Iterator[str]:
    """What no browser does of a section, in a few lines: for people who look after devices."""
    every: tuple[SiteRule | BrowserRule, ...] = (*section.rules, *section.settings)
    on_trial = [
        rule.text.rule_id
        for rule in every
        if rule.text.mode in (RuleMode.OBSERVE, RuleMode.WARN)
        or (isinstance(rule, SiteRule) and rule.decision in (DecisionKind.OBSERVE, DecisionKind.WARN))
    ]
    if on_trial:
        yield f"a browser neither observes nor warns, so nothing comes of {few(on_trial)}"
    used = {name for rule in section.rules if rule.decision in FORBIDS for name in rule.categories}
    filtered = [one.name for one in section.categories if one.filter_knows_more and one.name in used]
    if filtered:
        yield f"sites of {few(filtered)} that are not listed are refused by the school's web filter alone"
    search = [
        rule for rule in section.settings if rule.safe_search in (SafeSearch.STRICT, SafeSearch.MODERATE)
    ]
    if search:
        yield "Firefox has no policy for safe search: there the school's web filter has to force it"


def carried(section: BrowserSection, rule: SiteRule) -> bool:
    """Whether a browser is told any address of this rule, or an address that another rule refuses."""
    return (
        rule.text.mode not in (RuleMode.OBSERVE, RuleMode.WARN)
        and (rule.decision in FORBIDS or rule.decision is DecisionKind.ALLOW)
        and bool(_sites(section, rule))
    )


def lists(section: BrowserSection, *, narrow_wins: bool) -> Lists:
    """The rules flattened to two lists.

    ``narrow_wins``: of two entries that concern an address the narrower one counts, as in Chromium. In other browsers
    what is allowed goes before all that is blocked; there a site with something blocked below it is not opened.
    """
    refusing = [_Refusing(section, rule) for rule in section.rules if rule.decision in FORBIDS]
    opening = [
        entry
        for rule in section.rules
        if rule.decision is DecisionKind.ALLOW
        for entry in entries(_sites(section, rule))
    ]
    block = [entry for rule in refusing for entry in rule.refused]
    closed = section.otherwise in FORBIDS
    if closed:
        block.append(_ALL)
    opened, below = _Index(opening), _Below(block)
    allow = [
        entry
        for entry in dict.fromkeys((*opening, *(entry for rule in refusing for entry in rule.left_out)))
        if not any(rule.refuses(entry) for rule in refusing)
        and (not closed or opened.covers(entry))
        and (narrow_wins or not below.is_blocked(entry))
    ]
    return _shortened(list(dict.fromkeys(block)), allow)


def _shortened(block: list[Entry], allow: list[Entry]) -> Lists:
    if len(block) > MOST_SITES and _ALL in block:
        block = [_ALL, *(entry for entry in block if entry != _ALL)]
    left_out = max(0, len(block) - MOST_SITES)
    return Lists(block=tuple(block[:MOST_SITES]), allow=tuple(allow[:MOST_SITES]), left_out=left_out)


def _sites(section: BrowserSection, rule: SiteRule) -> tuple[str, ...]:
    listed = {category.name: category.sites for category in section.categories}
    return (*rule.sites, *(site for name in rule.categories for site in listed.get(name, ())))


class _Index:
    """Entries by host: whether one of them holds for the whole of another."""

    def __init__(self, held: Iterable[Entry]) -> None:
        self._hosts: set[str] = set()
        self._paths: dict[str, list[str]] = {}
        for entry in held:
            if entry.path:
                self._paths.setdefault(entry.host, []).append(entry.path)
            else:
                self._hosts.add(entry.host)

    def covers(self, entry: Entry) -> bool:
        if EVERYTHING in self._hosts or not self._hosts.isdisjoint(_upwards(entry.host)):
            return True
        return bool(entry.path) and entry.path.startswith(tuple(self._paths.get(entry.host, ())))


class _Refusing:
    """A rule that refuses, and what it is not about."""

    def __init__(self, section: BrowserSection, rule: SiteRule) -> None:
        self.left_out = tuple(entries(rule.allowed))
        self._allowed = _Index(self.left_out)
        self.refused = tuple(
            entry for entry in entries(_sites(section, rule)) if not self._allowed.covers(entry)
        )
        self._index = _Index(self.refused)

    def refuses(self, entry: Entry) -> bool:
        return self._index.covers(entry) and not self._allowed.covers(entry)


class _Below:
    """What is blocked below an entry, so that opening it would open that, too."""

    def __init__(self, block: Iterable[Entry]) -> None:
        self._above: set[str] = set()
        self._paths: dict[str, list[str]] = {}
        for entry in block:
            above = _upwards(entry.host)
            self._above.update(above if entry.path else above[1:])
            if entry.path:
                self._paths.setdefault(entry.host, []).append(entry.path)

    def is_blocked(self, entry: Entry) -> bool:
        if not entry.path:
            return entry.host in self._above
        return any(
            path.startswith(entry.path) and path != entry.path for path in self._paths.get(entry.host, ())
        )


def _upwards(host: str) -> list[str]:
    """The host and every name above it."""
    labels = host.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]
