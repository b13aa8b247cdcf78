"""What is not known about an alert: said before anybody draws a conclusion from it."""

from __future__ import annotations

from typing import Final

from schoolkeeper_collector.detection.source import ReadEvent
from schoolkeeper_collector.incidents.evidence import Evidence
from schoolkeeper_collector.incidents.model import AlertSummary, Audience, SubjectKind
from schoolkeeper_collector.incidents.wording import duration
from schoolkeeper_proto import model

_SKEWED_MS: Final = 120_000
_LATE_MS: Final = 3_600_000


def doubts(
    alert: AlertSummary, evidence: Evidence, of_rule: tuple[str, ...], open_gaps: int
) -> tuple[str, ...]:
    """Sentences, the rule's own first."""
    found = [*of_rule, *_about_subject(alert), *_about_times(evidence.events)]
    if evidence.events and all(
        one.event.place not in (model.Place.ON_SITE, model.Place.OFF_SITE) for one in evidence.events
    ):
        found.append("Whether the device was in school.")
    if any(_only_observed(one.event.body) for one in evidence.events):
        found.append(
            "What would have happened had the device been able to enforce the rule; it only observed."
        )
    if open_gaps:
        found.append("A part of this device's log is missing, so there may be more that nobody has seen.")
    if evidence.gone:
        found.append(f"{evidence.gone} of the events it rests on were erased or can no longer be read.")
    return tuple(dict.fromkeys(found))


def _about_subject(alert: AlertSummary) -> list[str]:
    match alert.subject.kind:
        case SubjectKind.SHARED:
            return ["Who it was: several people use this account. It is not put down to one child."]
        case SubjectKind.DEVICE:
            return [] if alert.audience is Audience.TECHNICIAN else ["Who was at the device."]
        case SubjectKind.UNKNOWN_PERSON:
            return [
                "Whose account it is: the register does not know it. It may be a pupil's or a member of staff's."
            ]
        case SubjectKind.PUPIL | SubjectKind.STAFF | SubjectKind.GUEST:
            return ["Whether the person whose account it was sat at the device."]
        case SubjectKind.SCHOOL:
            return []


def _about_times(events: tuple[ReadEvent, ...]) -> list[str]:
    found = []
    if any(one.event.skew_ms is None for one in events):
        found.append("Whether the device's clock was right: it could not be compared with the collector's.")
    worst = max((abs(one.event.skew_ms or 0) for one in events), default=0)
    if worst > _SKEWED_MS:
        found.append(
            f"The exact times: the device's clock was wrong by {duration(worst)}; they are corrected by it."
        )
    if any(one.event_ms > one.received_ms + _SKEWED_MS for one in events):
        found.append(
            "When it happened: the device's clock pointed to the future, so the time of arrival is shown."
        )
    late = max((one.received_ms - one.event_ms for one in events), default=0)
    if late > _LATE_MS:
        found.append(
            f"Some of it came in {duration(late)} after it happened: the device had no contact until then."
        )
    return found


def _only_observed(body: model.Body) -> bool:
    rule = getattr(body, "rule", None)
    refusing = (model.DecisionKind.BLOCK, model.DecisionKind.BLOCK_AND_RAISE, model.DecisionKind.READ_ONLY)
    return isinstance(rule, model.RuleRef) and not rule.enforced and rule.decision in refusing
