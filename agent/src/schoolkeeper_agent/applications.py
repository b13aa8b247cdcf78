"""What the core makes of programs: started, judged by the guard, or run while nobody guarded (pure)."""

from __future__ import annotations

from dataclasses import replace

from schoolkeeper_agent import observations, usage
from schoolkeeper_agent.decisions import (
    Effects,
    name_of,
    record,
    rule_ref,
    severity_of,
    tell_refused,
    tell_warned,
)
from schoolkeeper_agent.people import user_of
from schoolkeeper_agent.seams import Effect
from schoolkeeper_agent.state import CoreState
from schoolkeeper_proto import model

GUARD = "applications"
_TOO_SLOW = "too-slow"


def started(state: CoreState, seen: observations.ProcessStarted, now: int) -> tuple[CoreState, Effects]:
    """A program runs. With the guard in place it was allowed; without it, this is where it is judged, afterwards."""
    user = user_of(seen.account, seen.user_id, state.policy.collection)
    verdict = state.applications.decide(
        seen.path, state.circumstances(seen, now), sha256=seen.sha256.hex(), package=seen.package
    )
    text = state.texts.get(verdict.rule_id)
    identity = _identity(state, verdict.rule_id)
    application = model.Application(
        path=seen.path, sha256=seen.sha256, name=name_of(seen.path), package=seen.package, identity=identity
    )
    state = _count(state, seen, application, user, now)
    if state.guarding and not seen.already_running and not verdict.refuses:
        # The guard tells of what it let run with a word; here it would be said twice. What it should have refused and
        # runs all the same went around it (a memfd, a private file system): that is said here.
        rule = None
        severity = model.Severity.INFORMATIONAL
    else:
        asked = model.DecisionKind(verdict.asked)
        rule = rule_ref(text, asked, enforced=False)
        if rule is None and verdict.refuses:
            rule = model.RuleRef(rule_id="", source="default", decision=asked, enforced=False)
        severity = severity_of(text, asked)
    if rule is None:
        # What no rule has a word on is nobody's business one by one: it is in the hour's aggregate at most.
        return state, ()
    body = model.ApplicationStarted(
        application=application,
        process_id=seen.process_id,
        parent_process_id=seen.parent_process_id,
        rule=rule,
    )
    effects: list[Effect] = [record(body, severity, user)]
    if verdict.decision == model.DecisionKind.WARN:
        effects.append(tell_warned(name_of(seen.path), text, state.session_of(seen.user_id)))
    return state, tuple(effects)


def judged(state: CoreState, seen: observations.ExecutionJudged, now: int) -> tuple[CoreState, Effects]:
    """The guard's own report: a refusal is written down and said; a rule on trial is written down."""
    text = state.texts.get(seen.rule_id)
    user = user_of(seen.account, seen.user_id, state.policy.collection)
    application = model.Application(
        path=seen.path, sha256=seen.sha256, name=name_of(seen.path), identity=_identity(state, seen.rule_id)
    )
    severity = severity_of(text, seen.asked)
    if seen.decision in (model.DecisionKind.BLOCK, model.DecisionKind.BLOCK_AND_RAISE):
        rule = rule_ref(text, seen.asked, enforced=True)
        if rule is None:
            rule = model.RuleRef(
                rule_id="", source=seen.reason or "default", decision=seen.asked, enforced=True
            )
        refused = model.ApplicationRefused(application=application, process_id=seen.process_id, rule=rule)
        tell = tell_refused(name_of(seen.path), text, state.session_of(seen.user_id))
        if seen.reason == _TOO_SLOW:
            tell = replace(
                tell,
                title=f"{name_of(seen.path)} could not be checked in time",
                text="Please try again.",
                askable=False,
            )
        if tell.askable:
            state = state.refusing(seen.user_id, seen.rule_id, name_of(seen.path), now)
        return state, (record(refused, severity, user), tell)
    rule = rule_ref(text, seen.asked, enforced=False)
    body = model.ApplicationStarted(application=application, process_id=seen.process_id, rule=rule)
    effects: list[Effect] = [record(body, severity, user)]
    if seen.decision is model.DecisionKind.WARN:
        effects.append(tell_warned(name_of(seen.path), text, state.session_of(seen.user_id)))
    return state, tuple(effects)


def guard_changed(
    state: CoreState, seen: observations.GuardUp | observations.GuardDown, now: int
) -> tuple[CoreState, Effects]:
    """Its death opens a gap that is said; its return closes it. In between programs are judged afterwards."""
    if seen.enforcer != GUARD:
        return state, ()
    if isinstance(seen, observations.GuardDown):
        failed = model.SensorFailed(sensor=f"enforcer {GUARD}", error=seen.reason, restarts=seen.restarts)
        since = state.unguarded_since_unix_ms or now
        return replace(state, guarding=False, unguarded_since_unix_ms=since), (
            record(failed, model.Severity.HIGH),
        )
    effects: tuple[Effect, ...] = ()
    if state.unguarded_since_unix_ms:
        gap = model.Gap(
            what="executions undecided", from_unix_ms=state.unguarded_since_unix_ms, to_unix_ms=now
        )
        recovered = model.SensorRecovered(
            sensor=f"enforcer {GUARD}", down_milliseconds=seen.down_milliseconds
        )
        effects = (record(gap, model.Severity.MEDIUM), record(recovered))
    return replace(state, guarding=True, unguarded_since_unix_ms=0), effects


def _count(
    state: CoreState,
    seen: observations.ProcessStarted,
    application: model.Application,
    user: model.UserRef,
    now: int,
) -> CoreState:
    if user.kind in (model.UserKind.NONE, model.UserKind.UNKNOWN):
        return state  # usage is a person's; the system's own programs are not counted
    return replace(
        state, usage=usage.started(state.heeded_usage(now), seen.process_id, application, user, now)
    )


def _identity(state: CoreState, rule_id: str) -> str:
    if not rule_id:
        return ""
    return next(
        (rule.identity for rule in state.policy.applications.rules if rule.text.rule_id == rule_id), ""
    )
