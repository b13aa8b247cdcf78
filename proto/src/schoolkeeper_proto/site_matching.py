"""Compiled rules for sites in the browser: what a policy says of one address or category, here, now, for this person.

The words of ``matching.py`` hold here, too: stricter wins, a rule on trial never loosens. A rule for a site holds for
everything below it; a category holds for the sites that the policy lists under it, and for what a filter told of.
"""

from __future__ import annotations

from schoolkeeper_proto.conditions import (
    Circumstances,
    Condition,
    ConditionMistake,
    ZoneClock,
    compile_condition,
    holds,
)
from schoolkeeper_proto.matching import Concern, TableMistake, Verdict, applies, mode_of, strictest
from schoolkeeper_proto.policy import BrowserSection, NetworkRule, PeripheralRule, SiteRule

SITE = r"(\*|[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/[!-~]*)?)"
"""How a rule names a site; `re.fullmatch`. With everything below it: ``policy.SiteRule``."""
Row = tuple[str, str, str, Condition | None]
"""Rule id, decision, mode, condition."""


class SiteTable:
    """The rules of a browser section, compiled; a look-up costs the address's parts, not the number of rules."""

    def __init__(self, section: BrowserSection) -> None:
        """Raises ``TableMistake``."""
        self._otherwise = _decision(str(section.otherwise))
        self._clock = ZoneClock()
        self._rows: list[Row] = []
        self._by_category: dict[str, list[int]] = {}
        self._by_host: dict[str, list[tuple[str, int]]] = {}
        self._everywhere: list[int] = []
        self._left_out: dict[int, dict[str, list[str]]] = {}
        self._categories: dict[str, list[tuple[str, str]]] = {}
        for category in section.categories:
            for site in category.sites:
                host, _, path = site.lower().partition("/")
                self._categories.setdefault(host, []).append((path, category.name))
        for number, rule in enumerate(section.rules):
            self._add(number, rule)

    def _add(self, number: int, rule: SiteRule) -> None:
        self._rows.append(compiled_row(rule))
        for site in rule.allowed:
            host, _, path = site.lower().partition("/")
            self._left_out.setdefault(number, {}).setdefault(host, []).append(path)
        for category in rule.categories:
            self._by_category.setdefault(category, []).append(number)
        for site in rule.sites:
            if site == "*":
                self._everywhere.append(number)
                continue
            host, _, path = site.lower().partition("/")
            self._by_host.setdefault(host, []).append((path, number))

    def categories_of(self, site: str) -> frozenset[str]:
        """The categories under which the policy lists a site, or something above it."""
        host, _, path = _address(site)
        return frozenset(
            name
            for above in _above(host)
            for held, name in self._categories.get(above, ())
            if _below(above, held, host, path)
        )

    def decide(
        self, site: str, circumstances: Circumstances, *, categories: frozenset[str] = frozenset()
    ) -> Verdict:
        """The verdict on a site, "example.org" or "example.org/path"; ``categories`` are what a filter told of it."""
        return weigh_rows(self._rows_of(site, categories), self._otherwise, circumstances, self._clock)

    def concerning(
        self, site: str, circumstances: Circumstances, *, categories: frozenset[str] = frozenset()
    ) -> tuple[Concern, ...]:
        """Every rule that is about this site, and whether it holds now: for explanations."""
        rows = self._rows_of(site, categories)
        return concerns(rows, self._otherwise, circumstances, self._clock)

    def _rows_of(self, site: str, categories: frozenset[str]) -> list[Row]:
        host, _, path = _address(site)
        numbers = set(self._everywhere)
        for above in _above(host) if host else ():
            numbers.update(
                number for held, number in self._by_host.get(above, ()) if _below(above, held, host, path)
            )
        for category in categories | (self.categories_of(site) if host else frozenset()):
            numbers.update(self._by_category.get(category, ()))
        return [self._rows[number] for number in sorted(numbers) if not self._leaves_out(number, host, path)]

    def _leaves_out(self, number: int, host: str, path: str) -> bool:
        held = self._left_out.get(number)
        return held is not None and any(
            _below(above, allowed, host, path) for above in _above(host) for allowed in held.get(above, ())
        )


def concerns(
    rows: list[Row], otherwise: str, circumstances: Circumstances, clock: ZoneClock
) -> tuple[Concern, ...]:
    """Rules that are about the same thing, and whether each holds now."""
    return tuple(
        Concern(
            rule_id,
            decision,
            mode,
            holds=applies(condition, decision, otherwise, circumstances, clock),
            told=holds(condition, circumstances, clock) is not None,
        )
        for rule_id, decision, mode, condition in rows
    )


def compiled_row(rule: SiteRule | NetworkRule | PeripheralRule) -> Row:
    """Raises ``TableMistake``."""
    if not rule.text.rule_id or str(rule.decision) == "unspecified":
        raise TableMistake(f"rule {rule.text.rule_id!r}: it needs an id and a decision")
    try:
        condition = compile_condition(rule.when)
    except ConditionMistake as error:
        raise TableMistake(f"rule {rule.text.rule_id!r}: {error}") from error
    return rule.text.rule_id, str(rule.decision), mode_of(rule.text), condition


def weigh_rows(rows: list[Row], otherwise: str, circumstances: Circumstances, clock: ZoneClock) -> Verdict:
    """What rules that all concern something say of it together."""
    holding = [
        (decision, mode, rule_id)
        for rule_id, decision, mode, condition in rows
        if applies(condition, decision, otherwise, circumstances, clock)
    ]
    return strictest(holding, otherwise, steady=all(row[3] is None for row in rows))


def _decision(text: str) -> str:
    return "allow" if text == "unspecified" else text


def _address(site: str) -> tuple[str, str, str]:
    """Host in small letters, slash, path: without scheme, user, port, query and the last dot of a name."""
    rest = site.partition("://")[2] or site
    host, slash, path = rest.partition("/")
    host = host.rpartition("@")[2].partition(":")[0].lower().rstrip(".")
    return host, slash, path.partition("?")[0].partition("#")[0]


def _above(host: str) -> list[str]:
    """The host and every name above it."""
    labels = host.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]


def _below(above: str, held_path: str, host: str, path: str) -> bool:
    """A rule with a path is about that very host, and its ``www.``: where bbc.co.uk/cbeebies leads is not refused."""
    return not held_path or (host in (above, f"www.{above}") and path.lower().startswith(held_path))
