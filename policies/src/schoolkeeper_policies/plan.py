"""What would change if one compiled policy took the place of another: rule by rule, stricter or weaker.

The same function serves the author's ``plan``, the officer who signs and the collector that refuses: they cannot
disagree. The order of strictness is written down in ``comparing/README.md``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from schoolkeeper_policies.comparing.agreement import compare_agreement
from schoolkeeper_policies.comparing.browsing import compare_categories, compare_settings
from schoolkeeper_policies.comparing.change import Change, Direction
from schoolkeeper_policies.comparing.places_people import compare_grants, compare_people, compare_sites
from schoolkeeper_policies.comparing.rules import Rules, compare_rules
from schoolkeeper_policies.comparing.sections import (
    compare_collection,
    compare_posture,
    compare_screen,
    compare_unknown,
    compare_words,
)
from schoolkeeper_policies.lowering import conditions_of
from schoolkeeper_policies.people import named_groups
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.model import DecisionKind
from schoolkeeper_proto.policy import BundleManifest, CollectionSection

__all__ = ["Change", "Direction", "compare"]

_COMPARED = frozenset(
    {"applications", "media", "screen", "posture", "collection", "notice"}
    | {"sites", "people", "browser", "network", "peripherals", "grants", "agreement"}
)
_NOT_POLICY = frozenset({"hash", "manifest", "ignored_sections"})


def compare(before: OpenBundle | None, after: OpenBundle) -> tuple[Change, ...]:
    """Every change from ``before`` (None: no policy at all) to ``after``; empty when both decide and say the same.

    A section that is new to this code, or that it could not open, yields DIFFERENT for safeguarding: never nothing.
    """
    return tuple(_changes(before or _nothing(after), after))


def _nothing(like: OpenBundle) -> OpenBundle:
    manifest = BundleManifest(
        format=like.manifest.format,
        school_id=like.manifest.school_id,
        group=like.manifest.group,
        version=0,
        compiled_at_unix_ms=0,
    )
    # The first key makes no pseudonym new.
    collection = CollectionSection(pseudonym_key=like.collection.pseudonym_key)
    return OpenBundle(hash=b"", manifest=manifest, collection=collection)


def _changes(before: OpenBundle, after: OpenBundle) -> Iterator[Change]:
    group = after.manifest.group
    for name in ("applications", "media", "browser", "network", "peripherals"):
        yield from compare_rules(name, group, _rules(before, name), _rules(after, name))
    yield from compare_categories(group, before.browser, after.browser)
    yield from compare_settings(group, before.browser, after.browser)
    yield from compare_sites(group, before.sites, after.sites)
    # What could not be opened may name any group.
    blind = before.ignored_sections or after.ignored_sections
    ruled = None if blind else _ruled(before) | _ruled(after)
    yield from compare_people(group, before.people, after.people, ruled=ruled)
    yield from compare_grants(group, before.grants, after.grants)
    yield from compare_screen(group, before.screen, after.screen)
    yield from compare_posture(group, before.posture, after.posture)
    yield from compare_collection(group, before.collection, after.collection)
    for field in dataclasses.fields(OpenBundle):
        if field.name not in _COMPARED | _NOT_POLICY:
            old, new = getattr(before, field.name), getattr(after, field.name)
            yield from compare_unknown(field.name, group, old, new)
    yield from _unopened(before, after)
    yield from compare_words("notice", group, before.notice, after.notice)
    yield from compare_agreement(group, before.agreement, after.agreement)


def _ruled(bundle: OpenBundle) -> frozenset[str]:
    """The groups of people that a rule's conditions or exceptions name."""
    held = (bundle.applications, bundle.media, bundle.browser, bundle.network, bundle.peripherals)
    screen = (bundle.screen,) if bundle.screen is not None else ()
    conditions, exceptions = named_groups(conditions_of((*held, *screen)))
    return conditions | exceptions


def _rules(bundle: OpenBundle, name: str) -> Rules:
    """Rules and ``otherwise`` of a section; sections without an ``otherwise`` leave everything else alone."""
    section = getattr(bundle, name)
    return Rules(
        rules=section.rules, otherwise=getattr(section, "otherwise", DecisionKind.ALLOW), notice=bundle.notice
    )


def _unopened(before: OpenBundle, after: OpenBundle) -> Iterator[Change]:
    old, new = _sealed(before), _sealed(after)
    for name in sorted({*old, *new}):
        yield from compare_unknown(name, after.manifest.group, old.get(name, ""), new.get(name, ""))


def _sealed(bundle: OpenBundle) -> dict[str, str]:
    """Sections that were not opened, by what the manifest binds them to."""
    return {
        entry.name: f"version {entry.version}, {entry.sha256.hex()[:16]}"
        for entry in bundle.manifest.sections
        if entry.name in bundle.ignored_sections
    }
