"""The change log's entry for one publication, and what a weaker safeguarding rule must bring (W-17, W-76).

An entry is a signed target of its own (``change-log``), chained to the one before by its hash, so that it can neither
be altered nor left out later. A change that weakens a safeguarding rule needs a technical and an educational risk
assessment and the leadership's consent, each by a named officer who signs the very change. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schoolkeeper_policies.plan import Change
from schoolkeeper_proto import policy, trust

TARGET = "change-log"
LEADERSHIP = frozenset({"head", "deputy-head", "executive-head", "slt", "leadership", "chair"})
"""Titles in the key statement whose holders can give the leadership's consent."""
MIN_ASSESSMENT = 40
_MAX_BYTES = 4 << 20


class RecordError(ValueError):
    """A change-log entry that is missing, unreadable or incomplete; says what is missing and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """``by``: an officer's name in the root. ``text``: their own words."""

    by: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleStep:
    """``from_version`` 0 and an empty hash: the group is new, and compared with the group ``against``.

    Hashes are SHA-256, hexadecimal.
    """

    group: str
    from_version: int
    from_sha256: str
    to_version: int
    to_sha256: str
    against: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One change, as ``plan.compare`` said it."""

    group: str
    section: str
    rule_id: str
    what: str
    direction: str
    safeguarding: bool
    before: str
    after: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRecord:
    """``number``: the version of the targets it comes with. ``previous_sha256``: of the entry before, or empty."""

    school_id: str
    number: int
    previous_sha256: str
    staged_unix_ms: int
    staged_by: str
    why: str
    bundles: tuple[BundleStep, ...] = ()
    changes: tuple[Line, ...] = ()
    other: tuple[str, ...] = ()
    technical: Assessment | None = None
    educational: Assessment | None = None
    consent: Assessment | None = None


def lines(changes: Iterable[Change]) -> tuple[Line, ...]:
    return tuple(
        Line(
            group=change.group,
            section=change.section,
            rule_id=change.rule_id,
            what=change.what,
            direction=str(change.direction),
            safeguarding=change.safeguarding,
            before=change.before,
            after=change.after,
            why=change.why,
        )
        for change in changes
    )


def weakening(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Those that a school may not make without assessments and consent: weaker, or not comparable."""
    return tuple(change for change in changes if change.weakens_safeguarding)


def missing(
    record: ChangeRecord | None,
    changes: Iterable[Change],
    root: trust.RootView,
    statement: policy.KeyStatement,
    signed_by: frozenset[str] | None = None,
) -> tuple[str, ...]:
    """What a weakening change still lacks, each with its remedy; empty when nothing.

    ``signed_by``: officers whose signatures are on the change; None before anybody signed.
    """
    weaker = weakening(changes)
    if not weaker:
        return ()
    if record is None:
        return ("the change-log entry: stage the change anew",)
    named = f"{weaker[0].group}: {weaker[0].rule_id}" + (f" and {len(weaker) - 1} more" if weaker[1:] else "")
    lacks = []
    if not record.why.strip():
        lacks.append(f"a reason for weakening {named}: stage with --why")
    for what, given, duty in (
        ("technical", record.technical, trust.Duty.TECHNICAL),
        ("educational", record.educational, trust.Duty.SAFEGUARDING),
    ):
        lacks += _assessment_lacks(what, given, duty, root, named)
    lacks += _consent_lacks(record.consent, statement)
    if not lacks and signed_by is not None:
        given_by = (record.technical, record.educational, record.consent)
        for name in sorted({given.by for given in given_by if given} - signed_by):
            lacks.append(f"the signature of {name}, whom the risk assessment or the consent names")
    return tuple(lacks)


def require(
    record: ChangeRecord | None,
    changes: Iterable[Change],
    root: trust.RootView,
    statement: policy.KeyStatement,
    signed_by: frozenset[str] | None = None,
) -> None:
    """Raises ``RecordError`` naming everything that a weakening change lacks."""
    lacks = missing(record, changes, root, statement, signed_by)
    if lacks:
        raise RecordError("this change weakens a safeguarding rule and lacks:\n  - " + "\n  - ".join(lacks))


def write(record: ChangeRecord) -> bytes:
    """The entry's bytes: canonical JSON, so that the same entry has one hash."""
    return trust.canonical_json(
        {
            "format": 1,
            "school_id": record.school_id,
            "number": record.number,
            "previous_sha256": record.previous_sha256,
            "staged_unix_ms": record.staged_unix_ms,
            "staged_by": record.staged_by,
            "why": record.why,
            "bundles": [_plain(step, _STEP) for step in record.bundles],
            "changes": [_plain(line, _LINE) for line in record.changes],
            "other": list(record.other),
            "technical": _plain(record.technical, _ASSESSMENT) if record.technical else None,
            "educational": _plain(record.educational, _ASSESSMENT) if record.educational else None,
            "consent": _plain(record.consent, _ASSESSMENT) if record.consent else None,
        }
    )


def read(data: bytes) -> ChangeRecord:
    """Raises ``RecordError``."""
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError(f"{len(data)} bytes")
        said = json.loads(data)
        if said["format"] != 1:
            raise ValueError(f"format {said['format']!r}: update this program")
        return ChangeRecord(
            school_id=_text(said, "school_id"),
            number=_number(said, "number"),
            previous_sha256=_text(said, "previous_sha256"),
            staged_unix_ms=_number(said, "staged_unix_ms"),
            staged_by=_text(said, "staged_by"),
            why=_text(said, "why"),
            bundles=tuple(_step(item) for item in said["bundles"]),
            changes=tuple(_line(item) for item in said["changes"]),
            other=tuple(str(item) for item in said["other"]),
            technical=_assessment(said["technical"]),
            educational=_assessment(said["educational"]),
            consent=_assessment(said["consent"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordError(f"the change-log entry cannot be read ({error}): stage the change anew") from error


def _assessment_lacks(
    what: str, given: Assessment | None, duty: trust.Duty, root: trust.RootView, named: str
) -> list[str]:
    if given is None:
        return [
            f"the {what} risk assessment of {named}: stage with --{what}-assessment FILE --{what}-by OFFICER"
        ]
    lacks = []
    if len(given.text.strip()) < MIN_ASSESSMENT:
        lacks.append(
            f"{_a(what)} {what} risk assessment of at least {MIN_ASSESSMENT} characters: "
            "what can go wrong, what is done"
        )
    if not any(held.officer == given.by and held.duty is duty for held in root.duties.values()):
        known = sorted({held.officer for held in root.duties.values() if held.duty is duty})
        lacks.append(
            f"{_a(what)} {what} risk assessment by one of {', '.join(known)}: {given.by!r} is no {duty} officer"
        )
    return lacks


def _a(what: str) -> str:
    return "an" if what[0] in "aeiou" else "a"


def _consent_lacks(given: Assessment | None, statement: policy.KeyStatement) -> list[str]:
    leaders = sorted(o.officer_id for o in statement.officers if LEADERSHIP & set(o.duties))
    if given is not None and given.by in leaders:
        return []
    if not leaders:
        return [
            "an officer of the leadership: `stage --add-officer FILE`, its title one of "
            + ", ".join(sorted(LEADERSHIP))
        ]
    said = f": {given.by!r} is not of the leadership" if given else ""
    return [f"the leadership's consent{said}: stage with --consent-by {' or '.join(leaders)}"]


_STEP = ("group", "from_version", "from_sha256", "to_version", "to_sha256", "against")
_LINE = ("group", "section", "rule_id", "what", "direction", "safeguarding", "before", "after", "why")
_ASSESSMENT = ("by", "text")


def _plain(value: object, names: tuple[str, ...]) -> dict[str, object]:
    return {name: getattr(value, name) for name in names}


def _step(item: Mapping[str, object]) -> BundleStep:
    return BundleStep(
        group=_text(item, "group"),
        from_version=_number(item, "from_version"),
        from_sha256=_text(item, "from_sha256"),
        to_version=_number(item, "to_version"),
        to_sha256=_text(item, "to_sha256"),
        # Entries from before new groups were compared do not say it.
        against=_text(item, "against") if "against" in item else "",
    )


def _line(item: Mapping[str, object]) -> Line:
    return Line(
        group=_text(item, "group"),
        section=_text(item, "section"),
        rule_id=_text(item, "rule_id"),
        what=_text(item, "what"),
        direction=_text(item, "direction"),
        safeguarding=bool(item["safeguarding"]),
        before=_text(item, "before"),
        after=_text(item, "after"),
        why=_text(item, "why"),
    )


def _assessment(item: Mapping[str, object] | None) -> Assessment | None:
    return None if item is None else Assessment(by=_text(item, "by"), text=_text(item, "text"))


def _text(item: Mapping[str, object], name: str) -> str:
    value = item[name]
    if not isinstance(value, str):
        raise TypeError(f"{name!r} is no text")
    return value


def _number(item: Mapping[str, object], name: str) -> int:
    value = item[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name!r} is no number")
    return value
