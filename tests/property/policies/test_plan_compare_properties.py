"""Comparing two policies: no change is overlooked, and what is called stricter never answers weaker."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from schoolkeeper_policies.plan import Direction, compare
from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.conditions import Circumstances
from schoolkeeper_proto.matching import STRICTNESS, compile_applications
from schoolkeeper_proto.media_matching import MediaTable
from schoolkeeper_proto.model import DecisionKind, Medium, MediumEncryption, Place, Severity
from schoolkeeper_proto.policy import MatchBy, MediaAccess, RuleMode

MONDAY_MS = 1_795_392_000_000  # 2026-11-23T00:00Z
_DECISIONS = [
    DecisionKind.ALLOW,
    DecisionKind.OBSERVE,
    DecisionKind.WARN,
    DecisionKind.BLOCK,
    DecisionKind.BLOCK_AND_RAISE,
]
_MATCHES = [
    policy.ApplicationMatch(by=by, text=text)
    for by, text in (
        (MatchBy.PATH, "/opt/a/x"),
        (MatchBy.PATH, "/opt/a/y"),
        (MatchBy.FILE_NAME, "x"),
        (MatchBy.PATH_PATTERN, "/opt/**"),
        (MatchBy.PATH_PATTERN, "/opt/a/*"),
        (MatchBy.PATH_PATTERN, "/**/x"),
        (MatchBy.PACKAGE, "p"),
    )
]
_PATHS = ["/opt/a/x", "/opt/a/y", "/usr/x", "/opt/b/c/d"]
windows = st.builds(
    policy.TimeWindow,
    weekdays=st.sampled_from([1, 31, 127, 64]),
    from_minute=st.sampled_from([0, 480, 1380]),
    to_minute=st.sampled_from([60, 960, 1440]),
)
whens = st.none() | st.builds(
    policy.Applicability,
    times=st.lists(windows, max_size=2).map(tuple),
    places=st.lists(st.sampled_from([Place.ON_SITE, Place.OFF_SITE]), max_size=1).map(tuple),
    user_groups=st.lists(st.sampled_from(["pupils", "staff"]), max_size=1).map(tuple),
)


def texts(ids: list[str]) -> st.SearchStrategy[policy.RuleText]:
    return st.builds(
        policy.RuleText,
        rule_id=st.sampled_from(ids),
        mode=st.sampled_from([RuleMode.OBSERVE, RuleMode.WARN, RuleMode.ENFORCE]),
        severity=st.sampled_from([Severity.LOW, Severity.HIGH]),
        why=st.sampled_from(["", "because"]),
    )


application_rules = st.builds(
    policy.ApplicationRule,
    text=texts(["a", "b", "c"]),
    decision=st.sampled_from(_DECISIONS),
    matches=st.lists(st.sampled_from(_MATCHES), min_size=1, max_size=2).map(tuple),
    when=whens,
    unless=st.just(()) | st.lists(st.sampled_from(_MATCHES), max_size=2).map(tuple),
)
media_rules = st.builds(
    policy.MediaRule,
    text=texts(["m", "n"]),
    access=st.sampled_from(
        [MediaAccess.ALLOW, MediaAccess.READ_ONLY, MediaAccess.BLOCK, MediaAccess.ENCRYPTED_ONLY]
    ),
    plain=st.sampled_from([MediaAccess.READ_ONLY, MediaAccess.BLOCK]),
    unknown=st.sampled_from([MediaAccess.READ_ONLY, MediaAccess.BLOCK]),
    serials=st.lists(st.sampled_from(["S1", "S2"]), max_size=1).map(tuple),
    vendor_products=st.lists(st.sampled_from(["AB:1", "ab:*"]), max_size=1).map(tuple),
    buses=st.lists(st.sampled_from(["usb"]), max_size=1).map(tuple),
    when=whens,
)
screens = st.none() | st.builds(
    policy.ScreenSection,
    text=texts(["screen.lock"]),
    idle_lock_seconds=st.sampled_from([0, 300, 600]),
    warn_seconds=st.sampled_from([0, 30]),
    when=whens,
)
checks = st.builds(
    policy.PostureCheck,
    check=st.sampled_from(["updates", "filter", "lock"]),
    every_seconds=st.sampled_from([600, 3600]),
    threshold=st.sampled_from([0, 7, 14]),
)
kinds = st.builds(
    policy.CollectedKind,
    kind=st.sampled_from(["canary", "application.refused", "application.usage"]),
    notice=st.sampled_from(["said", "said otherwise"]),
    retention_days=st.sampled_from([30, 366]),
    off_site=st.booleans(),
)


@st.composite
def bundles(draw: st.DrawFn) -> OpenBundle:
    def unique(items: list[object], key: str) -> tuple[object, ...]:
        return tuple({getattr(item, key): item for item in items}.values())

    applications = {rule.text.rule_id: rule for rule in draw(st.lists(application_rules, max_size=3))}
    media = {rule.text.rule_id: rule for rule in draw(st.lists(media_rules, max_size=2))}
    posture = {check.check: check for check in draw(st.lists(checks, max_size=3))}
    collected = {kind.kind: kind for kind in draw(st.lists(kinds, max_size=3))}
    return OpenBundle(
        hash=b"",
        manifest=policy.BundleManifest(format=1, school_id="s", group="g", version=1, compiled_at_unix_ms=0),
        applications=policy.ApplicationsSection(
            rules=tuple(applications.values()), otherwise=draw(st.sampled_from(_DECISIONS))
        ),
        media=policy.MediaSection(
            rules=tuple(media.values()),
            otherwise=draw(st.sampled_from([DecisionKind.ALLOW, DecisionKind.READ_ONLY, DecisionKind.BLOCK])),
        ),
        screen=draw(screens),
        posture=policy.PostureSection(checks=tuple(posture.values())),
        collection=policy.CollectionSection(
            kinds=tuple(collected.values()), heartbeat_seconds=draw(st.sampled_from([60, 300]))
        ),
    )


_CIRCUMSTANCES = [
    Circumstances(now_ms=MONDAY_MS + day * 86_400_000 + hour * 3_600_000, place=place, groups=groups)
    for day in (0, 6)
    for hour in (0, 9, 20)
    for place in ("on-site", "off-site", "unknown")
    for groups in (None, frozenset({"pupils"}), frozenset({"staff"}))
]
_MEDIA = [
    Medium(
        kernel_name="sda", serial=serial, vendor_id=vendor, product_id="1", bus="usb", encryption=encryption
    )
    for serial in ("S1", "other")
    for vendor in ("ab", "cd")
    for encryption in (MediumEncryption.LUKS2, MediumEncryption.NONE, MediumEncryption.UNKNOWN)
]


def _levels(bundle: OpenBundle) -> list[int]:
    table = compile_applications(bundle.applications)
    media = MediaTable(bundle.media)
    return [
        STRICTNESS[table.decide(path, now, package="p" if path == "/usr/x" else "").decision]
        for path in _PATHS
        for now in _CIRCUMSTANCES
    ] + [STRICTNESS[str(media.decide(medium, now).access)] for medium in _MEDIA for now in _CIRCUMSTANCES]


@given(bundles())
def test_a_policy_does_not_differ_from_itself(one: OpenBundle) -> None:
    assert compare(one, one) == ()
    renumbered = replace(one, hash=hashlib.sha256(b"x").digest(), manifest=replace(one.manifest, version=9))
    assert compare(one, renumbered) == ()


@given(bundles(), bundles())
def test_the_way_back_is_the_same_way_reversed(one: OpenBundle, other: OpenBundle) -> None:
    there = {(c.section, c.rule_id): c for c in compare(one, other)}
    back = {(c.section, c.rule_id): c for c in compare(other, one)}
    assert there.keys() == back.keys()
    for key, change in there.items():
        assert back[key].direction is change.direction.reversed, (change, back[key])
        assert back[key].safeguarding is change.safeguarding
        assert (back[key].before, back[key].after) == (change.after, change.before)


@settings(max_examples=200)
@given(bundles(), bundles())
def test_nothing_answers_weaker_when_no_change_is_called_weaker(one: OpenBundle, other: OpenBundle) -> None:
    """The property that the weakening gate rests on, held against the device's own engine."""
    directions = {c.direction for c in compare(one, other) if c.section in ("applications", "media")}
    pairs = list(zip(_levels(one), _levels(other), strict=True))
    if not directions & {Direction.WEAKER, Direction.DIFFERENT}:
        assert all(after >= before for before, after in pairs)
    if not directions & {Direction.STRICTER, Direction.DIFFERENT}:
        assert all(after <= before for before, after in pairs)


@settings(max_examples=200)
@given(bundles(), application_rules, st.data())
def test_one_changed_rule_never_hides_a_weaker_answer(
    one: OpenBundle, new: policy.ApplicationRule, data: st.DataObject
) -> None:
    """As above, with pairs that are near each other, so that most comparisons have a direction."""
    kept = [rule for rule in one.applications.rules if rule.text.rule_id != new.text.rule_id]
    old = data.draw(st.sampled_from([None, new, *one.applications.rules]))
    if old is not None:
        field = data.draw(st.sampled_from(["when", "decision", "matches", "unless", "text"]))
        if field == "text":
            new = replace(new, text=replace(new.text, mode=old.text.mode))
        else:
            new = replace(new, **{field: getattr(old, field)})
    other = replace(one, applications=replace(one.applications, rules=(*kept, new)))
    test_nothing_answers_weaker_when_no_change_is_called_weaker.hypothesis.inner_test(one, other)  # type: ignore[attr-defined]


@given(bundles(), application_rules)
def test_adding_a_refusal_is_never_weaker(one: OpenBundle, rule: policy.ApplicationRule) -> None:
    block = replace(
        rule,
        text=replace(rule.text, rule_id="new", mode=RuleMode.ENFORCE),
        decision=DecisionKind.BLOCK_AND_RAISE,
    )
    other = replace(one, applications=replace(one.applications, rules=(*one.applications.rules, block)))
    assert {c.direction for c in compare(one, other)} <= {Direction.STRICTER, Direction.WORDS}


@given(bundles(), bundles())
def test_the_order_of_rules_and_checks_does_not_matter(one: OpenBundle, other: OpenBundle) -> None:
    shuffled = replace(
        other,
        applications=replace(other.applications, rules=other.applications.rules[::-1]),
        media=replace(other.media, rules=other.media.rules[::-1]),
        posture=policy.PostureSection(checks=other.posture.checks[::-1]),
        collection=replace(other.collection, kinds=other.collection.kinds[::-1]),
    )
    assert sorted(compare(one, other), key=repr) == sorted(compare(one, shuffled), key=repr)
