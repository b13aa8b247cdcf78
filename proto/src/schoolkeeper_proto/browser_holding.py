"""Which browser rules hold here and now for whoever sits at a device: a section in, a section out. Pure.

A browser's managed settings are the machine's and not a person's. So with several people signed in the strictest of
what each would get holds, and with nobody the strictest of all: whoever signs in next finds nothing open that they must
not have. A rule that is only observed or warned of is left out: a setting is there or it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from schoolkeeper_proto.browser_sites import FORBIDS
from schoolkeeper_proto.conditions import (
    Circumstances,
    Condition,
    ConditionMistake,
    ZoneClock,
    compile_condition,
    holds,
)
from schoolkeeper_proto.matching import TableMistake, applies, mode_of
from schoolkeeper_proto.policy import BrowserRule, BrowserSection, RuleText, SafeSearch, SiteRule, Switch

_SWITCHES = (
    "private_windows",
    "guest_profiles",
    "developer_tools",
    "own_name_servers",
    "synchronisation",
    "password_saving",
    "downloads",
)
_TEXTS = ("search_engine", "home_page", "proxy")
STRICTNESS: Mapping[str, tuple[SafeSearch | Switch, ...]] = {
    "safe_search": (SafeSearch.UNSPECIFIED, SafeSearch.OFF, SafeSearch.MODERATE, SafeSearch.STRICT),
    **dict.fromkeys((*_SWITCHES, "extensions"), (Switch.UNSPECIFIED, Switch.ALLOWED, Switch.BLOCKED)),
}
"""A browser's settings by field, each with its values from the least strict to the strictest."""
_TEXT = RuleText(rule_id="")


class BrowserTable:
    """The rules of a browser section that a browser can carry, with their conditions compiled."""

    def __init__(self, section: BrowserSection) -> None:
        """Raises ``TableMistake``."""
        self.section = section
        self._clock = ZoneClock()
        self._otherwise = "allow" if str(section.otherwise) == "unspecified" else str(section.otherwise)
        enforced = [rule for rule in section.rules if mode_of(rule.text) == "enforce"]
        self._rules = [(rule, _condition(rule)) for rule in enforced]
        self._settings = [
            (rule, _condition(rule)) for rule in section.settings if mode_of(rule.text) == "enforce"
        ]

    def holding(self, people: Sequence[Circumstances]) -> BrowserSection:
        """What holds for these people together; at least one is given."""
        rules = tuple(rule for rule, condition in self._rules if self._holds(rule, condition, people))
        merged = [self._merged(one) for one in people]
        setting = merged[0]
        for other in merged[1:]:
            setting = _stricter(setting, other)
        return replace(
            self.section, rules=rules, settings=(setting,) if setting != BrowserRule(text=_TEXT) else ()
        )

    def _holds(self, rule: SiteRule, condition: Condition | None, people: Sequence[Circumstances]) -> bool:
        answers = (
            applies(condition, str(rule.decision), self._otherwise, one, self._clock) for one in people
        )
        return any(answers) if rule.decision in FORBIDS else all(answers)

    def _merged(self, person: Circumstances) -> BrowserRule:
        """One setting for this person: a later rule overrides an earlier one in what it speaks of."""
        found = BrowserRule(text=_TEXT)
        for rule, condition in self._settings:
            answer = holds(condition, person, self._clock)
            if answer is not False:
                found = _over(found, rule if answer else _restricting(rule))
        return found


def _condition(rule: SiteRule | BrowserRule) -> Condition | None:
    try:
        return compile_condition(rule.when)
    except ConditionMistake as error:
        raise TableMistake(f"rule {rule.text.rule_id!r}: {error}") from error


def _over(below: BrowserRule, above: BrowserRule) -> BrowserRule:
    changes: dict[str, object] = {
        name: getattr(above, name) for name in _SWITCHES if getattr(above, name) is not Switch.UNSPECIFIED
    }
    if above.safe_search is not SafeSearch.UNSPECIFIED:
        changes["safe_search"] = above.safe_search
    changes |= {name: text for name in _TEXTS if (text := getattr(above, name))}
    if above.extensions is not Switch.UNSPECIFIED:
        changes |= {"extensions": above.extensions, "allowed_extensions": above.allowed_extensions}
    return replace(below, **changes)  # type: ignore[arg-type]


def _restricting(rule: BrowserRule) -> BrowserRule:
    """What a rule takes away: that counts where it cannot be told whether the rule holds; what it gives does not."""
    open_switches = {
        name: Switch.UNSPECIFIED
        for name in (*_SWITCHES, "extensions")
        if getattr(rule, name) is Switch.ALLOWED
    }
    search = SafeSearch.UNSPECIFIED if rule.safe_search is SafeSearch.OFF else rule.safe_search
    return replace(rule, safe_search=search, **open_switches)  # type: ignore[arg-type]


def _stricter(one: BrowserRule, other: BrowserRule) -> BrowserRule:
    """Field by field. Of two search engines, home pages or proxies the first person's stays."""
    settings = {
        name: max(getattr(one, name), getattr(other, name), key=order.index)
        for name, order in STRICTNESS.items()
    }
    return replace(
        one,
        **{name: getattr(one, name) or getattr(other, name) for name in _TEXTS},
        allowed_extensions=_both_allow(one, other),
        **settings,
    )


def _both_allow(one: BrowserRule, other: BrowserRule) -> tuple[str, ...]:
    if one.extensions is not Switch.BLOCKED or other.extensions is not Switch.BLOCKED:
        return one.allowed_extensions if one.extensions is Switch.BLOCKED else other.allowed_extensions
    return tuple(name for name in one.allowed_extensions if name in other.allowed_extensions)
