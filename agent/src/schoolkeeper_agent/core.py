"""The core: what is seen goes in, what is to be done comes out. Pure: no input, no output, no clock of its own.

``handle(state, observation, now)`` returns the next state and the effects in the order in which the runtime performs
them. ``now`` is Unix time in milliseconds. What an enforcer did comes back as ``ActionDone``, and only then is it
written down as done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from schoolkeeper_agent import (
    applications,
    browsers,
    confinement,
    desktops,
    locking,
    media,
    observations,
    peripherals,
    requests,
    screen,
    usage,
)
from schoolkeeper_agent.decisions import Effects, lane_of, record
from schoolkeeper_agent.enforcers.actions import EndProgram, GuardApplications, RefreshApplications
from schoolkeeper_agent.observations import Observation
from schoolkeeper_agent.people import user_of
from schoolkeeper_agent.seams import Effect, Enforce, Record, Tell
from schoolkeeper_agent.state import CoreState, PostureState
from schoolkeeper_proto import model
from schoolkeeper_proto.bundle import OpenBundle

__all__ = ["CoreState", "handle", "initial", "lane_of"]

DRIFT_MS = 1_000
_TURNS = (
    observations.Tick,
    observations.PolicySwapped,
    observations.GrantsChanged,
    observations.PlaceSeen,
    observations.SessionSeen,
    observations.SessionGone,
)
"""After which other rules on browsers and peripherals may hold than before. A tick comes each minute; rules' times are
whole minutes."""


def initial(
    policy: OpenBundle,
    *,
    run_id: bytes,
    able: frozenset[str] = frozenset(),
    place: model.Place = model.Place.UNKNOWN,
) -> CoreState:
    """The state before the first observation.

    ``able`` names the enforcers that can act here (``applications``, ``media``, ``screen``); what none of them can do
    is observed and written down as not enforced. ``run_id``: random bytes, new at each start of the service.
    Raises ``TableMistake`` when the policy cannot be compiled.
    """
    return CoreState.compiled(policy, run_id=run_id, able=able, place=place)


def handle(state: CoreState, observation: Observation, now: int) -> tuple[CoreState, Effects]:
    """One step. Events that nobody was told of, and those kept for the school's own network, are left out here."""
    state, effects = _handle(state, observation, now)
    if isinstance(observation, _TURNS):
        state, told = browsers.decide(state, now)
        state, done = peripherals.decide_all(state, now)
        state, held = desktops.decide(state, now)
        state, judged = media.judge_waiting(state, now)
        effects = (*effects, *told, *done, *held, *judged)
    state, effects = _keep_time(state, effects)
    return state, tuple(effect for effect in effects if _wanted(state, effect, now))


def _keep_time(state: CoreState, effects: Effects) -> tuple[CoreState, Effects]:
    """The guard judges by the same time: it is told whenever what is believed moved by more than a second."""
    told = any(
        isinstance(effect, Enforce) and isinstance(effect.action, GuardApplications | RefreshApplications)
        for effect in effects
    )
    if not told:
        base, last = state.time.base_ms, state.guard_base_ms
        if base is None or not state.guarding or (last is not None and abs(base - last) <= DRIFT_MS):
            return state, effects
        effects = (*effects, Enforce(enforcer="applications", action=refresh(state)))
    return replace(state, guard_base_ms=state.time.base_ms), effects


def _wanted(state: CoreState, effect: Effect, now: int) -> bool:
    return not isinstance(effect, Record) or state.may_record(effect.body.KIND, now)


def _handle(state: CoreState, seen: Observation, now: int) -> tuple[CoreState, Effects]:  # noqa: C901 - one per kind
    match seen:
        case observations.Noted():
            return state, (record(seen.body, seen.severity),)
        case observations.ExceptionAsked():
            return _asked(state, seen, now)
        case observations.AskedBefore():
            return _granted(replace(state, requests=requests.remembered(state.requests, seen.requests)), now)
        case observations.RequestDeclined():
            declined = requests.declined(
                state.requests, seen.reference, seen.rule_id, by=seen.by, words=seen.words,
                at_unix_ms=seen.at_unix_ms,
            )  # fmt: skip
            return _tell_granted(replace(state, requests=declined), now)
        case observations.PersonTold():
            return state, (_told(state, seen),)
        case observations.Tick():
            state, effects = _tick(state, now)
            state, told = _tell_granted(state, now)
            state, asked = locking.ask_all(state, now)
            return state, (*effects, *told, *asked)
        case observations.PolicySwapped():
            return _swap(state, seen, now)
        case observations.PolicyRejected():
            refused = model.PolicyRefused(
                bundle_hash=seen.bundle_hash, bundle_version=seen.bundle_version, reason=seen.reason
            )
            return state, (record(refused, model.Severity.HIGH),)
        case observations.GrantsChanged():
            return _grants(state, seen, now)
        case observations.PlaceSeen():
            return _place(state, seen, now)
        case observations.ProcessStarted():
            return applications.started(state, seen, now)
        case observations.ProcessEnded():
            return replace(state, usage=usage.ended(state.heeded_usage(now), seen.process_id, now)), ()
        case observations.ExecutionJudged():
            return applications.judged(state, seen, now)
        case observations.GuardUp() | observations.GuardDown():
            return applications.guard_changed(state, seen, now)
        case observations.Missed():
            gap = model.Gap(
                what=seen.what, from_unix_ms=seen.from_unix_ms, to_unix_ms=seen.to_unix_ms, count=seen.count,
                count_known=seen.count_known,
            )  # fmt: skip
            return state, (record(gap, model.Severity.MEDIUM),)
        case observations.MediumArrived():
            return media.arrived(state, seen, now)
        case observations.MediumLeft():
            return media.left(state, seen)
        case observations.MediumInUse():
            return media.in_use(state, seen)
        case observations.MediumWritten():
            return media.written(state, seen)
        case observations.MediumEncrypting():
            return media.encrypting(state, seen, now)
        case observations.PeripheralArrived():
            return peripherals.arrived(state, seen, now)
        case observations.PeripheralLeft():
            return peripherals.left(state, seen)
        case observations.SessionSeen():
            state, effects = screen.session_seen(state, seen, now)
            state, told = _tell_granted(state, now)
            return state, (*effects, *told)
        case observations.SessionGone():
            return screen.session_gone(state, seen)
        case observations.FallingAsleep():
            return screen.falling_asleep(state, now)
        case observations.LidMoved():
            return locking.lid_moved(state, now, closed=seen.closed)
        case observations.TokenMoved():
            return locking.token_moved(state, now, removed=seen.removed)
        case observations.ClockStepped():
            direction = "forward" if seen.step_milliseconds >= 0 else "backward"
            changed = model.ClockChanged(step_milliseconds=seen.step_milliseconds, direction=direction)
            return state, (record(changed, model.Severity.MEDIUM),)
        case observations.PostureRead():
            return posture(state, seen, now)
        case observations.SensorDown():
            failed = model.SensorFailed(sensor=seen.sensor, error=seen.error, restarts=seen.restarts)
            return state, (record(failed, model.Severity.MEDIUM),)
        case observations.SensorUp():
            recovered = model.SensorRecovered(sensor=seen.sensor, down_milliseconds=seen.down_milliseconds)
            return state, (record(recovered),)
        case observations.IsolationTried():
            return confinement.tried(state, seen)
        case observations.BypassSeen():
            return state, (
                record(
                    model.FilterBypass(technique=seen.technique, evidence=seen.evidence),
                    model.Severity.MEDIUM,
                ),
            )
        case observations.ActionDone():
            return _done(state, seen, now)
        case _:
            assert_never(seen)


def _tick(state: CoreState, now: int) -> tuple[CoreState, Effects]:
    heeded = state.heeded_usage(now)
    if not heeded.counting:
        return replace(state, usage=heeded), ()
    counted, told = usage.hand_over(heeded, state.run_id, now)
    return replace(state, usage=counted), tuple(record(body, user=user) for body, user in told)


def _swap(state: CoreState, seen: observations.PolicySwapped, now: int) -> tuple[CoreState, Effects]:
    """The whole table changes in one step; what is plugged in is judged again by the new one."""
    state = state.with_policy(seen.bundle, state.grants)
    applied = model.PolicyApplied(
        bundle_hash=seen.bundle.hash,
        bundle_version=seen.bundle.manifest.version,
        not_enforceable=seen.not_enforceable,
    )
    state, changed = _decide_anew(state, now)
    return state, (record(applied), *changed)


def _asked(state: CoreState, seen: observations.ExceptionAsked, now: int) -> tuple[CoreState, Effects]:
    """Somebody asks for an exception: written down as that account, and remembered until a grant answers it."""
    body = model.ExceptionRequested(
        rule_id=seen.rule_id,
        reason=seen.reason,
        words=seen.words,
        wanted=seen.wanted,
        reference=seen.reference,
    )
    user = user_of(seen.account, seen.user_id, state.policy.collection)
    asked = requests.OpenRequest(
        user_id=seen.user_id, rule_id=seen.rule_id, reference=seen.reference, asked_unix_ms=now
    )
    state = replace(state, requests=requests.asked(state.requests, asked))
    return state, (record(body, model.Severity.LOW, user),)


def _told(state: CoreState, seen: observations.PersonTold) -> Record:
    """Somebody tells the school something: never held back, whatever the policy collects."""
    severity = model.Severity.CRITICAL if seen.report.urgent else model.Severity.HIGH
    user = user_of(seen.account, seen.user_id, state.policy.collection)
    return replace(record(seen.report, severity, user), event_id=seen.event_id)


def _granted(state: CoreState, now: int) -> tuple[CoreState, Effects]:
    """Whoever asked for what a grant allows now is told, or will be at their next sign-in."""
    return _tell_granted(replace(state, requests=requests.granted(state.requests, state.grants)), now)


def _tell_granted(state: CoreState, now: int) -> tuple[CoreState, Effects]:
    here = frozenset(held.user_id for held in state.sessions.values())
    kept, told = requests.tell(state.requests, here, now)
    return (state if kept is state.requests else replace(state, requests=kept)), told


def _grants(state: CoreState, seen: observations.GrantsChanged, now: int) -> tuple[CoreState, Effects]:
    """The rules as the grants in force leave them, in one step, for the guard, too. What began or ended was noted."""
    told = tuple(Tell(title="Different rules hold for a while", text=words) for words in seen.tell)
    state, confined = confinement.changed(state, seen.in_force)
    if seen.in_force == state.grants:
        return state, (*confined, *told)
    state, changed = _decide_anew(state.with_policy(state.signed, seen.in_force), now)
    state, answered = _granted(state, now)
    return state, (*confined, *changed, *told, *answered)


def _decide_anew(state: CoreState, now: int) -> tuple[CoreState, Effects]:
    """The guard gets the new table; what is plugged in is judged again by it."""
    effects: list[Effect] = []
    if "applications" in state.able:
        guard = GuardApplications(
            section=state.policy.applications, place=str(state.place), base_ms=state.time.base_ms
        )
        effects.append(Enforce(enforcer="applications", action=guard))
        if state.sessions:
            # The new policy may put the same people into other groups.
            effects.append(Enforce(enforcer="applications", action=screen.refresh(state)))
    state, held_back = media.hold(state)
    effects += held_back
    for held in state.media.values():
        state, more = media.decide(state, held, now)
        effects += more
    return state, tuple(effects)


def _place(state: CoreState, seen: observations.PlaceSeen, now: int) -> tuple[CoreState, Effects]:
    moved = seen.place is not state.place
    state = replace(state, place=seen.place)
    state = replace(state, usage=state.heeded_usage(now))
    effects: list[Effect] = [
        record(model.NetworkChanged(medium=seen.medium, network_hash=seen.network_hash, place=seen.place))
    ]
    if moved and "applications" in state.able:
        effects.append(Enforce(enforcer="applications", action=refresh(state)))
    return state, tuple(effects)


def refresh(state: CoreState) -> RefreshApplications:
    """What the guard must know anew when place or people changed."""
    return screen.refresh(state)


def posture(state: CoreState, seen: observations.PostureRead, now: int) -> tuple[CoreState, Effects]:
    """Reports a change at once and an unchanged result too: ``evaluated_at`` shows that it is not stale."""
    before = state.posture.get(seen.check)
    if seen.check == "lock" and seen.result is model.PostureResult.UNKNOWN and before is not None:
        return state, ()  # what was seen to lock, or not to, says more than a look at settings
    since = before.since_unix_ms if before is not None and before.result is seen.result else now
    told = model.Posture(
        check=seen.check, result=seen.result, since_unix_ms=since, evaluated_at_unix_ms=now, evidence=seen.evidence,
        unknown_because=seen.unknown_because,
    )  # fmt: skip
    kept = {**state.posture, seen.check: PostureState(result=seen.result, since_unix_ms=since)}
    severity = model.Severity.LOW if seen.result is model.PostureResult.FAIL else model.Severity.INFORMATIONAL
    return replace(state, posture=kept), (record(told, severity),)


def _done(state: CoreState, seen: observations.ActionDone, now: int) -> tuple[CoreState, Effects]:
    outcome = seen.outcome
    if outcome.enforcer == "media":
        return media.done(state, outcome, now)
    if isinstance(outcome.action, EndProgram):
        return applications.ended(state, outcome)
    if outcome.enforcer == "screen":
        return screen.done(state, outcome, now)
    if outcome.enforcer in confinement.ENFORCERS:
        return confinement.done(state, outcome)
    if outcome.enforcer == peripherals.ENFORCER:
        return peripherals.done(state, outcome, now)
    if outcome.enforcer == peripherals.BLUETOOTH:
        return peripherals.bluetooth_done(state, outcome)
    if outcome.enforcer == browsers.ENFORCER:
        return browsers.done(state, outcome)
    if outcome.enforcer == desktops.ENFORCER:
        return desktops.done(state, outcome)
    if outcome.succeeded:
        return state, ()
    failed = model.SensorFailed(sensor=f"enforcer {outcome.enforcer}", error=outcome.detail)
    return state, (record(failed, model.Severity.HIGH),)
