"""Which events a rule is about: times, places, people and what it matches, compared as sets.

``Extent`` says whether the one set holds the other. Where that cannot be told (a pattern inside another pattern, hours
in two time zones) the answer is UNCLEAR, never a guess.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from enum import StrEnum

from schoolkeeper_proto.patterns import PatternMistake, PatternTree
from schoolkeeper_proto.policy import (
    Applicability,
    ApplicationMatch,
    ApplicationRule,
    BrowserRule,
    DayRange,
    MatchBy,
    MediaRule,
    NetworkRule,
    PeripheralRule,
    RuleException,
    SiteRule,
)

Rule = ApplicationRule | MediaRule | SiteRule | NetworkRule | PeripheralRule

_WEEK_MINUTES = 7 * 1440
_DAY = 1440
_ENDLESS = 1 << 62


class Extent(StrEnum):
    """How far the later set reaches, against the earlier one."""

    SAME = "the same"
    WIDER = "more"
    NARROWER = "less"
    UNCLEAR = "other things"

    @property
    def covers(self) -> bool:
        return self in (Extent.SAME, Extent.WIDER)

    @property
    def covered(self) -> bool:
        return self in (Extent.SAME, Extent.NARROWER)


def both(extents: Iterable[Extent]) -> Extent:
    """Of sets that all must hold (times and places and people)."""
    found = set(extents) - {Extent.SAME}
    if not found:
        return Extent.SAME
    return found.pop() if len(found) == 1 else Extent.UNCLEAR


def _extent(covers: bool, covered: bool) -> Extent:
    if covers:
        return Extent.SAME if covered else Extent.WIDER
    return Extent.NARROWER if covered else Extent.UNCLEAR


# ---- when -------------------------------------------------------------------------------------------------


def when_extent(before: Applicability | None, after: Applicability | None) -> Extent:
    """Times, places and people of two rules."""
    old, new = before or Applicability(), after or Applicability()
    if old == new:
        return Extent.SAME
    known = {"times", "places", "user_groups", "time_zone", "days", "exceptions"}
    for field in dataclasses.fields(Applicability):
        if field.name not in known and getattr(old, field.name) != getattr(new, field.name):
            return Extent.UNCLEAR
    return both(
        (
            _times(old, new),
            _days(old, new),
            _excepted(old, new),
            _empty_is_all(frozenset(map(str, old.places)), frozenset(map(str, new.places))),
            _empty_is_all(frozenset(old.user_groups), frozenset(new.user_groups)),
        )
    )


def _times(old: Applicability, new: Applicability) -> Extent:
    if not old.times or not new.times:
        return _extent(not new.times, not old.times)
    first, second = week_minutes(old), week_minutes(new)
    if (old.time_zone or "UTC") != (new.time_zone or "UTC"):
        return Extent.UNCLEAR
    return _extent(first & ~second == 0, second & ~first == 0)


def _days(old: Applicability, new: Applicability) -> Extent:
    if not old.days or not new.days:
        return _extent(not new.days, not old.days)
    if (old.time_zone or "UTC") != (new.time_zone or "UTC"):
        return Extent.UNCLEAR
    first, second = _joined(old.days), _joined(new.days)
    return _extent(_inside(first, second), _inside(second, first))


def _joined(days: tuple[DayRange, ...]) -> list[tuple[int, int]]:
    """Ranges of days without overlap or seam."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted((one.first_day, one.last_day or _ENDLESS) for one in days):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return joined


def _inside(these: list[tuple[int, int]], those: list[tuple[int, int]]) -> bool:
    return all(any(first <= low and high <= last for first, last in those) for low, high in these)


def _excepted(old: Applicability, new: Applicability) -> Extent:
    """More exceptions: the rule is about less."""
    return _extent(
        all(_exception_covered(one, old.exceptions) for one in new.exceptions),
        all(_exception_covered(one, new.exceptions) for one in old.exceptions),
    )


def _exception_covered(one: RuleException, by: tuple[RuleException, ...]) -> bool:
    return any(
        (not other.user_groups or (bool(one.user_groups) and set(one.user_groups) <= set(other.user_groups)))
        and other.not_before_unix_ms <= one.not_before_unix_ms
        and (other.expires_unix_ms or _ENDLESS) >= (one.expires_unix_ms or _ENDLESS)
        for other in by
    )


def week_minutes(when: Applicability) -> int:
    """The minutes of a week that ``times`` hold, as bits; bit 0 is Monday's midnight."""
    held = 0
    for window in when.times:
        start, end = window.from_minute, window.to_minute
        length = end - start if start < end else _DAY - start + end
        for day in range(7):
            if window.weekdays >> day & 1:
                held |= ((1 << length) - 1) << day * _DAY + start
    over = held >> _WEEK_MINUTES
    return held & ((1 << _WEEK_MINUTES) - 1) | over


def _empty_is_all(old: frozenset[str], new: frozenset[str]) -> Extent:
    covers = not new or (bool(old) and old <= new)
    covered = not old or (bool(new) and new <= old)
    return _extent(covers, covered)


# ---- what an application rule matches ----------------------------------------------------------------------


def applications_extent(before: ApplicationRule, after: ApplicationRule) -> Extent:
    return _extent(_rule_covered(before, after), _rule_covered(after, before))


def _rule_covered(rule: ApplicationRule, by: ApplicationRule) -> bool:
    """What the one leaves out, the other must leave out, too: then it is about nothing more."""
    return all(_match_covered(match, by.matches) for match in rule.matches) and all(
        _match_covered(match, rule.unless) for match in by.unless
    )


def _match_covered(match: ApplicationMatch, by: tuple[ApplicationMatch, ...]) -> bool:
    """Whether everything that ``match`` recognises is certainly recognised by one of ``by``, too."""
    if match in by:
        return True
    if match.by not in (MatchBy.PATH, MatchBy.PATH_PATTERN):
        return False
    name = match.text.rpartition("/")[2]
    if not set(name) & set("*?") and ApplicationMatch(by=MatchBy.FILE_NAME, text=name) in by:
        return True
    if match.by is MatchBy.PATH_PATTERN:
        return _pattern_covered(match.text, by)
    patterns = [(other.text, 0) for other in by if other.by is MatchBy.PATH_PATTERN]
    try:
        return bool(PatternTree(patterns).find(match.text))
    except PatternMistake:
        return False


def _pattern_covered(text: str, by: tuple[ApplicationMatch, ...]) -> bool:
    """Only what is plain to see: ``/a/b*/c`` inside ``/a/**``."""
    for other in by:
        if other.by is MatchBy.PATH_PATTERN and other.text.endswith("/**"):
            stem = other.text[:-2]
            if not set(stem) & set("*?") and text.startswith(stem):
                return True
    return False


# ---- what a media rule matches -----------------------------------------------------------------------------


def media_extent(before: MediaRule, after: MediaRule) -> Extent:
    return both(
        (
            _empty_is_all(frozenset(before.serials), frozenset(after.serials)),
            _listed(before.vendor_products, after.vendor_products, _product_covered),
            _empty_is_all(frozenset(before.buses), frozenset(after.buses)),
        )
    )


def _listed(
    old: tuple[str, ...], new: tuple[str, ...], covered: Callable[[str, tuple[str, ...]], bool]
) -> Extent:
    covers = not new or (bool(old) and all(covered(item, new) for item in old))
    inside = not old or (bool(new) and all(covered(item, old) for item in new))
    return _extent(covers, inside)


def _product_covered(pair: str, by: tuple[str, ...]) -> bool:
    lowered = {other.lower() for other in by}
    return pair.lower() in lowered or f"{pair.lower().partition(':')[0]}:*" in lowered


# ---- what the other rules are about ------------------------------------------------------------------------


def sites_extent(before: SiteRule, after: SiteRule) -> Extent:
    """Categories and sites together; a site holds everything below it."""
    if set(before.categories) <= set(after.categories) or set(after.categories) <= set(before.categories):
        more = set(before.categories) <= set(after.categories)
        less = set(after.categories) <= set(before.categories)
    else:
        more = less = False
    more = more and all(site_covered(site, after.sites) for site in before.sites)
    less = less and all(site_covered(site, before.sites) for site in after.sites)
    return _extent(more, less)


def site_covered(site: str, by: tuple[str, ...]) -> bool:
    """``www.example.org/a/b`` is inside ``example.org``, ``www.example.org/a`` and ``*``."""
    if "*" in by or site in by:
        return True
    host, slash, path = site.partition("/")
    for other in by:
        other_host, other_slash, other_path = other.partition("/")
        if not other_slash and (host == other_host or host.endswith("." + other_host)):
            return True
        if (
            slash
            and other_slash
            and host in (other_host, f"www.{other_host}")
            and path.startswith(other_path)
        ):
            return True
    return False


def rule_extent(before: Rule | BrowserRule, after: Rule | BrowserRule) -> Extent:
    """How far the later rule reaches: when, whom and what."""
    when = when_extent(before.when, after.when)
    match before, after:
        case ApplicationRule(), ApplicationRule():
            return both((when, applications_extent(before, after)))
        case MediaRule(), MediaRule():
            return both((when, media_extent(before, after)))
        case SiteRule(), SiteRule():
            return both((when, sites_extent(before, after), _left_out(before.allowed, after.allowed)))
        case NetworkRule(), NetworkRule():
            use = Extent.SAME if before.use is after.use else Extent.UNCLEAR
            return both((when, use, _left_out(before.allowed, after.allowed)))
        case PeripheralRule(), PeripheralRule():
            kind = Extent.SAME if before.kind is after.kind else Extent.UNCLEAR
            return both((when, kind, _left_out(before.allowed, after.allowed)))
        case BrowserRule(), BrowserRule():
            return when
        case _:
            return Extent.UNCLEAR


def _left_out(before: tuple[str, ...], after: tuple[str, ...]) -> Extent:
    return _extent(set(after) <= set(before), set(before) <= set(after))
