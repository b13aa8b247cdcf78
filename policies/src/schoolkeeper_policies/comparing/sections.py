"""Screen, posture, collection and what this code does not know, compared. Applications and media: ``rules.py``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schoolkeeper_policies.comparing.change import Aspect, Change, Direction, together
from schoolkeeper_policies.comparing.ranks import MODES
from schoolkeeper_policies.comparing.regions import Extent, when_extent
from schoolkeeper_policies.comparing.rules import change_of, text_aspects, unlike
from schoolkeeper_policies.comparing.words import when_said
from schoolkeeper_proto.matching import mode_of
from schoolkeeper_proto.policy import (
    CollectedKind,
    CollectionSection,
    FilterTest,
    NoticeLine,
    PostureCheck,
    PostureSection,
    ScreenSection,
)
from schoolkeeper_proto.posture import THRESHOLDS, Check

FILTER_CHECKS = (Check.CONTENT_FILTER.value, "filter", "web-filter", "canary")
"""A posture check whose name begins so says whether illegal content is filtered: dropping it is never a detail."""
SAFEGUARDING_KINDS = (
    "person.report",
    "canary",
    "network.filter_bypass",
    "site.refused",
    "application.refused",
    "imported.alert",
    "agent.killed",
    "agent.tampered",
    "agent.removal",
    "agent.gap",
    "clock.changed",
    "session.signed_in",
    "posture",
)
"""Kinds without which a safeguarding concern would not be seen, or would not be put down to anybody."""


def compare_screen(group: str, old: ScreenSection | None, new: ScreenSection | None) -> Iterator[Change]:
    if old == new:
        return
    if old is None or new is None:
        held = old or new
        assert held is not None
        came = new is not None
        direction = Direction.WORDS
        if held.idle_lock_seconds > 0 and mode_of(held.text) != "observe":
            direction = Direction.STRICTER if came else Direction.WEAKER
        yield one_change(
            "screen", group, held.text.rule_id, came, direction, held.text.safeguarding, _screen(held)
        )
        return
    aspects = [*_screen_aspects(old, new), *text_aspects(old.text, new.text)]
    is_safeguarding = old.text.safeguarding or new.text.safeguarding
    if aspects:
        yield change_of("screen", group, new.text.rule_id, aspects, is_safeguarding)


def _screen_aspects(old: ScreenSection, new: ScreenSection) -> Iterator[Aspect]:
    directions = []
    # 0 means never: later than anything.
    before, after = old.idle_lock_seconds or 1 << 32, new.idle_lock_seconds or 1 << 32
    if before != after:
        directions.append(Direction.STRICTER if after < before else Direction.WEAKER)
    first, second = MODES[mode_of(old.text)], MODES[mode_of(new.text)]
    if first != second:
        directions.append(Direction.STRICTER if second > first else Direction.WEAKER)
    extent = when_extent(old.when, new.when)
    reach = {
        Extent.WIDER: Direction.STRICTER,
        Extent.NARROWER: Direction.WEAKER,
        Extent.UNCLEAR: Direction.DIFFERENT,
    }
    if extent in reach:
        directions.append(reach[extent])
    directions += _more_locks(old, new)
    known = {"text", "when", "idle_lock_seconds", "warn_seconds", "lock_on_lid", "tokens"}
    known |= {"end_unlocked_seconds", "hold_media"}
    if unlike(old, new) - known:
        directions.append(Direction.DIFFERENT)
    if unlike(old, new) - {"text"} or first != second:
        why = "when the screen locks, or what is said before"
        yield Aspect(direction=together(directions), before=_screen(old), after=_screen(new), why=why)


def _more_locks(old: ScreenSection, new: ScreenSection) -> Iterator[Direction]:
    """What else locks a screen, and what comes of one that stays open."""
    pairs = [(old.lock_on_lid, new.lock_on_lid), (old.hold_media, new.hold_media)]
    pairs += [(token in old.tokens, token in new.tokens) for token in (*old.tokens, *new.tokens)]
    # 0 means never: later than anything.
    latest = 1 << 32
    pairs.append(
        (
            (old.end_unlocked_seconds or latest) < (new.end_unlocked_seconds or latest),
            (old.end_unlocked_seconds or latest) > (new.end_unlocked_seconds or latest),
        )
    )
    for before, after in pairs:
        if before != after:
            yield Direction.STRICTER if after else Direction.WEAKER


def _screen(section: ScreenSection) -> str:
    parts = [
        f"{mode_of(section.text)} lock after {section.idle_lock_seconds} s",
        f"warning {section.warn_seconds} s before",
    ]
    if section.lock_on_lid:
        parts.append("lock when the lid is shut")
    for token in section.tokens:
        named = f"{token.vendor_product} {token.serial}".strip()
        parts.append(f"lock when {named} is pulled out")
    if section.end_unlocked_seconds:
        parts.append(f"end what does not lock after {section.end_unlocked_seconds} s")
    if section.hold_media:
        parts.append("hold media while locked")
    return ", ".join(parts) + when_said(section.when)


def compare_posture(group: str, old: PostureSection, new: PostureSection) -> Iterator[Change]:
    """Check by check. A new check is stricter, one that is gone weaker."""
    before = {check.check: check for check in old.checks}
    after = {check.check: check for check in new.checks}
    for name in sorted({*before, *after}):
        first, second = before.get(name), after.get(name)
        guarded = name.startswith(FILTER_CHECKS)
        if first is None or second is None:
            held = first or second
            assert held is not None
            direction = Direction.STRICTER if first is None else Direction.WEAKER
            yield one_change("posture", group, name, first is None, direction, guarded, _check(held))
        elif first != second:
            yield change_of("posture", group, name, list(_check_aspects(first, second)), guarded)
    yield from _rest("posture", group, old, new, {"checks"})


def _check_aspects(old: PostureCheck, new: PostureCheck) -> Iterator[Aspect]:
    for name in sorted(unlike(old, new)):
        before, after = getattr(old, name), getattr(new, name)
        direction = Direction.DIFFERENT
        if name == "fix":
            direction = Direction.WORDS
        elif name == "every_seconds":
            direction = _direction(before, after, lower_is_stricter=True)
        elif name == "threshold" and (heeded := THRESHOLDS.get(old.check)) is not None:
            before, after = before or heeded.default, after or heeded.default
            direction = _direction(before, after, lower_is_stricter=heeded.lower_is_stricter)
        elif name == "filter_test":
            if before is None or after is None:
                direction = Direction.STRICTER if before is None else Direction.WEAKER
            before, after = _tried(before), _tried(after)
        yield Aspect(
            direction=direction, before=f"{name} {before}", after=f"{name} {after}", why=f"{name} changed"
        )


def _direction(before: int, after: int, *, lower_is_stricter: bool) -> Direction:
    if before == after:
        return Direction.WORDS
    return Direction.STRICTER if (after < before) is lower_is_stricter else Direction.WEAKER


def _tried(test: FilterTest | None) -> str:
    if test is None:
        return "none"
    return f"of {test.blocked_url} beside {test.control_url}, refusal says {test.refusal_says!r}"


def _check(check: PostureCheck) -> str:
    threshold = f", threshold {check.threshold}" if check.threshold else ""
    return f"every {check.every_seconds} s{threshold}"


def compare_collection(group: str, old: CollectionSection, new: CollectionSection) -> Iterator[Change]:
    """Kind by kind. For a safeguarding kind less is weaker; for others more or less collected is DIFFERENT."""
    before = {kind.kind: kind for kind in old.kinds if kind.notice.strip()}
    after = {kind.kind: kind for kind in new.kinds if kind.notice.strip()}
    for name in sorted({*before, *after}):
        first, second = before.get(name), after.get(name)
        guarded = name in SAFEGUARDING_KINDS
        if first is None or second is None:
            held = first or second
            assert held is not None
            direction = Direction.DIFFERENT
            if guarded:
                direction = Direction.STRICTER if first is None else Direction.WEAKER
            yield one_change("collection", group, name, first is None, direction, guarded, _kind(held))
        elif first != second:
            yield change_of("collection", group, name, list(_kind_aspects(first, second, guarded)), guarded)
    if old.heartbeat_seconds != new.heartbeat_seconds:
        shorter = new.heartbeat_seconds < old.heartbeat_seconds
        aspect = Aspect(
            direction=Direction.STRICTER if shorter else Direction.WEAKER,
            before=f"every {old.heartbeat_seconds} s",
            after=f"every {new.heartbeat_seconds} s",
            why="a device that fell silent is noticed " + ("sooner" if shorter else "later"),
        )
        yield change_of("collection", group, "heartbeat_seconds", [aspect], False)
    if old.pseudonym_key != new.pseudonym_key:
        why = "people get new pseudonyms: what happened before is not joined with what comes"
        aspect = Aspect(direction=Direction.DIFFERENT, before="one key", after="another key", why=why)
        yield change_of("collection", group, "pseudonym_key", [aspect], True)
    yield from _rest("collection", group, old, new, {"kinds", "heartbeat_seconds", "pseudonym_key"})


def _kind_aspects(old: CollectedKind, new: CollectedKind, guarded: bool) -> Iterator[Aspect]:
    for name in sorted(unlike(old, new)):
        before, after = getattr(old, name), getattr(new, name)
        direction = Direction.DIFFERENT
        if name in ("notice", "purpose"):
            direction = Direction.WORDS
        elif name == "sealing":
            # Fewer can read what is sealed, and detection may see less of it.
            direction = Direction.DIFFERENT
        elif name in ("retention_days", "off_site") and guarded:
            direction = Direction.STRICTER if after > before else Direction.WEAKER
        elif name == "when" and guarded and None in (before, after):
            direction = Direction.STRICTER if after is None else Direction.WEAKER
        yield Aspect(
            direction=direction, before=f"{name} {before}", after=f"{name} {after}", why=f"{name} changed"
        )


def _kind(kind: CollectedKind) -> str:
    where = "" if kind.off_site else ", at school only"
    where += ", in certain hours only" if kind.when is not None else ""
    return f"kept {kind.retention_days} days, read by {', '.join(kind.readers)}{where}"


def compare_words(section: str, group: str, old: Any, new: Any) -> Iterator[Change]:
    """A section that is only read by people."""
    aspects = [
        Aspect(
            direction=Direction.WORDS,
            before=_read(getattr(old, name)),
            after=_read(getattr(new, name)),
            why=name,
        )
        for name in sorted(unlike(old, new))
    ]
    if aspects:
        yield change_of(section, group, "", aspects, False)


def _read(value: object) -> str:
    """A text, or several, as people read them."""
    if isinstance(value, NoticeLine):
        to = f" (to {', '.join(value.audiences)})" if value.audiences else ""
        others = "".join(f" [{one.language}, {one.level}: {one.said}]" for one in value.rewordings)
        return value.said + to + others
    return " / ".join(map(_read, value)) if isinstance(value, tuple) else str(value)


def compare_unknown(section: str, group: str, old: object, new: object) -> Iterator[Change]:
    """A section that this code has no order for: any difference is DIFFERENT, and counts for safeguarding."""
    if old != new:
        why = "this section has no order of strictness here; what cannot be told counts as weaker"
        aspect = Aspect(direction=Direction.DIFFERENT, before=_cut(old), after=_cut(new), why=why)
        yield change_of(section, group, "", [aspect], True)


def _rest(section: str, group: str, old: Any, new: Any, known: set[str]) -> Iterator[Change]:
    for name in sorted(unlike(old, new) - known):
        why = f"{name} changed"
        aspect = Aspect(
            direction=Direction.DIFFERENT,
            before=_cut(getattr(old, name)),
            after=_cut(getattr(new, name)),
            why=why,
        )
        yield change_of(section, group, name, [aspect], True)


def one_change(
    section: str, group: str, rule_id: str, came: bool, direction: Direction, guarded: bool, text: str
) -> Change:
    return Change(
        group=group,
        section=section,
        rule_id=rule_id,
        what="added" if came else "removed",
        direction=direction,
        safeguarding=guarded,
        before="" if came else text,
        after=text if came else "",
        why="it came" if came else "it is gone",
    )


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= 160 else text[:159] + "…"
