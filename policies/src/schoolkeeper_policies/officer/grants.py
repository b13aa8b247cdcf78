"""Grants as an officer makes, reads and signs them: the file is the serialised ``Grant`` (``.skgrant``). Pure.

Who must sign is ``granting.check``'s to say, the same that the collector and the device ask. An emergency block is also
compared with what is in force: it may only make things stricter.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from schoolkeeper_policies.filekinds import wrong_kind
from schoolkeeper_policies.officer.keyfile import OfficerKeys
from schoolkeeper_policies.officer.review import when
from schoolkeeper_policies.officer.school import School
from schoolkeeper_policies.plan import Change, Direction, compare
from schoolkeeper_proto import granting, policy, statements, wire
from schoolkeeper_proto.codec import WireFormatError, decode, encode
from schoolkeeper_proto.granted import InForce, with_grants
from schoolkeeper_proto.model import DecisionKind, Severity
from schoolkeeper_proto.wire import GrantKind

SUFFIX = ".skgrant"
MAX_BYTES = 1 << 20
_LENGTH = re.compile(r"(\d{1,6})\s*(m|min|minutes?|h|hours?|d|days?)")
_MEANING = {
    GrantKind.ISOLATE: (
        "the device reaches the collector and nothing else, over restarts, until its end or a release by two people",
        "nothing else on it changes; whoever uses it is told to leave it on, plug it in and not touch anything",
    ),
    GrantKind.LOST: (
        "screens are locked and locked again, what cannot be locked is ended, nobody but root signs in",
        "its policy is frozen; it goes on to report from wherever it has a network",
    ),
    GrantKind.RELEASE: (
        "takes one technical and one safeguarding officer, whatever the policy's bounds say",
    ),
}
"""What else an officer should know before signing."""
_UNIT = {"m": 60, "h": 3_600, "d": 86_400}


class GrantError(ValueError):
    """A grant that cannot be made, read or signed; says why and what would help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an officer asks for. ``seconds``: how long; ``notice``: words for the person at the device.

    ``isolation``: how a device is isolated, when it is to be done without a word.
    """

    kind: GrantKind
    reason: str
    seconds: int
    device_ids: tuple[bytes, ...] = ()
    groups: tuple[str, ...] = ()
    rule_ids: tuple[str, ...] = ()
    notice: str = ""
    allowed_mode: str = ""
    blocks: tuple[policy.ApplicationMatch, ...] = ()
    sites: tuple[str, ...] = ()
    ends: tuple[bytes, ...] = ()
    isolation: policy.IsolationTerms | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantReview:
    """``refused``: why these signatures are not enough yet, or why no signature would be; empty when it is complete."""

    grant: wire.Grant
    statement: wire.GrantStatement
    payload: policy.GrantPayload
    signed_by: tuple[str, ...]
    refused: str
    changes: tuple[Change, ...]


def parse_length(text: str) -> int:
    """``45m``, ``24h``, ``3d`` in seconds. Raises ``GrantError``."""
    found = _LENGTH.fullmatch(text.strip().lower())
    if found is None:
        raise GrantError(f"{text!r} is no length of time: write 45m, 24h or 3d")
    return int(found[1]) * _UNIT[found[2][0]]


def make(wish: Wish, school: School, now_ms: int) -> wire.Grant:
    """An unsigned grant, its shape checked. Raises ``GrantError``."""
    if not wish.reason.strip():
        raise GrantError("a grant needs a reason: --reason 'why, for whom'")
    unknown = sorted(set(wish.groups) - set(school.bundles))
    if unknown:
        raise GrantError(
            f"the school has no group {unknown[0]!r}; it has {', '.join(sorted(school.bundles))}"
        )
    grant_id = os.urandom(16)
    statement = wire.GrantStatement(
        school_id=school.school_id,
        grant_id=grant_id,
        kind=wish.kind,
        not_before_unix_ms=now_ms,
        expires_unix_ms=now_ms + wish.seconds * 1000,
        device_ids=wish.device_ids,
        groups=wish.groups,
        rule_ids=wish.rule_ids,
        powered_on_seconds=wish.seconds,
        # The reason's words stay off the device; the collector keeps them beside this hash.
        reason_commitment=hashlib.sha256(grant_id + wish.reason.encode()).digest(),
        notice=wish.notice,
        payload=encode(_payload(wish, grant_id)),
        allowed_mode=wish.allowed_mode,
    )
    made = wire.Grant(statement=encode(statement))
    looked = look(encode(made), school, now_ms)
    if never := _never(statement, looked.changes, school):
        raise GrantError(never)
    return made


def look(data: bytes, school: School, now_ms: int, place: str = "the file") -> GrantReview:
    """What a grant does and who signed it, beside the policy in force. Raises ``GrantError``: none of this school."""
    if len(data) > MAX_BYTES:
        raise GrantError(f"a grant has at most {MAX_BYTES >> 20} MiB")
    try:
        grant = decode(wire.Grant, data)
        statement = decode(wire.GrantStatement, grant.statement)
        payload = granting.payload_of(statement)
    except WireFormatError as error:
        raise GrantError(
            wrong_kind(place, f"a grant ({SUFFIX})", data, f"take the {SUFFIX} file that `grant new` wrote")
        ) from error
    if not statement.school_id:
        raise GrantError(
            wrong_kind(place, f"a grant ({SUFFIX})", data, f"take the {SUFFIX} file that `grant new` wrote")
        )
    if statement.school_id != school.school_id:
        raise GrantError(
            f"the grant is of the school {statement.school_id!r}, this officer of {school.school_id!r}"
        )
    if statement.expires_unix_ms <= now_ms:
        raise GrantError("the grant has ended already: make a new one")
    signers = granting.signers_of(grant, school.officers)
    changes = _changes(statement, payload, school)
    refused = _refusal(statement, signers, school)
    if not refused and statement.kind is GrantKind.EMERGENCY_BLOCK:
        refused = _not_only_stricter(changes)
    return GrantReview(
        grant=grant,
        statement=statement,
        payload=payload,
        signed_by=tuple(officer.officer_id for officer in signers),
        refused=refused,
        changes=changes,
    )


def sign(looked: GrantReview, keys: OfficerKeys, school: School, now_ms: int) -> GrantReview:
    """The grant with this officer's signature. Raises ``GrantError`` where no signature could make it hold."""
    raw = keys.signing.public_key().public_bytes_raw()
    if not any(officer.key == raw for officer in school.officers):
        raise GrantError(
            "the school's root does not list this key: it was replaced, or it is the file of another school"
        )
    if never := _never(looked.statement, looked.changes, school):
        raise GrantError(never)
    mine = statements.sign(statements.GRANT, looked.grant.statement, keys.signer)
    others = tuple(s for s in looked.grant.signatures if s.key_id != mine.key_id)
    signed = replace(looked.grant, signatures=(*others, mine))
    return look(encode(signed), school, now_ms)


def text(looked: GrantReview, school: School) -> Iterator[str]:
    """What a grant is, line by line, in plain words."""
    said = looked.statement
    yield f"{said.kind.value} for {school.school_name}, grant {said.grant_id.hex()}"
    yield f"from {when(said.not_before_unix_ms)} until {when(said.expires_unix_ms)}"
    yield f"for groups: {', '.join(said.groups) or 'none'}"
    yield f"for devices: {', '.join(device.hex() for device in said.device_ids) or 'none'}"
    if said.kind in _MEANING:
        yield from _MEANING[said.kind]
    else:
        own = looked.payload.applications or looked.payload.browser
        yield f"rules: {', '.join(said.rule_ids) or ('its own' if own else 'every rule it may concern')}"
    if looked.payload.browser is not None:
        yield "sites are refused in the browsers that the policy manages; other programs reach them as before"
    terms = looked.payload.isolation
    if terms is not None and terms.quiet:
        yield f"quiet, on the recorded ground of the {terms.ground_by}: {terms.ground_reference}"
        yield "nothing is said at the device; a dead network is noticed all the same"
    if said.notice:
        yield f"said to the person at the device: {said.notice}"
    for ended in looked.payload.grant_ids:
        yield f"ends grant {ended.hex()}"
    for change in looked.changes:
        yield f"  {change.group}: {change.direction.value}: {change.section} {change.rule_id}: {change.after}"
    yield f"Signed by: {', '.join(looked.signed_by) or 'nobody yet'}."
    yield f"Not enough yet: {looked.refused}" if looked.refused else "Complete: hand it in."


def _payload(wish: Wish, grant_id: bytes) -> policy.GrantPayload:
    if wish.kind in (GrantKind.REVOKE, GrantKind.RELEASE):
        return policy.GrantPayload(grant_ids=wish.ends)
    if wish.isolation is not None:
        return policy.GrantPayload(isolation=wish.isolation)
    if wish.kind is not GrantKind.EMERGENCY_BLOCK:
        return policy.GrantPayload()
    said = policy.RuleText(
        rule_id=f"emergency.{grant_id.hex()[:8]}",
        description="Blocked at short notice.",
        why=wish.reason,
        resolution=wish.notice
        or "If you need this for school, ask the person who looks after the computers.",
        severity=Severity.HIGH,
        safeguarding=True,
    )
    programs = policy.ApplicationRule(text=said, decision=DecisionKind.BLOCK, matches=wish.blocks)
    sites = policy.SiteRule(text=said, decision=DecisionKind.BLOCK, sites=wish.sites)
    return policy.GrantPayload(
        applications=policy.ApplicationsSection(rules=(programs,)) if wish.blocks else None,
        browser=policy.BrowserSection(rules=(sites,)) if wish.sites else None,
    )


def _changes(
    statement: wire.GrantStatement, payload: policy.GrantPayload, school: School
) -> tuple[Change, ...]:
    """What an emergency block does to each group it may reach; a device may be of any group."""
    if statement.kind is not GrantKind.EMERGENCY_BLOCK:
        return ()
    groups = sorted(school.bundles) if statement.device_ids else statement.groups
    in_force = InForce(
        grant_id=statement.grant_id,
        kind=statement.kind,
        until_unix_ms=statement.expires_unix_ms,
        applications=payload.applications,
        browser=payload.browser,
    )
    return tuple(
        change
        for group in groups
        if group in school.bundles
        for change in compare(school.bundles[group], with_grants(school.bundles[group], (in_force,)))
    )


def _not_only_stricter(changes: tuple[Change, ...]) -> str:
    for change in changes:
        if change.direction is not Direction.STRICTER:
            return (
                f"an emergency block may only make things stricter; for {change.group} it is {change.direction.value}: "
                f"{change.why or change.after}"
            )
    return (
        ""
        if changes
        else "the emergency block changes nothing for these groups: what it names is refused already"
    )


def _refusal(statement: wire.GrantStatement, signers: tuple[granting.Officer, ...], school: School) -> str:
    """Against the policy of every group it may reach: the first refusal."""
    groups = sorted(school.bundles) if statement.device_ids else statement.groups
    grounds = {
        group: granting.ground_of(school.bundles[group]) for group in groups if group in school.bundles
    }
    for group, ground in (grounds or {"any group": granting.Ground()}).items():
        verdict = granting.check(statement, signers, ground)
        if isinstance(verdict, granting.Refused):
            return f"for {group}: {verdict.reason}"
    unknown = sorted(set(groups) - set(grounds))
    return f"the school has no group {unknown[0]!r}" if unknown else ""


def _never(statement: wire.GrantStatement, changes: tuple[Change, ...], school: School) -> str:
    """Why the grant could not hold even if every officer signed it; empty when it could."""
    if refused := _refusal(statement, school.officers, school):
        return refused
    return _not_only_stricter(changes) if statement.kind is GrantKind.EMERGENCY_BLOCK else ""
