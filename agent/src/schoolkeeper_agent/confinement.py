"""What the core makes of an isolation and of a lost device: asked for, done, tried, ended (pure; T-62, W-104).

Grants say that it shall be; only an enforcer's outcome says that it is. A lost device is the one exception to 'nobody
is locked out': screens are locked and locked again, what cannot be locked is ended, and nobody but root signs in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from schoolkeeper_agent import observations
from schoolkeeper_agent.decisions import Effects, record
from schoolkeeper_agent.enforcers.actions import (
    AllowSignIn,
    EndSession,
    Isolate,
    LiftIsolation,
    LockSession,
    RefuseSignIn,
)
from schoolkeeper_agent.people import FIRST_PERSON_UID
from schoolkeeper_agent.seams import Effect, Enforce, Outcome, Record, Tell
from schoolkeeper_agent.state import Confined, CoreState, HeldSession
from schoolkeeper_proto import model
from schoolkeeper_proto.granted import InForce
from schoolkeeper_proto.wire import GrantKind

ISOLATION, SIGN_IN, SCREEN = "isolation", "sign-in", "screen"
ENFORCERS = frozenset({ISOLATION, SIGN_IN})
RETRY_MS = 30_000
IN_PLACE, OFF, FAILED = "in-place", "off", "failed"
ISOLATED = "This device is off the network"
ADVICE = (
    "The school took it off the network and looks into something. Leave it switched on, plug it in, and do not change "
    "or delete anything. Nothing else on it is touched. Tell the person who looks after the computers if you need it."
)
RELEASED = "This device is on the network again"


def changed(state: CoreState, grants: tuple[InForce, ...]) -> tuple[CoreState, Effects]:
    """Asks for what is new; at the start also to take away what a former run left and nothing asks for any more."""
    before = state.confined
    isolate, lost = _one(grants, GrantKind.ISOLATE), _one(grants, GrantKind.LOST)
    held = {one.grant_id for one in (isolate, lost) if one is not None}
    said = {grant_id: words for grant_id, words in before.said.items() if grant_id in held}
    tell = before.isolate is not None and not before.isolate.quiet
    now = Confined(known=True, isolate=isolate, lost=lost, tell_release=tell, said=said)
    state = replace(state, confined=now)
    effects: list[Effect] = []
    if not before.known or before.isolate != now.isolate:
        effects += _isolation(state, before.isolate)
    if not before.known or before.lost != now.lost:
        effects += _lost(state, before.lost)
    return _remember(state, effects), tuple(effects)


def _remember(state: CoreState, effects: Iterable[Effect]) -> CoreState:
    """What is written down of a grant is also what ``status`` says of it."""
    said = dict(state.confined.said)
    for effect in effects:
        if isinstance(effect, Record) and isinstance(effect.body, model.IsolationChanged):
            said[effect.body.grant_id] = (effect.body.state, effect.body.detail)
    return replace(state, confined=replace(state.confined, said=said))


def _one(grants: Iterable[InForce], kind: GrantKind) -> InForce | None:
    """The one that lasts longest, when there are several."""
    found = [grant for grant in grants if grant.kind is kind]
    return max(found, key=lambda grant: (grant.until_unix_ms, grant.grant_id)) if found else None


def _isolation(state: CoreState, before: InForce | None) -> Effects:
    asked = state.confined.isolate
    if ISOLATION not in state.able:
        return _unable(asked or before, "isolate", "this device cannot be isolated: `status` says why")
    if asked is None:
        return (Enforce(enforcer=ISOLATION, action=LiftIsolation()),)
    action = Isolate(grant_id=asked.grant_id, until_unix_ms=asked.until_unix_ms)
    return (Enforce(enforcer=ISOLATION, action=action),)


def _lost(state: CoreState, before: InForce | None) -> Effects:
    asked = state.confined.lost
    effects: list[Effect] = []
    if SIGN_IN not in state.able:
        effects += _unable(asked or before, "lost", "sign-in cannot be refused here: `status` says why")
    elif asked is None:
        return (Enforce(enforcer=SIGN_IN, action=AllowSignIn()),)
    else:
        effects.append(Enforce(enforcer=SIGN_IN, action=RefuseSignIn(grant_id=asked.grant_id)))
    if asked is not None:
        for held in state.sessions.values():
            effects += lock(state, held)
    return tuple(effects)


def _unable(grant: InForce | None, what: str, why: str) -> Effects:
    if grant is None:
        return ()
    return (record(_changed(grant.grant_id, what, FAILED, why), model.Severity.HIGH),)


def lock(state: CoreState, held: HeldSession) -> Effects:
    """A person's session on a lost device: a desktop is locked, what has no lock is ended. Root's is left alone."""
    if held.user_id < FIRST_PERSON_UID or held.locked:
        return ()
    if held.graphical and SCREEN in state.able:
        return (Enforce(enforcer=SCREEN, action=LockSession(session_id=held.session_id)),)
    return end(state, held.session_id)


def end(state: CoreState, session_id: str) -> Effects:
    if SIGN_IN not in state.able:
        return ()
    return (Enforce(enforcer=SIGN_IN, action=EndSession(session_id=session_id)),)


def tried(state: CoreState, seen: observations.IsolationTried) -> tuple[CoreState, Effects]:
    """The self-test's answer, for the grant that holds now; one of a grant that ended meanwhile says nothing."""
    asked = state.confined.isolate
    if asked is None or asked.grant_id != seen.grant_id:
        return state, ()
    severity = model.Severity.HIGH if seen.state == "rolled-back" else model.Severity.MEDIUM
    effects = (
        record(_changed(seen.grant_id, "isolate", seen.state, seen.detail, asked.until_unix_ms), severity),
    )
    return _remember(state, effects), effects


def done(state: CoreState, outcome: Outcome) -> tuple[CoreState, Effects]:
    """Only what an enforcer did is written down as done."""
    effects = _done(state, outcome)
    return _remember(state, effects), effects


def _done(state: CoreState, outcome: Outcome) -> Effects:
    action, confined = outcome.action, state.confined
    match action:
        case Isolate():
            return _isolated(confined.isolate, action, outcome)
        case LiftIsolation():
            if outcome.succeeded and not outcome.detail:
                return ()  # there was none
            word, severity = (
                (OFF, model.Severity.MEDIUM) if outcome.succeeded else (FAILED, model.Severity.HIGH)
            )
            grant_id, _, why = outcome.detail.partition(" ")
            body = _changed(_id(grant_id), "isolate", word, why if _id(grant_id) else outcome.detail)
            tell = outcome.succeeded and confined.tell_release
            told = (Tell(title=RELEASED, text="You can use it as before."),) if tell else ()
            return (record(body, severity), *told)
        case RefuseSignIn():
            word = IN_PLACE if outcome.succeeded else FAILED
            until = confined.lost.until_unix_ms if confined.lost is not None else 0
            body = _changed(action.grant_id, "lost", word, outcome.detail, until)
            return (record(body, model.Severity.HIGH),)
        case AllowSignIn():
            if outcome.succeeded and not outcome.detail:
                return ()
            word = OFF if outcome.succeeded else FAILED
            grant_id, _, why = outcome.detail.partition(" ")
            body = _changed(_id(grant_id), "lost", word, why if _id(grant_id) else outcome.detail)
            return (record(body, model.Severity.HIGH),)
        case _:
            if outcome.succeeded:
                return ()
            failed = model.SensorFailed(sensor=f"enforcer {outcome.enforcer}", error=outcome.detail)
            return (record(failed, model.Severity.HIGH),)


def _isolated(asked: InForce | None, action: Isolate, outcome: Outcome) -> Effects:
    word = IN_PLACE if outcome.succeeded else FAILED
    body = _changed(action.grant_id, "isolate", word, outcome.detail, action.until_unix_ms)
    effects: list[Effect] = [record(body, model.Severity.HIGH)]
    if outcome.succeeded and asked is not None and not asked.quiet:
        effects.append(Tell(title=ISOLATED, text=ADVICE))
    return tuple(effects)


def _changed(
    grant_id: bytes, what: str, word: str, detail: str, until_unix_ms: int = 0
) -> model.IsolationChanged:
    holds = word in (IN_PLACE, "on", "not-confirmed")
    return model.IsolationChanged(
        isolated=holds,
        detail=detail[:500],
        grant_id=grant_id,
        what=what,
        state=word,
        until_unix_ms=until_unix_ms,
    )


def _id(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return b""
    return found if len(found) == 16 else b""
