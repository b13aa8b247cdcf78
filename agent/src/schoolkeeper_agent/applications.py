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
from schoolkeeper_agent.enforcers.actions import EndProgram
from schoolkeeper_agent.people import FIRST_PERSON_UID, user_of
from schoolkeeper_agent.seams import Effect, Enforce, Outcome
from schoolkeeper_agent.state import CoreState
from schoolkeeper_proto import model
from schoolkeeper_proto.matching import Verdict

GUARD = "applications"
_TOO_SLOW = "too-slow"


def started(state: CoreState, seen: observations.ProcessStarted, now: int) -> tuple[CoreState, Effects]:
    """A program runs. With the guard in place it was allowed; without it, this is where it is judged, afterwards."""
    user = user_of(seen.account, seen.user_id, state.policy.collection)
    verdict, path = _verdict(state, seen, now)
    text = state.texts.get(verdict.rule_id)
    identity = _identity(state, verdict.rule_id)
    whole = model.Application(
        path=seen.path, sha256=seen.sha256, name=name_of(seen.path), package=seen.package, identity=identity
    )
    state = _count(state, seen, whole, user, now)
    application = whole if path == seen.path else replace(whole, path=path, name=name_of(path), sha256=b"")
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
    said = record(body, severity, user)
    if verdict.refuses and verdict.rule_id and _may_end(state, seen):
        session = state.session_of(seen.user_id)
        end = EndProgram(process_id=seen.process_id, path=seen.path, started=said, session_id=session)
        return state, (Enforce(enforcer=GUARD, action=end),)
    effects: list[Effect] = [said]
    if verdict.decision == model.DecisionKind.WARN:
        effects.append(tell_warned(name_of(path), text, state.session_of(seen.user_id)))
    return state, tuple(effects)


def _verdict(state: CoreState, seen: observations.ProcessStarted, now: int) -> tuple[Verdict, str]:
    """On the program, or on the file that it was given to run where a rule refuses that; and its path.

    A rule on the origin of programs is not asked about scripts: a lesson in Python is made of them.
    """
    circumstances = state.circumstances(seen, now)
    verdict = state.applications.decide(
        seen.path, circumstances, sha256=seen.sha256.hex(), package=seen.package, origin=seen.origin
    )
    if seen.script and not verdict.refuses:
        script = state.applications.decide(seen.script, circumstances, origin=seen.script_origin)
        if script.refuses and script.rule_id:
            return script, seen.script
    return verdict, seen.path


def _may_end(state: CoreState, seen: observations.ProcessStarted) -> bool:
    """Only a person's program that began under these rules: what ran before goes on.

    Also while the guard is away: what it would have refused is not let run because it was killed.
    """
    return GUARD in state.able and not seen.already_running and seen.user_id >= FIRST_PERSON_UID


def ended(state: CoreState, outcome: Outcome) -> tuple[CoreState, Effects]:
    """What went round the guard is written down once, with what became of it; the person is told as of a refusal."""
    action = outcome.action
    assert isinstance(action, EndProgram)
    said = action.started
    body = said.body
    assert isinstance(body, model.ApplicationStarted)
    written = replace(said, body=replace(body, ended=outcome.succeeded))
    if not outcome.succeeded or body.rule is None:
        return state, (written,)
    tell = tell_refused(body.application.name, state.texts.get(body.rule.rule_id), action.session_id)
    return state, (written, tell)


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
