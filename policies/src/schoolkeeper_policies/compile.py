"""A pack into the bundle that a device takes: deterministic, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from schoolkeeper_policies import model
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_policies.problems import PolicyError, Position, Problem
from schoolkeeper_policies.validate import suggest
from schoolkeeper_proto import policy
from schoolkeeper_proto.bundle import MAX_BUNDLE_BYTES, build
from schoolkeeper_proto.model import DecisionKind


def compile_pack(
    name_or_path: str | Path,
    *,
    school_id: str,
    group: str,
    version: int,
    compiled_at_unix_ms: int,
    pseudonym_key: bytes,
) -> bytes:
    """The serialised bundle of one group. The same pack and arguments give the same bytes.

    Raises ``PolicyError`` with every mistake of the pack, or when it does not know the group and refuses others.
    """
    pack = load_pack(name_or_path)
    _check_group(pack, group)
    data = build(
        school_id=school_id,
        group=group,
        version=version,
        compiled_at_unix_ms=compiled_at_unix_ms,
        sections=sections(pack, group, pseudonym_key),
        source_hash=pack.source_hash,
    )
    if len(data) > MAX_BUNDLE_BYTES:
        at = Position(file=pack.about.name)
        reason = f"the bundle of {group!r} has {len(data)} bytes, devices take {MAX_BUNDLE_BYTES}"
        raise PolicyError(
            [Problem(position=at, reason=reason, remedy="split the group or shorten the rules")]
        )
    return data


def sections(pack: model.Pack, group: str, pseudonym_key: bytes) -> tuple[policy.Section, ...]:
    """What the bundle of ``group`` holds, in the order of the container."""
    held: list[policy.Section] = [
        policy.ApplicationsSection(
            rules=tuple(_application(rule, pack.school) for rule in pack.applications if _for(rule, group)),
            otherwise=DecisionKind.ALLOW,
        ),
        policy.MediaSection(
            rules=tuple(_medium(rule, pack.school) for rule in pack.media if _for(rule, group)),
            otherwise=DecisionKind.ALLOW,
        ),
        policy.PostureSection(checks=tuple(_check(check) for check in pack.posture)),
        _collection(pack.collection, pseudonym_key),
        _notice(pack.notice),
    ]
    if pack.screen is not None and _for(pack.screen, group):
        held.insert(2, _screen(pack.screen, pack.school))
    return tuple(held)


def _check_group(pack: model.Pack, group: str) -> None:
    names = [known.name for known in pack.groups]
    if group in names or pack.about.other_groups == "rules-for-all":
        return
    at = Position(file=pack.about.name)
    remedy = suggest(group, names, "groups of the pack")
    raise PolicyError([Problem(position=at, reason=f"the pack has no group {group!r}", remedy=remedy)])


def _for(rule: model.Rule, group: str) -> bool:
    return not rule.groups or group in rule.groups


def _text(rule: model.Rule) -> policy.RuleText:
    return policy.RuleText(
        rule_id=rule.id,
        description=rule.description,
        why=rule.why,
        resolution=rule.resolution,
        source=rule.source,
        mode=rule.mode,
        severity=rule.severity,
    )


def _when(when: model.When | None, school: model.School) -> policy.Applicability | None:
    if when is None:
        return None
    hours = (*when.times, *(school.hours if when.school_hours else ()))
    return policy.Applicability(
        times=tuple(
            policy.TimeWindow(
                weekdays=sum(1 << model.WEEKDAYS.index(day) for day in set(window.days)),
                from_minute=_minute(window.from_),
                to_minute=_minute(window.to),
            )
            for window in hours
        ),
        places=when.places,
        user_groups=when.user_groups,
        time_zone=school.time_zone if hours else "",
    )


def _minute(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


def _application(rule: model.ApplicationRule, school: model.School) -> policy.ApplicationRule:
    return policy.ApplicationRule(
        text=_text(rule),
        decision=rule.decision,
        matches=tuple(
            policy.ApplicationMatch(by=by, text=text) for match in rule.match for by, text in match.chosen()
        ),
        identity=rule.identity,
        when=_when(rule.when, school),
    )


def _medium(rule: model.MediaRule, school: model.School) -> policy.MediaRule:
    return policy.MediaRule(
        text=_text(rule),
        access=rule.access,
        plain=rule.plain,
        unknown=rule.unknown,
        serials=rule.serials,
        vendor_products=rule.vendor_products,
        buses=rule.buses,
        when=_when(rule.when, school),
    )


def _screen(screen: model.Screen, school: model.School) -> policy.ScreenSection:
    return policy.ScreenSection(
        text=_text(screen),
        idle_lock_seconds=screen.idle_lock_seconds,
        warn_seconds=screen.warn_seconds,
        when=_when(screen.when, school),
    )


def _check(check: model.PostureCheck) -> policy.PostureCheck:
    return policy.PostureCheck(
        check=check.check, every_seconds=check.every_seconds, threshold=check.threshold, fix=check.fix
    )


def _collection(collection: model.Collection, pseudonym_key: bytes) -> policy.CollectionSection:
    return policy.CollectionSection(
        kinds=tuple(
            policy.CollectedKind(
                kind=kind,
                notice=item.notice,
                purpose=item.purpose,
                retention_days=item.retention_days,
                readers=item.readers,
                off_site=item.off_site,
            )
            for item in collection.collected
            for kind in item.kinds
        ),
        heartbeat_seconds=collection.heartbeat_seconds,
        pseudonym_key=pseudonym_key,
        shared_accounts=collection.shared_accounts,
    )


def _notice(notice: model.Notice) -> policy.NoticeSection:
    return policy.NoticeSection(
        title=notice.title,
        introduction=notice.introduction,
        not_watched=notice.not_watched,
        contacts=notice.contacts,
        sign_in_notice=notice.sign_in_notice,
        language=notice.language,
    )
