"""How often is too often, as the school says it: limits of a pack put into the rules that leave them to the school."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from schoolkeeper_policies.detection.meta import RuleMeta
from schoolkeeper_policies.model import About
from schoolkeeper_policies.problems import Position, Problem
from schoolkeeper_policies.sigma import model as sigma
from schoolkeeper_policies.source import Source
from schoolkeeper_policies.validate import suggest

Limits = dict[str, tuple[int, Position]]
"""Rule -> the school's number, and where it says so; 0 for a rule that is off."""
Read = list[tuple[sigma.AnyRule, RuleMeta]]


def limits_of(source: Source, about: About) -> Limits:
    """What a pack says under ``pack: limits:``."""
    return {name: (count, source.at(("pack", "limits", name))) for name, count in about.limits.items()}


def with_limits(read: Read, limits: Limits) -> tuple[Read, list[Problem]]:
    """The rules with the school's numbers, without those that it switched off; and every limit that fits no rule."""
    open_to_school = {
        rule.about.name
        for rule, meta in read
        if meta.school_sets_limit and isinstance(rule, sigma.Correlation)
    }
    problems = [
        Problem(
            position=at,
            reason=f"no detection rule {name!r} leaves its limit to the school",
            remedy=suggest(name, sorted(open_to_school), "rules that do"),
        )
        for name, (_, at) in limits.items()
        if name not in open_to_school
    ]
    held: Read = []
    for rule, meta in read:
        count = limits[rule.about.name][0] if rule.about.name in limits else None
        if count is None or not isinstance(rule, sigma.Correlation):
            held.append((rule, meta))
        elif count > 0:
            held.append((_limited(rule, count), meta))
    return held, problems


def _limited(rule: sigma.Correlation, count: int) -> sigma.Correlation:
    """Another number is another version: what was remembered for the old one does not count for it."""
    version = hashlib.sha256(f"{rule.about.version}:{count}".encode()).hexdigest()[:16]
    return replace(rule, count=count, about=replace(rule.about, version=version))
