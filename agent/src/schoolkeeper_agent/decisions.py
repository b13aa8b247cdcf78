"""From a rule's verdict to what is done, written down and said: pure, the core's second half."""

from __future__ import annotations

from typing import TypeGuard

from schoolkeeper_agent.seams import Effect, Outcome, Record, Tell
from schoolkeeper_proto import decide, model
from schoolkeeper_proto.matching import mode_of
from schoolkeeper_proto.policy import RuleText, ScreenSection
from schoolkeeper_proto.wire import Lane

CRITICAL_KINDS = frozenset(
    {
        model.PersonReport.KIND,
        model.AgentTampered.KIND,
        model.AgentKilled.KIND,
        model.AgentRemoval.KIND,
        model.LockFailed.KIND,
        model.FilterBypass.KIND,
        model.IsolationChanged.KIND,
        model.Canary.KIND,
    }
)
texts_of = decide.texts_of
BULK_KINDS = frozenset({model.ApplicationUsage.KIND, model.SiteUsage.KIND})


def lane_of(body: model.Body) -> Lane:
    """Critical is sent first and evicted last; block-and-raise makes any refusal critical."""
    if body.KIND in CRITICAL_KINDS:
        return Lane.CRITICAL
    rule = getattr(body, "rule", None)
    if isinstance(rule, model.RuleRef) and rule.decision is model.DecisionKind.BLOCK_AND_RAISE:
        return Lane.CRITICAL
    return Lane.BULK if body.KIND in BULK_KINDS else Lane.NORMAL


def severity_of(text: RuleText | None, decision: model.DecisionKind) -> model.Severity:
    """A rule's own severity; block-and-raise is at least high."""
    order = list(model.Severity)
    own = text.severity if text is not None else model.Severity.INFORMATIONAL
    if own is model.Severity.UNSPECIFIED:
        own = model.Severity.LOW
    if decision is model.DecisionKind.BLOCK_AND_RAISE:
        return max(own, model.Severity.HIGH, key=order.index)
    if decision in (model.DecisionKind.ALLOW, model.DecisionKind.OBSERVE):
        return model.Severity.INFORMATIONAL
    return own


def record(
    body: model.Body,
    severity: model.Severity = model.Severity.INFORMATIONAL,
    user: model.UserRef | None = None,
) -> Record:
    return Record(body=body, lane=lane_of(body), severity=severity, user=user)


def rule_ref(text: RuleText | None, asked: model.DecisionKind, *, enforced: bool) -> model.RuleRef | None:
    if text is None:
        return None
    return model.RuleRef(
        rule_id=text.rule_id, source=", ".join(text.source), decision=asked, enforced=enforced
    )


def tell_refused(what: str, text: RuleText | None, session_id: str = "") -> Tell:
    """Plain words to the person refused: what, why, and what they can do."""
    return _tell(decide.refused_words(what, text), text, session_id, askable=True)


def tell_warned(what: str, text: RuleText | None, session_id: str = "") -> Tell:
    return _tell(decide.warned_words(what, text), text, session_id)


def tell_read_only(what: str, text: RuleText | None, session_id: str = "") -> Tell:
    return _tell(decide.read_only_words(what, text), text, session_id, askable=True)


def _tell(words: decide.Words, text: RuleText | None, session_id: str, *, askable: bool = False) -> Tell:
    rule_id = text.rule_id if text is not None else ""
    return Tell(
        title=words.title,
        text=words.text,
        rule_id=rule_id,
        session_id=session_id,
        askable=askable and bool(rule_id),
    )


def held_or_not(outcome: Outcome, *, failing: bool) -> Effects:
    """Of a setting that is held all the time and tried again with each minute: a failure is said once, and its end.

    ``failing``: whether the try before this one failed.
    """
    if outcome.succeeded is not failing:
        return ()
    sensor = f"enforcer {outcome.enforcer}"
    if outcome.succeeded:
        return (record(model.SensorRecovered(sensor=sensor)),)
    return (record(model.SensorFailed(sensor=sensor, error=outcome.detail), model.Severity.HIGH),)


def locks_screens(section: ScreenSection | None) -> TypeGuard[ScreenSection]:
    """Whether the policy has screens locked by themselves, and not only watched."""
    return section is not None and section.idle_lock_seconds > 0 and mode_of(section.text) == "enforce"


def name_of(path: str) -> str:
    return path.rpartition("/")[2] or path


Effects = tuple[Effect, ...]
