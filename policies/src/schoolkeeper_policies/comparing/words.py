"""A compiled rule in one line, for a plan's before and after."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import assert_never

from schoolkeeper_policies.comparing.regions import Rule
from schoolkeeper_proto.policy import (
    Applicability,
    ApplicationMatch,
    ApplicationRule,
    DayRange,
    MediaAccess,
    MediaRule,
    NetworkRule,
    NoticeSection,
    PeripheralRule,
    RuleException,
    SiteRule,
)
from schoolkeeper_proto.wording import category, few, window


def said(rule: Rule, notice: NoticeSection) -> str:
    """Mode, decision, what it is about and when; categories as ``notice`` calls them."""
    what, about = _about(rule, notice)
    return f"{rule.text.mode} {what}: {about}{when_said(rule.when)}"


def _about(rule: Rule, notice: NoticeSection) -> tuple[str, str]:
    match rule:
        case ApplicationRule():
            but = _but(tuple(map(entry_said, rule.unless)))
            return str(rule.decision), few(list(map(entry_said, rule.matches))) + but
        case MediaRule():
            what = str(rule.access)
            if rule.access is MediaAccess.ENCRYPTED_ONLY:
                what += f" (plain {rule.plain}, unknown {rule.unknown})"
            return what, few([*rule.serials, *rule.vendor_products, *rule.buses]) or "every medium"
        case SiteRule():
            named = few([*(f"category {category(name, notice)}" for name in rule.categories), *rule.sites])
            return str(rule.decision), named + _but(rule.allowed)
        case NetworkRule():
            return str(rule.decision), f"{rule.use}{_but(rule.allowed)}"
        case PeripheralRule():
            return str(rule.decision), f"{rule.kind}{_but(rule.allowed)}"
        case _:
            assert_never(rule)


def _but(allowed: tuple[str, ...]) -> str:
    return f" but {few(list(allowed))}" if allowed else ""


def entry_said(entry: object) -> str:
    """One entry of a rule's list."""
    return f"{entry.by} {entry.text}" if isinstance(entry, ApplicationMatch) else str(entry)


def when_said(when: Applicability | None) -> str:
    """' (Mon Tue 08:30-15:45; on-site; for staff)', or nothing for always and everywhere."""
    if when is None:
        return ""
    parts = [window(one) for one in when.times]
    parts += [str(place) for place in when.places]
    if when.days:
        parts.append("on " + few([_days(days) for days in when.days]))
    parts += [f"for {group}" for group in when.user_groups]
    parts += [_exception(one) for one in when.exceptions]
    return f" ({'; '.join(parts)})" if parts else ""


def _days(days: DayRange) -> str:
    first = date(1970, 1, 1) + timedelta(days=days.first_day)
    if not days.last_day:
        return f"{first} and after"
    return f"{first} to {date(1970, 1, 1) + timedelta(days=days.last_day)}"


def _exception(one: RuleException) -> str:
    who = ", ".join(one.user_groups) or "everybody"
    until = ""
    if one.expires_unix_ms:
        until = f" until {datetime.fromtimestamp(one.expires_unix_ms // 1000, UTC):%Y-%m-%d %H:%M} UTC"
    return f"not for {who}{until}"
