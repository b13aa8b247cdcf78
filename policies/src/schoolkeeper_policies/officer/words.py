"""A review in plain words, the same on the command line, on the loopback page and in the console."""

from __future__ import annotations

from collections.abc import Iterator

from schoolkeeper_policies.officer.review import BundleChange, Review, when
from schoolkeeper_policies.plan import Change, Direction

DIRECTION = {
    Direction.STRICTER: "stricter",
    Direction.WEAKER: "weaker",
    Direction.DIFFERENT: "different: cannot be told",
    Direction.WORDS: "words only",
}


def review_text(seen: Review) -> Iterator[str]:
    """Line by line, for a terminal."""
    yield f"{seen.school_name} ({seen.school_id}), change {seen.version}; holds until {when(seen.expires_unix_ms)}"
    for bundle in seen.bundles:
        yield ""
        yield bundle_title(bundle)
        for change in bundle.changes:
            yield f"  {change_title(change)}"
            yield from (f"      {line}" for line in change_lines(change))
        if not bundle.changes:
            yield "  nothing that a device decides or says changes"
    if seen.other:
        yield ""
        yield from (f"  {line}" for line in seen.other)
    yield from _reasons(seen)
    yield ""
    yield from state_lines(seen)


def bundle_title(bundle: BundleChange) -> str:
    if not bundle.from_version:
        against = f", compared with {bundle.against}" if bundle.against else ""
        return f"new  {bundle.target}: version {bundle.to_version}{against}; {counts(bundle.changes)}"
    return (
        f"changed  {bundle.target}: version {bundle.from_version} -> version {bundle.to_version}; "
        f"{counts(bundle.changes)}"
    )


def counts(changes: tuple[Change, ...]) -> str:
    """``3 stricter, 1 weaker``, or ``no rule changes``."""
    found = [(sum(c.direction is d for c in changes), DIRECTION[d]) for d in Direction]
    return ", ".join(f"{number} {word}" for number, word in found if number) or "no rule changes"


def change_title(change: Change) -> str:
    mark = " [safeguarding]" if change.safeguarding else ""
    return f"{DIRECTION[change.direction]}: {change.section} {change.rule_id} {change.what}{mark}"


def change_lines(change: Change) -> Iterator[str]:
    if change.before:
        yield f"before: {change.before}"
    if change.after:
        yield f"after:  {change.after}"
    if change.why:
        yield f"why:    {change.why}"


def state_lines(seen: Review) -> Iterator[str]:
    """Who signed, who is missing, what is lacking."""
    if seen.weakening:
        yield f"This change WEAKENS {len(seen.weakening)} safeguarding rule(s)."
    for lack in seen.lacks:
        yield f"Lacking: {lack}"
    if seen.new_root:
        yield f"Root keys that signed: {seen.root_signed_by}; {seen.root_signatures_missing} more are needed."
    yield f"Signed by: {', '.join(sorted(seen.signed_by)) or 'nobody yet'}."
    for duty in seen.duties_missing:
        people = sorted(d.officer for d in seen.root.duties.values() if d.duty is duty)
        yield f"Missing: a {duty.value} officer ({', '.join(people)})."
    for name in missing_people(seen):
        yield f"Missing: {name}, whom the risk assessments or the consent name."


def missing_people(seen: Review) -> list[str]:
    entry = seen.record
    if entry is None or not seen.weakening:
        return []
    named = {given.by for given in (entry.technical, entry.educational, entry.consent) if given}
    return sorted(named - seen.signed_by)


def is_complete(seen: Review) -> bool:
    """Whether `publish` would take it."""
    return not (seen.lacks or seen.duties_missing or seen.root_signatures_missing or missing_people(seen))


def _reasons(seen: Review) -> Iterator[str]:
    entry = seen.record
    if entry is None:
        return
    yield ""
    yield f"Staged by {entry.staged_by or 'somebody unnamed'}: {entry.why or 'no reason was given'}"
    for what, given in (
        ("Technical risk assessment", entry.technical),
        ("Educational risk assessment", entry.educational),
        ("Leadership's consent", entry.consent),
    ):
        if given is not None:
            yield f"{what}, {given.by}: {given.text}"
