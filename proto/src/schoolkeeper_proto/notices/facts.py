"""A compiled policy as facts for one kind of reader: no words, no language. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from schoolkeeper_proto import policy
from schoolkeeper_proto.browser_sites import carried
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.model import DecisionKind, Place
from schoolkeeper_proto.notices import reach
from schoolkeeper_proto.peripheral_matching import not_carried
from schoolkeeper_proto.policy import MediaAccess, RuleMode


class Audience(StrEnum):
    PUPIL = "pupil"
    STAFF = "staff"
    GUEST = "guest"
    PARENT = "parent"


class Family(StrEnum):
    """What is collected, as people think of it: several kinds of event are one thing to a reader."""

    DEVICE = "device"
    PROTECTION = "protection"
    SIGN_IN = "sign-in"
    PROGRAMS = "programs"
    PROGRAM_USE = "program-use"
    MEDIA = "media"
    SITES = "sites"
    NETWORK = "network"
    BYPASS = "bypass"
    ISOLATION = "isolation"
    POSTURE = "posture"
    RULES = "rules"
    AGREEMENT = "agreement"
    ASKING = "asking"
    REPORT = "report"
    IMPORTED = "imported"
    OTHER = "other"


_FAMILIES = (
    (
        ("heartbeat", "sensor.", "agent.budget", "canary", "agent.started", "agent.stopped", "agent.update"),
        Family.DEVICE,
    ),
    (("spool.", "command."), Family.DEVICE),
    (("agent.", "clock."), Family.PROTECTION),
    (("session.",), Family.SIGN_IN),
    (("application.usage",), Family.PROGRAM_USE),
    (("application.",), Family.PROGRAMS),
    (("media.",), Family.MEDIA),
    (("site.",), Family.SITES),
    (("network.changed",), Family.NETWORK),
    (("network.filter_bypass",), Family.BYPASS),
    (("network.isolation",), Family.ISOLATION),
    (("posture",), Family.POSTURE),
    (("policy.", "grant."), Family.RULES),
    (("aup.",), Family.AGREEMENT),
    (("exception.",), Family.ASKING),
    (("person.",), Family.REPORT),
    (("imported.",), Family.IMPORTED),
)


class Act(StrEnum):
    """What a rule does, as a reader meets it."""

    BLOCK = "block"
    BLOCK_AND_RAISE = "block-and-raise"
    WARN = "warn"
    READ_ONLY = "read-only"
    ENCRYPTED_ONLY = "encrypted-only"
    ENCRYPTED_OR_READ = "encrypted-or-read"
    LOCK = "lock"
    SET = "set"


class Thing(StrEnum):
    PROGRAM = "program"
    MEDIUM = "medium"
    SCREEN = "screen"
    SITE = "site"
    BROWSER = "browser"
    NETWORK = "network"
    PERIPHERAL = "peripheral"


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """When a rule holds. ``windows``: (weekdays with bit 0 for Monday, from and to in minutes); empty is always."""

    windows: tuple[tuple[int, int, int], ...] = ()
    places: tuple[Place, ...] = ()
    on_some_days: bool = False
    some_people: bool = False
    exceptions: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """``what``: names in the school's own words, or of categories. ``checked``: our agent acts on it. ``seconds``: of
    the screen lock."""

    rule_id: str
    thing: Thing
    act: Act
    what: tuple[str, ...] = ()
    when: When = When()
    checked: bool = True
    seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """``days``: each period that one of the kinds has, rising. ``stopped``: why it is not collected at this moment."""

    family: Family
    kinds: tuple[str, ...]
    days: tuple[int, ...]
    readers: tuple[str, ...]
    off_site: bool
    hours: When = When()
    stopped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    audience: Audience
    school: str
    version: int
    bundle_hash: bytes
    restrictions: tuple[Restriction, ...]
    collected: tuple[Collected, ...]
    contacts: tuple[str, ...]
    not_watched: tuple[str, ...]
    language: str
    """Of the school's own words in here: ``contacts``, ``not_watched`` and ``also``."""
    also: tuple[policy.NoticeLine, ...] = ()
    """Rules of the school that no device checks."""
    categories: tuple[policy.CategoryWords, ...] = ()
    """What the school calls its own categories."""


Stopped = Callable[[frozenset[str]], str]
"""Why nothing of these kinds is collected now; empty when some is."""
R = TypeVar("R")


def facts_of(
    bundle: OpenBundle,
    audience: Audience,
    *,
    stopped: Stopped | None = None,
    acted_on: frozenset[str] = reach.ACTED_ON,
    school: str = "",
    groups: frozenset[str] | None = None,
) -> Facts:
    """All that this reader is told.

    ``stopped``: on a device, what does not run just now. ``acted_on``: sections that are enforced, see ``reach``.
    ``groups``: the reader's own built-in groups, as ``people:ks1``, where more is known than the kind of reader.
    """
    mine = _GROUPS[audience] if groups is None else groups
    everybody = _EVERYBODY if groups is None else EVERY_GROUP
    return Facts(
        audience=audience,
        school=school or bundle.manifest.school_id,
        version=bundle.manifest.version,
        bundle_hash=bundle.hash,
        restrictions=tuple(
            said for said, when in _restrictions(bundle, acted_on) if _concerns(when, mine, everybody)
        ),
        collected=tuple(_collected(bundle, stopped)),
        contacts=bundle.notice.contacts,
        not_watched=bundle.notice.not_watched,
        language=bundle.notice.language or "en",
        also=tuple(line for line in bundle.notice.also if _told(line, audience)),
        categories=bundle.notice.categories,
    )


def family_of(kind: str) -> Family:
    """The first prefix that fits; a kind that nobody sorted is told of as something else, never left out."""
    for prefixes, family in _FAMILIES:
        if kind.startswith(prefixes):
            return family
    return Family.OTHER


_GROUPS = {
    Audience.PUPIL: frozenset({"people:pupils"}),
    Audience.PARENT: frozenset({"people:pupils"}),
    Audience.STAFF: frozenset({"people:staff"}),
    Audience.GUEST: frozenset({"people:guests"}),
}
_EVERYBODY = frozenset(group for groups in _GROUPS.values() for group in groups)
KEY_STAGES = frozenset({"people:eyfs", "people:ks1", "people:ks2", "people:ks3+"})
EVERY_GROUP = _EVERYBODY | KEY_STAGES

OTHER_SITES, EVERY_SITE = "other-sites", "every-site"
"""How a rule on all sites is called; the first where it leaves some open."""
_SECTION = {
    Thing.PROGRAM: "applications",
    Thing.MEDIUM: "media",
    Thing.SCREEN: "screen",
    Thing.SITE: "browser",
    Thing.BROWSER: "browser",
    Thing.NETWORK: "network",
    Thing.PERIPHERAL: "peripherals",
}


def _concerns(when: policy.Applicability | None, mine: frozenset[str], everybody: frozenset[str]) -> bool:
    """Left out is only a rule that is surely for other people: a notice tells one for a key stage to every pupil."""
    if when is None or not when.user_groups:
        return True
    named = frozenset(when.user_groups)
    return bool(named & mine) or not named <= everybody


def _told(line: policy.NoticeLine, audience: Audience) -> bool:
    return not line.audiences or any(f"people:{name}" in _GROUPS[audience] for name in line.audiences)


def _restrictions(
    bundle: OpenBundle, acted_on: frozenset[str]
) -> list[tuple[Restriction, policy.Applicability | None]]:
    found: list[tuple[Restriction, policy.Applicability | None]] = []

    def add(
        text: policy.RuleText,
        when: policy.Applicability | None,
        thing: Thing,
        act: Act | None,
        what: Iterable[str] = (),
        *,
        seconds: int = 0,
        possible: bool = True,
    ) -> None:
        if act is None or text.mode is RuleMode.OBSERVE:
            return
        said = Restriction(
            rule_id=text.rule_id,
            thing=thing,
            act=Act.WARN if text.mode is RuleMode.WARN else act,
            what=tuple(dict.fromkeys(word for word in what if word)),
            when=_when(when),
            checked=possible and _SECTION[thing] in acted_on,
            seconds=seconds,
        )
        found.append((said, when))

    for rule in bundle.applications.rules:
        identity = (rule.identity,) if rule.identity else (match.text for match in rule.matches)
        # A category has a name in every language; what people call a program is in the school's own.
        add(rule.text, rule.when, Thing.PROGRAM, _act(rule.decision), rule.of_categories or identity)
    for medium in bundle.media.rules:
        add(
            medium.text,
            medium.when,
            Thing.MEDIUM,
            _medium(medium),
            (*medium.serials, *medium.vendor_products),
        )
    if bundle.screen is not None and bundle.screen.idle_lock_seconds:
        seconds = bundle.screen.idle_lock_seconds
        add(bundle.screen.text, bundle.screen.when, Thing.SCREEN, Act.LOCK, seconds=seconds)
    for site in bundle.browser.rules:
        everything = OTHER_SITES if site.allowed else EVERY_SITE
        what = (*site.categories, *(everything if name == "*" else name for name in site.sites))
        possible = carried(bundle.browser, site)
        act = _act(site.decision)
        if act is Act.BLOCK_AND_RAISE and possible and "browser" in acted_on:
            act = Act.BLOCK  # a browser tells nobody of what it refuses, so nobody is told of attempts
        add(site.text, site.when, Thing.SITE, act, what, possible=possible)
    for setting in bundle.browser.settings:
        possible = setting.text.mode is not RuleMode.WARN
        add(setting.text, setting.when, Thing.BROWSER, Act.SET, possible=possible)
    for way in bundle.network.rules:
        add(way.text, way.when, Thing.NETWORK, _act(way.decision), (way.use.value,))
    for part in bundle.peripherals.rules:
        kind = (part.kind.value,)
        possible = not not_carried(part)
        add(part.text, part.when, Thing.PERIPHERAL, _act(part.decision), kind, possible=possible)
    return found


def _act(decision: DecisionKind) -> Act | None:
    return {
        DecisionKind.BLOCK: Act.BLOCK,
        DecisionKind.BLOCK_AND_RAISE: Act.BLOCK_AND_RAISE,
        DecisionKind.WARN: Act.WARN,
        DecisionKind.READ_ONLY: Act.READ_ONLY,
    }.get(decision)


def _medium(rule: policy.MediaRule) -> Act | None:
    match rule.access:
        case MediaAccess.BLOCK:
            return Act.BLOCK
        case MediaAccess.READ_ONLY:
            return Act.READ_ONLY
        case MediaAccess.ENCRYPTED_ONLY:
            return Act.ENCRYPTED_OR_READ if rule.plain is MediaAccess.READ_ONLY else Act.ENCRYPTED_ONLY
        case _:
            return None


def _when(when: policy.Applicability | None) -> When:
    if when is None:
        return When()
    return When(
        windows=tuple((w.weekdays, w.from_minute, w.to_minute) for w in when.times),
        places=when.places,
        on_some_days=bool(when.days),
        some_people=bool(when.user_groups),
        exceptions=bool(when.exceptions),
    )


def _collected(bundle: OpenBundle, stopped: Stopped | None) -> Iterable[Collected]:
    """One thing per family and readers; a kind without a notice text is not collected, nor told of."""
    together: dict[tuple[Family, tuple[str, ...], bool, When], list[policy.CollectedKind]] = {}
    for kind in bundle.collection.kinds:
        if kind.notice.strip() and kind.kind not in reach.NEVER_MADE:
            key = (family_of(kind.kind), tuple(sorted(kind.readers)), kind.off_site, _when(kind.when))
            together.setdefault(key, []).append(kind)
    for (family, readers, off_site, hours), held in together.items():
        kinds = tuple(kind.kind for kind in held)
        yield Collected(
            family=family,
            kinds=kinds,
            days=tuple(sorted({kind.retention_days for kind in held})),
            readers=readers,
            off_site=off_site,
            hours=hours,
            stopped=stopped(frozenset(kinds)) if stopped is not None else "",
        )
