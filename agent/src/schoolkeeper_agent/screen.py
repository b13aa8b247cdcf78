"""What the core makes of sessions: signed in and out, locked, idle; and the lock after idle time (pure)."""

from __future__ import annotations

from dataclasses import replace

from schoolkeeper_agent import confinement, locking, observations
from schoolkeeper_agent.decisions import Effects, record, rule_ref, severity_of
from schoolkeeper_agent.enforcers.actions import EndUnlocked, LockSession, RefreshApplications
from schoolkeeper_agent.people import user_of
from schoolkeeper_agent.seams import Effect, Enforce, Outcome
from schoolkeeper_agent.state import CoreState, HeldSession, PostureState
from schoolkeeper_proto import model
from schoolkeeper_proto.policy import RuleText

ENFORCER = locking.ENFORCER
LOST_AGAIN_MS = 2_000
"""A lost device's screen is locked again this soon after it was asked to."""


def session_seen(state: CoreState, seen: observations.SessionSeen, now: int) -> tuple[CoreState, Effects]:
    before = state.sessions.get(seen.session_id)
    held = _held(before, seen, now)
    effects: list[Effect] = []
    user = user_of(seen.account, seen.user_id, state.policy.collection)
    if before is None:
        signed_in = model.SignedIn(session_id=seen.session_id, session_type=seen.session_type)
        effects.append(record(signed_in, user=user))
    effects += _lock_changes(before, held, user)
    if held.idle and (before is None or not before.idle):
        idle_seconds = max(0, now - seen.idle_since_unix_ms) // 1000
        idle = model.SessionIdle(session_id=seen.session_id, idle_seconds=idle_seconds)
        effects.append(record(idle, user=user))
    held, asked = _lock_if_due(state, held, seen, now)
    effects += asked
    state = replace(state, sessions={**state.sessions, held.session_id: held})
    if before is None and "applications" in state.able:
        effects.append(Enforce(enforcer="applications", action=refresh(state)))
    return state, tuple(effects)


def session_gone(state: CoreState, seen: observations.SessionGone) -> tuple[CoreState, Effects]:
    held = state.sessions.get(seen.session_id)
    if held is None:
        return state, ()
    rest = {name: other for name, other in state.sessions.items() if name != seen.session_id}
    state = replace(state, sessions=rest)
    user = user_of(held.account, held.user_id, state.policy.collection)
    effects: list[Effect] = [record(model.SignedOut(session_id=seen.session_id), user=user)]
    if "applications" in state.able:
        effects.append(Enforce(enforcer="applications", action=refresh(state)))
    return state, tuple(effects)


def falling_asleep(state: CoreState, now: int) -> tuple[CoreState, Effects]:
    """Where screens are locked after idle time, none wakes up open: each is locked before the machine sleeps (W-72)."""
    section = state.policy.screen
    # Nobody hears last words while the machine sleeps.
    sessions = {name: replace(held, last_words_unix_ms=0) for name, held in state.sessions.items()}
    effects: list[Effect] = []
    for held in locking.lockable(state, now):
        assert section is not None
        sessions[held.session_id] = replace(sessions[held.session_id], asked_unix_ms=now)
        action = LockSession(session_id=held.session_id, rule_id=section.text.rule_id, cause="suspend")
        effects.append(Enforce(enforcer=ENFORCER, action=action))
    return replace(state, sessions=sessions), tuple(effects)


def refresh(state: CoreState) -> RefreshApplications:
    """Place and groups of everybody signed in, for the guard."""
    asked = {held.user_id: state.groups_of(held) for held in state.sessions.values()}
    groups = {user_id: names for user_id, names in asked.items() if names is not None}
    pairs = tuple((user_id, tuple(sorted(names))) for user_id, names in sorted(groups.items()))
    return RefreshApplications(place=str(state.place), groups=pairs, base_ms=state.time.base_ms)


def done(state: CoreState, outcome: Outcome, now: int) -> tuple[CoreState, Effects]:
    """Locked is only what logind shows as locked; all else is a failure, critical, and said."""
    match outcome.action:
        case EndUnlocked():
            return _ended(state, outcome.action, outcome)
        case LockSession():
            return _locked(state, outcome.action, outcome, now)
        case _:
            raise AssertionError(f"{outcome.action} is not asked of the screen")


def _locked(state: CoreState, action: LockSession, outcome: Outcome, now: int) -> tuple[CoreState, Effects]:
    held = state.sessions.get(action.session_id)
    text = state.texts.get(action.rule_id)
    rule = rule_ref(text, model.DecisionKind.BLOCK, enforced=outcome.succeeded)
    user = user_of(held.account, held.user_id, state.policy.collection) if held is not None else None
    result = model.PostureResult.PASS if outcome.succeeded else model.PostureResult.FAIL
    state, told = _posture(state, result, outcome.detail, now)
    if outcome.succeeded:
        if held is not None:
            state = _with(state, replace(locking.undue(held), locked=True, failures=0))
        cause = action.cause if state.confined.lost is None else "lost"
        locked = model.SessionLocked(session_id=action.session_id, cause=cause, verified=True, rule=rule)
        return state, (record(locked, user=user), *told)
    first = held is None or held.failures == 0
    if held is not None:
        held = replace(held, failures=held.failures + 1)
        state = _with(state, held)
    ended = confinement.end(state, action.session_id) if state.confined.lost is not None else ()
    if not first:
        return state, ended
    failed = model.LockFailed(session_id=action.session_id, detail=outcome.detail, rule=rule)
    words = locking.words_of_failure(state, held) if held is not None else ()
    return state, (record(failed, _grave(text), user), *told, *words, *ended)


def _ended(state: CoreState, action: EndUnlocked, outcome: Outcome) -> tuple[CoreState, Effects]:
    """Ended, and said; or locked, used or gone in the last moment, and nothing to say."""
    held = state.sessions.get(action.session_id)  # not there any more, when it ended
    if outcome.gone or (not outcome.succeeded and (held is None or held.end_failed)):
        return state, ()
    text = state.texts.get(action.rule_id)
    rule = rule_ref(text, model.DecisionKind.BLOCK, enforced=outcome.succeeded)
    detail = f"it was ended, because it did not lock for {action.after_seconds} s (due by: {action.cause})"
    if held is not None and not outcome.succeeded:
        state = _with(state, replace(held, end_failed=True))
        detail = f"it does not lock, and could not be ended: {outcome.detail}"
    failed = model.LockFailed(session_id=action.session_id, detail=detail, rule=rule)
    user = user_of(action.account, action.user_id, state.policy.collection)
    return state, (record(failed, _grave(text), user),)


def _with(state: CoreState, held: HeldSession) -> CoreState:
    return replace(state, sessions={**state.sessions, held.session_id: held})


def _grave(text: RuleText | None) -> model.Severity:
    own = severity_of(text, model.DecisionKind.BLOCK)
    return max(own, model.Severity.MEDIUM, key=list(model.Severity).index)


def _posture(
    state: CoreState, result: model.PostureResult, detail: str, now: int
) -> tuple[CoreState, Effects]:
    """The check 'lock' is what was seen to happen, not what a setting promises."""
    before = state.posture.get("lock")
    since = before.since_unix_ms if before is not None and before.result is result else now
    body = model.Posture(
        check="lock", result=result, since_unix_ms=since, evaluated_at_unix_ms=now, evidence=detail
    )
    kept = {**state.posture, "lock": PostureState(result=result, since_unix_ms=since)}
    return replace(state, posture=kept), (record(body),)


def _held(before: HeldSession | None, seen: observations.SessionSeen, now: int) -> HeldSession:
    idle = seen.idle_since_unix_ms > 0
    fresh = HeldSession(
        session_id=seen.session_id, account=seen.account, user_id=seen.user_id, seen_unix_ms=now
    )
    return replace(
        before or fresh,
        session_type=seen.session_type,
        locked=seen.locked,
        idle=idle,
        background=seen.background,
        shown=not seen.background or (before is not None and before.shown),
        remote=seen.remote,
        seat=seen.seat,
        groups=seen.groups,
    )


def _lock_changes(before: HeldSession | None, held: HeldSession, user: model.UserRef) -> tuple[Effect, ...]:
    was_locked = before is not None and before.locked
    if before is not None and before.asked_unix_ms and not before.failures:
        return ()  # the core asked for it: the outcome tells, with its rule
    if held.locked and not was_locked:
        return (record(model.SessionLocked(session_id=held.session_id, verified=True), user=user),)
    if was_locked and not held.locked:
        return (record(model.SessionUnlocked(session_id=held.session_id), user=user),)
    return ()


def _lock_if_due(
    state: CoreState, held: HeldSession, seen: observations.SessionSeen, now: int
) -> tuple[HeldSession, Effects]:
    if state.confined.lost is not None:
        return _lock_lost(state, held, now)
    held = locking.look(state, held, seen.idle_since_unix_ms, now)
    held, told = locking.warn(state, held, seen.idle_since_unix_ms, now)
    held, asked = locking.ask(state, held, now)
    return held, (*told, *asked)


def _lock_lost(state: CoreState, held: HeldSession, now: int) -> tuple[HeldSession, Effects]:
    """On a lost device each session is locked, and locked again whenever it opens."""
    if held.locked or not held.idle:
        held = replace(locking.undue(held), failures=held.failures if held.idle else 0)
    if held.locked or (held.asked_unix_ms and now - held.asked_unix_ms < LOST_AGAIN_MS):
        return held, ()
    return replace(held, asked_unix_ms=now), confinement.lock(state, held)
