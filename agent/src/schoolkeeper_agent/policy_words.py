"""The policy in force in plain words, for a technician's terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from schoolkeeper_agent.policy_file import not_enforced
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.policy import (
    Applicability,
    ApplicationRule,
    BrowserRule,
    MediaRule,
    NoticeSection,
    RuleMode,
    RuleText,
    ScreenSection,
    SiteRule,
)
from schoolkeeper_proto.wording import category, few, window

_MODES = {RuleMode.OBSERVE: "observed only", RuleMode.WARN: "warned of", RuleMode.ENFORCE: "enforced"}


def describe(bundle: OpenBundle) -> str:
    """Every rule, check and kind of data in force, one paragraph each."""
    manifest = bundle.manifest
    lines = [f"Policy version {manifest.version} of {manifest.school_id} for the group {manifest.group}"]
    lines += ["", f"Applications (otherwise: {bundle.applications.otherwise.value})"]
    lines += [line for rule in bundle.applications.rules for line in _application(rule)] or ["  no rules"]
    lines += ["", f"Removable media (otherwise: {bundle.media.otherwise.value})"]
    lines += [line for rule in bundle.media.rules for line in _medium(rule)] or ["  no rules"]
    lines += ["", "Screen"]
    if bundle.screen is None:
        lines.append("  no rule")
    else:
        lines += [
            f"  locks after {bundle.screen.idle_lock_seconds} seconds without use",
            *_locks_too(bundle.screen),
            *_text(bundle.screen.text),
        ]
    lines += ["", f"Sites (otherwise: {bundle.browser.otherwise.value})"]
    lines += [line for rule in bundle.browser.rules for line in _site(rule, bundle.notice)] or ["  no rules"]
    lines += ["", "Browsers"]
    lines += [line for one in bundle.browser.settings for line in _setting(one)] or ["  no rules"]
    lines += ["", "In force, and not enforced by this agent"]
    lines += [f"  {line}" for line in not_enforced(bundle)] or ["  nothing"]
    lines += ["", "Checks of this device"]
    checks = [f"  {check.check}, every {check.every_seconds} seconds" for check in bundle.posture.checks]
    lines += [
        *(checks or ["  none"]),
        "",
        "Collected, by the notice that people are given, and how long it is kept",
    ]
    told: dict[str, list[str]] = {}
    for kind in bundle.collection.kinds:
        where = "" if kind.off_site else ", at school only"
        where += f", {hours_of(kind.when)}" if kind.when is not None and kind.when.times else ""
        notice = kind.notice.strip() or "NO NOTICE TEXT: this is not collected"
        told.setdefault(notice, []).append(f"{kind.kind} ({kind.retention_days} days{where})")
    for notice, kinds in told.items():
        lines += [f"  {notice}", *(f"      {kind}" for kind in kinds)]
    if not bundle.collection.kinds:
        lines.append("  nothing but the agent's own health")
    return "\n".join(lines) + "\n"


def _application(rule: ApplicationRule) -> Iterator[str]:
    matches = few([f"{match.by.value} {match.text}" for match in rule.matches])
    spared = few([f"{match.by.value} {match.text}" for match in rule.unless])
    yield f"  {rule.decision.value}: {matches}{f'; not {spared}' if spared else ''}{_when(rule.when)}"
    yield from _text(rule.text)


def _medium(rule: MediaRule) -> Iterator[str]:
    which = few([*rule.serials, *rule.vendor_products, *rule.buses]) or "every medium"
    yield f"  {rule.access.value}: {which}{_when(rule.when)}"
    yield from _text(rule.text)


def _site(rule: SiteRule, notice: NoticeSection) -> Iterator[str]:
    which = few([*(category(name, notice) for name in rule.categories), *rule.sites])
    spared = f"; not {few(list(rule.allowed))}" if rule.allowed else ""
    yield f"  {rule.decision.value}: {which}{spared}{_when(rule.when)}"
    yield from _text(rule.text)


def _setting(rule: BrowserRule) -> Iterator[str]:
    said = [
        f"{part.name.replace('_', ' ')} {value}"
        for part in fields(rule)
        if part.name not in ("text", "when", "allowed_extensions")
        and (value := getattr(rule, part.name))
        and str(value) != "unspecified"
    ]
    yield f"  {', '.join(said)}{_when(rule.when)}"
    yield from _text(rule.text)


def _locks_too(screen: ScreenSection) -> Iterator[str]:
    if screen.lock_on_lid:
        yield "  locks when the lid is shut"
    for token in screen.tokens:
        yield (
            f"  locks when the security key {token.vendor_product} {token.serial}".rstrip() + " is pulled out"
        )
    if screen.end_unlocked_seconds:
        minutes = screen.end_unlocked_seconds // 60
        yield f"  what does not lock is ended after {minutes} minutes, with words before; it is tried again until then"
    if screen.hold_media:
        yield "  removable media plugged in while it is locked wait until it is unlocked"


def _text(text: RuleText) -> Iterator[str]:
    source = f" [{', '.join(text.source)}]" if text.source else ""
    yield f"      {text.rule_id}, {_MODES.get(text.mode, 'mode unknown')}{source}"
    if text.description:
        yield f"      {text.description}"


def _when(when: Applicability | None) -> str:
    if when is None:
        return ""
    parts = [hours_of(when)] if when.times else []
    parts += [place.value for place in when.places]
    parts += [f"for {group}" for group in when.user_groups]
    return f" ({'; '.join(parts)})" if parts else ""


def hours_of(when: Applicability) -> str:
    """The windows of time, as "Mon Tue 08:30-15:45; ..."."""
    return "; ".join(window(one) for one in when.times)
