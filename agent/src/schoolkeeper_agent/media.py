"""What the core makes of removable media: decide, have it done, and say only what was done (pure; T-44, T-45)."""

from __future__ import annotations

from dataclasses import replace

from schoolkeeper_agent import observations
from schoolkeeper_agent.decisions import (
    Effects,
    record,
    rule_ref,
    severity_of,
    tell_read_only,
    tell_refused,
    tell_warned,
)
from schoolkeeper_agent.enforcers.actions import LimitMedium
from schoolkeeper_agent.people import user_of
from schoolkeeper_agent.seams import Effect, Enforce, Outcome
from schoolkeeper_agent.state import CoreState, HeldMedium
from schoolkeeper_proto import model
from schoolkeeper_proto.decide import MEDIUM
from schoolkeeper_proto.policy import MediaAccess

ENFORCER = "media"
WHAT = MEDIUM


def arrived(state: CoreState, seen: observations.MediumArrived, now: int) -> tuple[CoreState, Effects]:
    held = HeldMedium(medium=seen.medium, account=seen.account, user_id=seen.user_id, groups=seen.groups)
    attached = record(model.MediumAttached(medium=seen.medium), user=_user(state, held))
    state, effects = decide(state, held, now)
    return state, (attached, *effects)


def decide(state: CoreState, held: HeldMedium, now: int) -> tuple[CoreState, Effects]:
    """Asks for what the policy in force gives this medium."""
    verdict = state.media_table.decide(held.medium, state.circumstances(held, now))
    before = held.verdict
    held = replace(held, verdict=verdict)
    state = replace(state, media={**state.media, held.medium.kernel_name: held})
    if before == verdict:
        return state, ()
    text = state.texts.get(verdict.rule_id)
    effects: list[Effect] = []
    if verdict.mode == "warn":
        effects.append(tell_warned("this removable medium", text))
    needs_more = before is None or before.access is MediaAccess.ALLOW or verdict.access is MediaAccess.BLOCK
    if verdict.access is not MediaAccess.ALLOW and needs_more and ENFORCER in state.able:
        limit = LimitMedium(
            kernel_name=held.medium.kernel_name, access=verdict.access, rule_id=verdict.rule_id
        )
        effects.append(Enforce(enforcer=ENFORCER, action=limit))
    return state, tuple(effects)


def done(state: CoreState, outcome: Outcome, now: int) -> tuple[CoreState, Effects]:
    """What the enforcer did. A failure is said as a failure: the medium is usable, and the rule not in force."""
    action = outcome.action
    assert isinstance(action, LimitMedium)
    held = state.media.get(action.kernel_name) or HeldMedium(
        medium=model.Medium(kernel_name=action.kernel_name)
    )
    text = state.texts.get(action.rule_id)
    asked = model.DecisionKind.BLOCK if action.access is MediaAccess.BLOCK else model.DecisionKind.READ_ONLY
    user = _user(state, held)
    severity = severity_of(text, asked)
    if not outcome.succeeded:
        failed = model.SensorFailed(sensor=f"enforcer {ENFORCER}", error=outcome.detail)
        return state, (record(failed, max(severity, model.Severity.HIGH, key=list(model.Severity).index)),)
    rule = rule_ref(text, asked, enforced=True) or model.RuleRef(
        rule_id="", source="default", decision=asked, enforced=True
    )
    state = state.refusing(held.user_id, action.rule_id, WHAT[:1].lower() + WHAT[1:], now)
    if action.access is MediaAccess.BLOCK:
        refused = model.MediumRefused(medium=held.medium, rule=rule)
        return state, (record(refused, severity, user), tell_refused(WHAT, text))
    limited = model.MediumMadeReadOnly(medium=held.medium, rule=rule)
    return state, (record(limited, severity, user), tell_read_only(WHAT, text))


def left(state: CoreState, seen: observations.MediumLeft) -> tuple[CoreState, Effects]:
    held = state.media.get(seen.kernel_name)
    if held is None:
        return state, ()
    rest = {name: other for name, other in state.media.items() if name != seen.kernel_name}
    ejected = record(model.MediumEjected(medium=held.medium), user=_user(state, held))
    return replace(state, media=rest), (ejected,)


def in_use(state: CoreState, seen: observations.MediumInUse) -> tuple[CoreState, Effects]:
    """A mount. Where a rule asked for less than this, the event names it as not enforced."""
    held = state.media.get(seen.kernel_name)
    if held is None:
        return state, ()
    verdict = held.verdict
    rule = None
    severity = model.Severity.INFORMATIONAL
    if verdict is not None and verdict.rule_id and verdict.asked is not MediaAccess.ALLOW:
        text = state.texts.get(verdict.rule_id)
        enforced = seen.read_only and verdict.access is MediaAccess.READ_ONLY
        rule = rule_ref(text, verdict.asked_decision, enforced=enforced)
        severity = severity_of(text, verdict.asked_decision)
    mounted = model.MediumMounted(medium=held.medium, read_only=seen.read_only, rule=rule)
    return state, (record(mounted, severity, _user(state, held)),)


def _user(state: CoreState, held: HeldMedium) -> model.UserRef:
    return user_of(held.account, held.user_id, state.policy.collection)
