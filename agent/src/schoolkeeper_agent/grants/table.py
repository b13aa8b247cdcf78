"""The grants this device holds: taken, begun, suspended, ended. Pure: a table and a moment in, a table and events out.

Each grant is kept as the bytes the officers signed and judged anew whenever policy or officers change, so that the
file on the disk gives nobody a right. It ends at its expiry by believed time (signed time plus running time) or when it
was in force for its own length with the machine on, whichever comes first. While the wall clock stands behind what is
known, or nothing is known of the time, nothing is loosened; what is stricter holds on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from schoolkeeper_agent.clock import Moment, PoweredOn
from schoolkeeper_proto import granting, model, policy, wire
from schoolkeeper_proto.codec import WireFormatError, decode, encode
from schoolkeeper_proto.granted import InForce
from schoolkeeper_proto.policy import RuleMode
from schoolkeeper_proto.wire import GrantKind

MOST_HELD = 256
MOST_REMEMBERED = 4_096
BEHIND_MS = 5 * 60_000
"""A wall clock further than this behind what is known was set back."""
SET_BACK = (
    "suspended: the clock stands behind the time that the school signed; it goes on when the clock is right"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """Now, by every clock. ``floor_ms`` is what signed time vouches for, 0 when nothing does."""

    now: Moment
    boot_id: bytes
    believed_ms: int
    floor_ms: int

    @property
    def set_back(self) -> bool:
        return self.now.wall_ms < self.floor_ms - BEHIND_MS

    @property
    def may_loosen(self) -> bool:
        return self.floor_ms > 0 and not self.set_back


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Whose grants count here, and beside which policy."""

    school_id: str
    device_id: bytes
    group: str
    officers: tuple[granting.Officer, ...]
    ground: granting.Ground


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """``told``: it was said that this is in force, and not yet that it is no longer."""

    grant: wire.Grant
    statement: wire.GrantStatement
    payload: policy.GrantPayload
    powered: PoweredOn
    told: bool = False

    @property
    def loosens(self) -> bool:
        return self.statement.kind in granting.LOOSER


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """A grant that was ended before it came. ``both``: signed by both duties, so that it ends a stricter one, too."""

    until_ms: int
    both: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """``ended``: grant id -> its expiry; a grant does not come back. ``refused``: id -> the reason that was told."""

    held: tuple[Held, ...] = ()
    ended: Mapping[bytes, int] = field(default_factory=dict)
    revoked: Mapping[bytes, Revoked] = field(default_factory=dict)
    refused: Mapping[bytes, str] = field(default_factory=dict)

    @property
    def kinds(self) -> dict[bytes, GrantKind]:
        return {one.statement.grant_id: one.statement.kind for one in self.held}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """``problem``: a grant that could not even be named. ``tell``: words for the person at the screen."""

    table: Table
    events: tuple[model.GrantApplied | model.GrantEnded, ...] = ()
    tell: tuple[str, ...] = ()
    problem: str = ""


def take(table: Table, sent: wire.Grant, judge: Judge, at: Instant) -> Step:
    """A grant that came along the stream. One that is held or over is no news."""
    try:
        statement = decode(wire.GrantStatement, sent.statement)
    except WireFormatError as error:
        return Step(table=table, problem=f"a grant cannot be read: {error}")
    known = statement.grant_id in table.kinds or statement.grant_id in table.ended
    if known or not _for_us(statement, judge):
        return Step(table=table)
    try:
        payload, both = _judged(sent, statement, judge, table, at)
    except _No as no:
        return _refuse(table, statement.grant_id, str(no))
    table = replace(table, refused=_without(table.refused, statement.grant_id))
    if statement.kind in (GrantKind.REVOKE, GrantKind.RELEASE):
        return _revoke(table, statement, payload, both=both)
    before = table.revoked.get(statement.grant_id)
    if before is not None and (before.both or statement.kind in granting.LOOSER):
        return _over(table, statement, "revoked before it came")
    if len(table.held) >= MOST_HELD:
        return _refuse(
            table, statement.grant_id, f"refused: this device holds {MOST_HELD} grants: revoke some"
        )
    length = statement.expires_unix_ms - statement.not_before_unix_ms
    powered = PoweredOn(
        granted_ms=min(1_000 * statement.powered_on_seconds or length, length),
        expires_unix_ms=statement.expires_unix_ms,
    )
    held = Held(grant=sent, statement=statement, payload=payload, powered=powered)
    return look(replace(table, held=(*table.held, held)), at)


def look(table: Table, at: Instant) -> Step:
    """What time has begun, suspended or ended."""
    kept: list[Held] = []
    ended = dict(table.ended)
    events: list[model.GrantApplied | model.GrantEnded] = []
    tell: list[str] = []
    for one in table.held:
        said = one.statement
        begun = _begun(one, at)
        powered = one.powered.tick(at.now, at.boot_id) if begun else one.powered
        one = replace(one, powered=powered)
        if _over_now(one, at):
            ended[said.grant_id] = said.expires_unix_ms
            over = _time(one, at) >= said.expires_unix_ms
            why = "its time is over" if over else "it has been in force for its whole length"
            events.append(model.GrantEnded(grant_id=said.grant_id, reason=why))
            continue
        if holds(one, at) and not one.told:
            one = replace(one, told=True)
            rule = said.rule_ids[0] if len(said.rule_ids) == 1 else ""
            events.append(
                model.GrantApplied(grant_id=said.grant_id, rule_id=rule, until_unix_ms=said.expires_unix_ms)
            )
            if said.notice:
                tell.append(said.notice)
        elif one.told and one.loosens and at.set_back:
            one = replace(one, told=False)
            events.append(model.GrantEnded(grant_id=said.grant_id, reason=SET_BACK))
        kept.append(one)
    table = replace(table, held=tuple(kept), ended=_bounded(ended))
    return Step(table=table, events=tuple(events), tell=tuple(tell))


def judge_again(table: Table, judge: Judge, at: Instant) -> Step:
    """After policy, officers or place changed, and when the table was read from the disk: each must pass again."""
    kept: list[Held] = []
    ended = dict(table.ended)
    events: list[model.GrantApplied | model.GrantEnded] = []
    for one in table.held:
        why = "" if _for_us(one.statement, judge) else "this device has left the group it is for"
        if not why:
            signers = granting.signers_of(one.grant, judge.officers)
            found = granting.check(one.statement, signers, judge.ground, held=table.kinds)
            why = found.reason if isinstance(found, granting.Refused) else ""
        if why:
            ended[one.statement.grant_id] = one.statement.expires_unix_ms
            ended_now = model.GrantEnded(
                grant_id=one.statement.grant_id, reason=f"no longer permitted: {why}"[:500]
            )
            events.append(ended_now)
        else:
            kept.append(one)
    looked = look(replace(table, held=tuple(kept), ended=_bounded(ended)), at)
    return replace(looked, events=(*events, *looked.events))


def holds(one: Held, at: Instant) -> bool:
    """Whether a held grant is in force at this moment."""
    return _begun(one, at) and not _over_now(one, at) and (at.may_loosen or not one.loosens)


def _begun(one: Held, at: Instant) -> bool:
    """What is stricter stays begun: a clock set back before a start with nothing known of the time lifts nothing."""
    return at.believed_ms >= one.statement.not_before_unix_ms or (one.told and not one.loosens)


def _over_now(one: Held, at: Instant) -> bool:
    return one.powered.ended(_time(one, at))


def _time(one: Held, at: Instant) -> int:
    """What is stricter ends by signed time alone: a wall clock set forward ends no isolation."""
    return at.believed_ms if one.loosens else at.floor_ms


def in_force(table: Table, ground: granting.Ground, at: Instant) -> tuple[InForce, ...]:
    """What changes the policy now. While a device is lost, nothing is loosened on it."""
    held = [one for one in table.held if holds(one, at)]
    frozen = any(one.statement.kind is GrantKind.LOST for one in held)
    return tuple(_effect(one, ground) for one in held if not (frozen and one.loosens))


def next_ms(table: Table, at: Instant) -> int | None:
    """Milliseconds until a grant begins or ends; None without any."""
    waits = []
    for one in table.held:
        if not _begun(one, at):
            waits.append(one.statement.not_before_unix_ms - at.believed_ms)
            continue
        waits.append(one.statement.expires_unix_ms - _time(one, at))
        waits.append(one.powered.granted_ms - one.powered.used_ms)
    return max(0, min(waits)) if waits else None


class _No(Exception):
    pass


def _for_us(statement: wire.GrantStatement, judge: Judge) -> bool:
    return judge.device_id in statement.device_ids or judge.group in statement.groups


def _judged(
    sent: wire.Grant, statement: wire.GrantStatement, judge: Judge, table: Table, at: Instant
) -> tuple[policy.GrantPayload, bool]:
    if statement.school_id != judge.school_id:
        raise _No(f"refused: the grant is of another school: {statement.school_id!r}")
    signers = granting.signers_of(sent, judge.officers)
    found = granting.check(statement, signers, judge.ground, held=table.kinds)
    if isinstance(found, granting.Refused):
        raise _No(f"refused: {found.reason}")
    if at.believed_ms >= statement.expires_unix_ms:
        raise _No("refused: it had expired before it came")
    return found.payload, granting.has_both_duties(signers)


def _refuse(table: Table, grant_id: bytes, reason: str) -> Step:
    """Told once for each reason: the collector sends what is live at every contact."""
    if table.refused.get(grant_id) == reason:
        return Step(table=table)
    refused = {**table.refused, grant_id: reason}
    while len(refused) > MOST_REMEMBERED:
        del refused[next(iter(refused))]
    return Step(
        table=replace(table, refused=refused),
        events=(model.GrantEnded(grant_id=grant_id, reason=reason[:500]),),
    )


def _over(table: Table, statement: wire.GrantStatement, why: str) -> Step:
    ended = {**table.ended, statement.grant_id: statement.expires_unix_ms}
    held = tuple(one for one in table.held if one.statement.grant_id != statement.grant_id)
    return Step(
        table=replace(table, held=held, ended=_bounded(ended)),
        events=(model.GrantEnded(grant_id=statement.grant_id, reason=why),),
    )


def _revoke(
    table: Table, statement: wire.GrantStatement, payload: policy.GrantPayload, *, both: bool
) -> Step:
    ended = {**table.ended, statement.grant_id: statement.expires_unix_ms}
    applied = model.GrantApplied(grant_id=statement.grant_id, until_unix_ms=statement.expires_unix_ms)
    events: list[model.GrantApplied | model.GrantEnded] = [applied]
    revoked = dict(table.revoked)
    held = {one.statement.grant_id: one for one in table.held}
    for grant_id in payload.grant_ids:
        one = held.pop(grant_id, None)
        if one is not None:
            ended[grant_id] = one.statement.expires_unix_ms
            events.append(model.GrantEnded(grant_id=grant_id, reason="revoked"))
        elif grant_id not in ended:
            revoked[grant_id] = Revoked(until_ms=statement.expires_unix_ms, both=both)
            while len(revoked) > MOST_REMEMBERED:
                del revoked[next(iter(revoked))]
    changed = replace(table, held=tuple(held.values()), ended=_bounded(ended), revoked=revoked)
    return Step(table=changed, events=tuple(events))


def _effect(one: Held, ground: granting.Ground) -> InForce:
    said = one.statement
    programs, sites = one.payload.applications, one.payload.browser
    if programs is not None:
        programs = replace(programs, rules=tuple(_named(rule, said.grant_id) for rule in programs.rules))
    if sites is not None:
        sites = replace(sites, rules=tuple(_named(rule, said.grant_id) for rule in sites.rules))
    return InForce(
        grant_id=said.grant_id,
        kind=said.kind,
        until_unix_ms=said.expires_unix_ms,
        rule_ids=said.rule_ids or None,
        spared=granting.forbidden(said.kind, ground),
        mode=RuleMode.WARN if said.allowed_mode == "warn" else RuleMode.OBSERVE,
        applications=programs,
        browser=sites,
        quiet=one.payload.isolation is not None and one.payload.isolation.quiet,
    )


_AnyRule = TypeVar("_AnyRule", policy.ApplicationRule, policy.SiteRule)


def _named(rule: _AnyRule, grant_id: bytes) -> _AnyRule:
    """Under a name of its own, so that it can never stand in for a rule of the policy."""
    return replace(
        rule,
        text=replace(
            rule.text, rule_id=f"grant-{grant_id.hex()[:12]}-{rule.text.rule_id}", safeguarding=False
        ),
    )


def _without(kept: Mapping[bytes, str], key: bytes) -> Mapping[bytes, str]:
    return {name: value for name, value in kept.items() if name != key} if key in kept else kept


def _bounded(ended: dict[bytes, int]) -> dict[bytes, int]:
    """The ones that could be replayed longest."""
    if len(ended) <= MOST_REMEMBERED:
        return ended
    newest = sorted(ended.items(), key=lambda item: item[1])[-MOST_REMEMBERED:]
    return dict(newest)


def grant_bytes(one: Held) -> bytes:
    return encode(one.grant)
