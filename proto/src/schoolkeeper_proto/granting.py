"""Who must sign a grant, and what it may never do. Pure: the officer's tool, the collector and the device all ask here.

A grant is an officer-signed override beside the signed policy. *Stricter* kinds (an emergency block of at most 24
hours, isolation, a lost device) take one officer. *Looser* kinds (observe, exception, lesson, release) take one officer
only within a bound that the policy in force names, else one technical and one safeguarding officer: two people with two
different public keys. A bound that asks for two people also says how long they may at most; one of no time at all
forbids. A release always takes both, whatever a bound says. A quiet isolation also takes the signature of the head or
chair whose recorded ground it stands on. A revocation is stricter or looser as what it ends is looser or stricter.
Times are Unix time in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from schoolkeeper_proto import policy, statements, trust, wire
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.codec import WireFormatError, decode
from schoolkeeper_proto.conditions import ConditionMistake, ZoneClock
from schoolkeeper_proto.granted import rules_of
from schoolkeeper_proto.matching import STRICTNESS, TableMistake, compile_applications
from schoolkeeper_proto.site_matching import SITE, SiteTable
from schoolkeeper_proto.wire import GrantKind

STRICTER = frozenset({GrantKind.EMERGENCY_BLOCK, GrantKind.ISOLATE, GrantKind.LOST})
LOOSER = frozenset({GrantKind.OBSERVE, GrantKind.EXCEPTION, GrantKind.LESSON, GrantKind.RELEASE})
CONFINING = frozenset({GrantKind.ISOLATE, GrantKind.LOST})
"""What a release ends."""
MODES = ("", "observe", "warn")
_MINUTE, _DAY = 60, 86_400
_SCHOOL_YEAR = 400 * _DAY
CONSOLE = "the collector's console"
"""What the collector's command key is called among those who sign."""
SECONDS: dict[GrantKind, tuple[int, int]] = {
    GrantKind.OBSERVE: (_MINUTE, 30 * _DAY),
    GrantKind.EXCEPTION: (_MINUTE, _SCHOOL_YEAR),
    GrantKind.LESSON: (_MINUTE, _DAY),
    GrantKind.EMERGENCY_BLOCK: (_MINUTE, _DAY),
    GrantKind.ISOLATE: (_MINUTE, _SCHOOL_YEAR),
    GrantKind.LOST: (_MINUTE, _SCHOOL_YEAR),
    GrantKind.RELEASE: (_MINUTE, _SCHOOL_YEAR),
    GrantKind.REVOKE: (_MINUTE, _SCHOOL_YEAR),
}
"""At least and at most, from ``not_before`` to ``expires``."""
_NO_PROGRAMS, _NO_SITES = policy.ApplicationsSection(), policy.BrowserSection()
_ENDING = {GrantKind.REVOKE: "revocation", GrantKind.RELEASE: "release"}
QUIET_SECONDS = 30 * _DAY
"""A quiet isolation lasts so long at most: what nobody sees must be looked at again."""
GROUNDS = ("head", "chair")
"""Titles whose recorded ground a quiet isolation can stand on (W-104)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Officer:
    """``key``: raw Ed25519. ``duty`` as the root says, None for one who signs no policy. ``titles``: key statement."""

    officer_id: str
    key: bytes
    duty: trust.Duty | None = None
    titles: tuple[str, ...] = ()
    console: bool = False
    """No person: the collector's command key, which opens lessons within bounds that name the console, and no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFacts:
    """``opens``: it holds at certain times or for certain people only, so a lesson can open it."""

    safeguarding: bool = False
    opens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the policy in force says of grants: its bounds and its rules."""

    bounds: tuple[policy.GrantBound, ...] = ()
    rules: Mapping[str, RuleFacts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permitted:
    """``by`` are the officers whose signatures made it so."""

    by: tuple[str, ...]
    payload: policy.GrantPayload


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """``reason`` says what is wrong and what would help."""

    reason: str


class _No(Exception):
    pass


def officers_of(root: trust.RootView, keys: policy.KeyStatement) -> tuple[Officer, ...]:
    """Everybody who may sign a grant. The root says who has a duty; one key value is one officer."""
    titles = {officer.signing_key: officer.duties for officer in keys.officers}
    found: dict[bytes, Officer] = {}
    for key_id in root.roles["targets"].key_ids:
        raw, held = root.keys[key_id], root.duties.get(key_id)
        if held is not None and raw not in found:
            found[raw] = Officer(officer_id=held.officer, key=raw, duty=held.duty, titles=titles.get(raw, ()))
    people = {officer.officer_id for officer in found.values()}
    for one in keys.officers:
        # Who is in the root under another key is not believed under this one.
        if one.signing_key not in found and one.officer_id not in people:
            found[one.signing_key] = Officer(
                officer_id=one.officer_id, key=one.signing_key, titles=one.duties
            )
    for command in keys.command_keys:
        # A key of a person's is that person's.
        if command.public_key not in found:
            found[command.public_key] = Officer(officer_id=CONSOLE, key=command.public_key, console=True)
    return tuple(found.values())


def ground_of(bundle: OpenBundle) -> Ground:
    """The bounds and rules of a bundle."""
    facts: dict[str, RuleFacts] = {}
    for rule in rules_of(bundle):
        when, before = rule.when, facts.get(rule.text.rule_id, RuleFacts())
        opens = when is not None and bool(when.times or when.days or when.user_groups or when.exceptions)
        facts[rule.text.rule_id] = RuleFacts(
            safeguarding=before.safeguarding or rule.text.safeguarding, opens=before.opens or opens
        )
    return Ground(bounds=bundle.grants.bounds if bundle.grants is not None else (), rules=facts)


def signers_of(grant: wire.Grant, officers: Iterable[Officer]) -> tuple[Officer, ...]:
    """Officers whose signature over the statement is valid: each key value once, each person once."""
    found: list[Officer] = []
    for officer in officers:
        if any(officer.key == one.key or officer.officer_id == one.officer_id for one in found):
            continue
        try:
            key_id, key = (
                statements.ed25519_key_id(officer.key),
                Ed25519PublicKey.from_public_bytes(officer.key),
            )
        except ValueError:
            continue
        if any(s.key_id == key_id and _valid(grant.statement, s.signature, key) for s in grant.signatures):
            found.append(officer)
    return tuple(found)


def payload_of(statement: wire.GrantStatement) -> policy.GrantPayload:
    """What the statement carries; raises ``WireFormatError``."""
    return decode(policy.GrantPayload, statement.payload)


def check(
    statement: wire.GrantStatement,
    signers: tuple[Officer, ...],
    ground: Ground,
    *,
    held: Mapping[bytes, GrantKind] | None = None,
) -> Permitted | Refused:
    """Whether these officers may grant this beside that policy.

    ``signers``: see ``signers_of``. ``held`` are the kinds of the grants that are known, for a revocation. Whom it is
    for and whether its time is now is the device's to say.
    """
    try:
        payload = _shape(statement)
        _check_rules(statement, ground)
        by = _check_signers(statement, signers, ground, payload, held or {})
    except _No as no:
        return Refused(reason=str(no))
    return Permitted(by=tuple(officer.officer_id for officer in by), payload=payload)


def has_both_duties(signers: Iterable[Officer]) -> bool:
    """Two people, two keys, both duties."""
    held = [officer for officer in signers if officer.duty is not None]
    enough = len({o.officer_id for o in held}) >= 2 and len({o.key for o in held}) >= 2
    return enough and {o.duty for o in held} == set(trust.Duty)


def forbidden(kind: GrantKind, ground: Ground) -> frozenset[str]:
    """Rules that no signature can loosen by a grant of this kind."""
    return frozenset(
        rule_id
        for rule_id in ground.rules
        if any(not b.max_seconds and b.kind == kind and covers(b, rule_id, ground) for b in ground.bounds)
    )


def length_seconds(statement: wire.GrantStatement) -> int:
    return (statement.expires_unix_ms - statement.not_before_unix_ms) // 1000


def _valid(statement: bytes, signature: bytes, key: Ed25519PublicKey) -> bool:
    try:
        statements.verify(statements.GRANT, statement, signature, key)
    except statements.StatementError:
        return False
    return True


def _shape(statement: wire.GrantStatement) -> policy.GrantPayload:
    """What is wrong with a statement whoever signed it."""
    kind = statement.kind
    if kind not in SECONDS:
        raise _No("a kind of grant that is not known here: update the agent")
    if len(statement.grant_id) != 16:
        raise _No("a grant needs an id of 16 bytes")
    if not statement.device_ids and not statement.groups:
        raise _No("the grant names no device and no group: name at least one")
    least, most = SECONDS[kind]
    seconds = length_seconds(statement)
    if not least <= seconds <= most:
        raise _No(
            f"a grant of the kind {kind} lasts {_words(least)} to {_words(most)}, not {_words(seconds)}"
        )
    try:
        payload = payload_of(statement)
    except WireFormatError as error:
        raise _No(f"what the grant carries cannot be read: {error}") from error
    if statement.allowed_mode not in MODES:
        raise _No(f"the mode {statement.allowed_mode!r} is not one that a grant can give: observe or warn")
    if kind in (GrantKind.EXCEPTION, GrantKind.LESSON) and not statement.rule_ids:
        raise _No(f"a grant of the kind {kind} must name the rules it is for")
    if kind in _ENDING and not payload.grant_ids:
        raise _No(f"a {_ENDING[kind]} must name the grants that end")
    if payload.isolation is not None:
        _check_terms(statement, payload.isolation)
    if kind is GrantKind.EMERGENCY_BLOCK:
        _check_block(payload)
    elif payload.applications is not None or payload.browser is not None:
        raise _No(f"a grant of the kind {kind} carries no rules")
    return payload


def _check_terms(statement: wire.GrantStatement, terms: policy.IsolationTerms) -> None:
    """What a quiet isolation must say of itself; who signs it is looked at apart."""
    if statement.kind is not GrantKind.ISOLATE:
        raise _No(f"a grant of the kind {statement.kind} carries no terms of an isolation")
    if not terms.quiet:
        return
    if terms.ground_by not in GROUNDS or not terms.ground_reference.strip():
        raise _No(
            "a quiet isolation needs the recorded ground of the head or the chair: say whose it is and its number"
        )
    if statement.notice:
        raise _No("a quiet isolation says nothing at the device: leave its notice empty")
    if length_seconds(statement) > QUIET_SECONDS:
        raise _No(f"a quiet isolation lasts {_words(QUIET_SECONDS)} at most: grant it again after a new look")


def _check_block(payload: policy.GrantPayload) -> None:
    """Every rule must refuse: one that only warns would open what is closed otherwise."""
    programs, sites = payload.applications or _NO_PROGRAMS, payload.browser or _NO_SITES
    if not programs.rules and not sites.rules:
        raise _No("an emergency block must carry at least one rule for programs or for sites")
    if STRICTNESS.get(str(programs.otherwise), 0) or STRICTNESS.get(str(sites.otherwise), 0):
        raise _No("an emergency block cannot close everything: leave its 'otherwise' at allow")
    rules: tuple[policy.ApplicationRule | policy.SiteRule, ...] = (*programs.rules, *sites.rules)
    for rule in rules:
        if STRICTNESS.get(str(rule.decision), 0) < STRICTNESS["block"]:
            raise _No(
                f"rule {rule.text.rule_id!r} of the emergency block says {rule.decision}: it may only refuse"
            )
    _check_sites(sites)
    try:
        compile_applications(programs)
        SiteTable(sites)
    except TableMistake as error:
        raise _No(f"the emergency block cannot be compiled: {error}") from error


def _check_sites(section: policy.BrowserSection) -> None:
    """Sites by their address alone: a category or a setting could change more than it closes."""
    if section.settings or section.categories:
        raise _No(
            "an emergency block refuses sites: it carries no settings of browsers and no lists of its own"
        )
    for rule in section.rules:
        if rule.categories or rule.allowed or not rule.sites:
            raise _No(f"rule {rule.text.rule_id!r} of the emergency block must name sites, and nothing else")
        for site in rule.sites:
            if site == "*" or re.fullmatch(SITE, site) is None:
                raise _No(
                    f"{site!r} is no site that can be blocked: write example.org, or example.org/path;"
                    " small letters, without https://"
                )


def _check_rules(statement: wire.GrantStatement, ground: Ground) -> None:
    if statement.kind not in LOOSER:
        return
    for rule_id in statement.rule_ids:
        facts = ground.rules.get(rule_id)
        if facts is None:
            raise _No(f"the policy in force has no rule {rule_id!r}")
        meant = facts.opens or _meant_for_lessons(rule_id, ground)
        if statement.kind is GrantKind.LESSON and not meant:
            raise _No(
                f"rule {rule_id!r} holds at all times for everybody: a lesson cannot open it, an exception can"
            )
    never = forbidden(statement.kind, ground)
    nothing = any(not b.max_seconds and b.kind == statement.kind and "*" in b.rule_ids for b in ground.bounds)
    if not statement.rule_ids and (nothing or (never and never >= set(ground.rules))):
        raise _No(f"the policy forbids a grant of the kind {statement.kind}")
    for rule_id in statement.rule_ids:
        if rule_id in never:
            raise _No(f"the policy forbids a grant of the kind {statement.kind} for the rule {rule_id!r}")


def _meant_for_lessons(rule_id: str, ground: Ground) -> bool:
    """The policy itself names the rule as one that a lesson opens, as a table's 'with staff permission' does."""
    lessons = (b for b in ground.bounds if b.kind == GrantKind.LESSON and b.rule_ids and b.max_seconds)
    return any(covers(bound, rule_id, ground) for bound in lessons)


def _check_signers(
    statement: wire.GrantStatement,
    signers: tuple[Officer, ...],
    ground: Ground,
    payload: policy.GrantPayload,
    held: Mapping[bytes, GrantKind],
) -> tuple[Officer, ...]:
    if not signers:
        raise _No("the grant is signed by none of the school's officers")
    people = tuple(officer for officer in signers if not officer.console)
    if not people:
        _check_console(statement, ground, payload, held)
        return signers[:1]
    signers = people
    loosens = statement.kind in LOOSER or any(
        held.get(ended) in STRICTER for ended in payload.grant_ids if statement.kind is GrantKind.REVOKE
    )
    if not loosens:
        return _with_ground(payload, signers, _one(statement, signers, ground))
    _check_most(statement, ground)
    if statement.kind is GrantKind.RELEASE:
        _check_released(payload, held)
    for officer in signers:
        if statement.kind in LOOSER - {GrantKind.RELEASE} and _bound_for(officer, statement, ground):
            return (officer,)
    if has_both_duties(signers):
        return signers
    names = ", ".join(officer.officer_id for officer in signers)
    if statement.kind is GrantKind.RELEASE:
        raise _No(
            f"signed by {names} alone: a release needs one technical and one safeguarding officer, two people"
        )
    raise _No(
        f"signed by {names} alone: the policy names no bound within which one officer may grant this, so it needs one "
        "technical and one safeguarding officer, two people"
    )


def _check_released(payload: policy.GrantPayload, held: Mapping[bytes, GrantKind]) -> None:
    for grant_id in payload.grant_ids:
        kind = held.get(grant_id)
        if kind is not None and kind not in CONFINING:
            raise _No(
                f"grant {grant_id.hex()[:12]} is of the kind {kind}: a release ends isolations and lost devices, a "
                "revocation the rest"
            )


def _with_ground(
    payload: policy.GrantPayload, signers: tuple[Officer, ...], found: tuple[Officer, ...]
) -> tuple[Officer, ...]:
    """A quiet isolation is also signed by whoever recorded its ground."""
    terms = payload.isolation
    if terms is None or not terms.quiet:
        return found
    for officer in signers:
        if terms.ground_by in officer.titles:
            return tuple(dict.fromkeys((*found, officer)))
    raise _No(
        f"a quiet isolation on the ground of the {terms.ground_by} must be signed by the {terms.ground_by}, too"
    )


def _check_console(
    statement: wire.GrantStatement,
    ground: Ground,
    payload: policy.GrantPayload,
    held: Mapping[bytes, GrantKind],
) -> None:
    """The collector's key alone: a lesson within a bound that names the console, and the end of lessons."""
    if statement.kind is GrantKind.REVOKE:
        if all(held.get(ended) is GrantKind.LESSON for ended in payload.grant_ids):
            return
        raise _No("signed by the collector alone, which can end lessons and nothing else")
    if statement.kind is not GrantKind.LESSON:
        raise _No(
            f"signed by the collector alone, which opens lessons and no grant of the kind {statement.kind}"
        )
    _check_most(statement, ground)
    seconds = length_seconds(statement)
    mine = [b for b in ground.bounds if b.kind == GrantKind.LESSON and b.console and not b.two_person]
    for rule_id in _concerned(statement, ground):
        covering = [b for b in mine if covers(b, rule_id, ground)]
        if not covering:
            raise _No(
                f"signed by the collector alone: no bound lets staff open the rule {rule_id!r} on the console"
            )
        longest = max(b.max_seconds for b in covering)
        if seconds > longest:
            raise _No(
                f"on the console the rule {rule_id!r} is opened for {_words(longest)} at most, not {_words(seconds)}"
            )
        if not any(seconds <= b.max_seconds and _within(b, statement) for b in covering):
            raise _No(f"the rule {rule_id!r} is not opened on the console at these hours")


def _within(bound: policy.GrantBound, statement: wire.GrantStatement) -> bool:
    """Whether the grant, from its first to its last moment, lies within one window of one day."""
    clock = ZoneClock()
    try:
        begin, end = (
            at + clock.offset_ms(bound.time_zone, at)
            for at in (statement.not_before_unix_ms, statement.expires_unix_ms)
        )
    except ConditionMistake as mistake:
        raise _No(str(mistake)) from mistake
    day, since = divmod(begin, _DAY * 1000)
    until = end - day * _DAY * 1000
    weekday = (day + 3) % 7  # 1970 began on a Thursday
    return any(
        window.weekdays >> weekday & 1
        and window.from_minute * _MINUTE * 1000 <= since
        and until <= window.to_minute * _MINUTE * 1000
        for window in bound.console
    )


def _one(statement: wire.GrantStatement, signers: tuple[Officer, ...], ground: Ground) -> tuple[Officer, ...]:
    for officer in signers:
        if officer.duty is not None or any(
            b.kind == statement.kind and not b.two_person and _may(b, officer) for b in ground.bounds
        ):
            return (officer,)
    raise _No(f"{signers[0].officer_id} has no duty that may sign a grant of the kind {statement.kind}")


def _check_most(statement: wire.GrantStatement, ground: Ground) -> None:
    """Bounds that ask for two people also say how long those may."""
    for bound in ground.bounds:
        if bound.two_person and bound.max_seconds and bound.kind == statement.kind:
            concerned = [r for r in _concerned(statement, ground) if covers(bound, r, ground)]
            if concerned and length_seconds(statement) > bound.max_seconds:
                raise _No(
                    f"for the rule {concerned[0]!r} the policy allows {_words(bound.max_seconds)} at most, "
                    f"not {_words(length_seconds(statement))}"
                )


def _bound_for(officer: Officer, statement: wire.GrantStatement, ground: Ground) -> bool:
    """Whether each rule that is concerned lies within a bound of this officer's."""
    mine = [
        b
        for b in ground.bounds
        if b.kind == statement.kind
        and not b.two_person
        and _may(b, officer)
        and length_seconds(statement) <= b.max_seconds
    ]
    if not statement.rule_ids and not any("*" in bound.rule_ids for bound in mine):
        return False  # everything is more than each rule: what no rule names is opened, too
    return bool(mine) and all(
        any(covers(bound, rule_id, ground) for bound in mine) for rule_id in _concerned(statement, ground)
    )


def _concerned(statement: wire.GrantStatement, ground: Ground) -> tuple[str, ...]:
    """The rules it loosens: those named, or all that may be."""
    return statement.rule_ids or tuple(sorted(set(ground.rules) - forbidden(statement.kind, ground)))


def _may(bound: policy.GrantBound, officer: Officer) -> bool:
    return not bound.duties or bool({*officer.titles, str(officer.duty)} & set(bound.duties))


def covers(bound: policy.GrantBound, rule_id: str, ground: Ground) -> bool:
    """Whether a bound is about this rule."""
    if not bound.rule_ids:
        facts = ground.rules.get(rule_id)
        return facts is not None and not facts.safeguarding
    return any(
        rule_id.startswith(pattern[:-1]) if pattern.endswith("*") else rule_id == pattern
        for pattern in bound.rule_ids
    )


def _words(seconds: int) -> str:
    for size, name in ((_DAY, "day"), (3_600, "hour"), (_MINUTE, "minute")):
        if seconds >= size and not seconds % size:
            count = seconds // size
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{seconds} seconds"
