"""Events and facts as a person would tell them: what the device saw, never what somebody 'is'.

One short sentence each, without names and without blame. Whoever wants the exact fields gets them beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from schoolkeeper_policies.sigma.compile import MAX_VALUE
from schoolkeeper_proto import model

PLACES = {
    model.Place.ON_SITE: "in school",
    model.Place.OFF_SITE: "out of school",
}


def tell(body: model.Body) -> str:
    """One sentence about an event."""
    match body:
        case model.ApplicationRefused(application=application):
            return f"{_program(application)} did not start: a rule refused it."
        case model.ApplicationStarted(application=application, ended=True):
            return f"{_program(application)} was started round the rule that refuses it, and ended at once."
        case model.ApplicationStarted(application=application):
            return f"{_program(application)} was started."
        case model.MediumRefused(medium=medium):
            return f"{_medium(medium)} was refused."
        case model.MediumWriteRefused(medium=medium, count=count):
            return f"Writing to {_lower(_medium(medium))} was refused{_times(count)}."
        case model.MediumMounted(medium=medium, read_only=read_only):
            return f"{_medium(medium)} was opened{' for reading only' if read_only else ''}."
        case model.MediumCopy(medium=medium, files=files):
            return f"{files} files were copied to {_lower(_medium(medium))}."
        case model.FilterBypass(technique=technique):
            return f"The device's network went around the web filter ({technique or 'by an unknown way'})."
        case model.PersonReport(recipient=recipient, urgent=urgent):
            return f"Somebody asks {recipient or 'you'} for help{', and says that it is urgent' if urgent else ''}."
        case model.LockFailed():
            return "The screen should have locked, and the session stayed open."
        case model.ClockChanged(step_milliseconds=step):
            return f"The clock was moved {'backward' if step < 0 else 'forward'} by {duration(abs(step))}."
        case _:
            return _tell_of_device(body)


def _tell_of_device(body: model.Body) -> str:
    match body:
        case model.AgentKilled(down_seconds=down):
            return f"The school's program ended without saying why, and was away for {duration(down * 1000)}."
        case model.AgentTampered(what=what):
            return f"A part of the school's program was changed: {what or 'it is not known which'}."
        case model.AgentUpdate() | model.AgentRemoval():
            return _tell_of_another_agent(body)
        case model.Evicted(events=events, lane=lane):
            return f"The device dropped {events} events of the lane '{lane}' for want of room."
        case model.Posture(check=check, result=result):
            return f"The check '{check}' {_RESULTS.get(result, 'could not be made')}."
        case model.SensorFailed(sensor=sensor, restarts=restarts):
            return f"The sensor '{sensor}' failed and was started again ({restarts} times so far)."
        case model.PolicyRefused(reason=reason):
            return (
                f"The device did not take a new policy: {reason or 'it gave no reason'}. The old one stays."
            )
        case model.Gap(what=what):
            return f"The device knows that it missed something: {what}."
        case model.SiteRefused(refusals=refusals, site_category=category):
            return f"Pages of the category '{category}' were refused{_times(refusals)}."
        case model.ImportedAlert(provider=provider, category=category):
            return f"{provider} reported something of the category '{category}'. Schoolkeeper did not see it itself."
        case _:
            return f"The device reported an event of the kind '{body.KIND}'."


def _tell_of_another_agent(body: model.AgentUpdate | model.AgentRemoval) -> str:
    match body:
        case model.AgentUpdate(state=state, to_version=version, detail=detail):
            return f"The school's program was to become version {version}: {state}{f', {detail}' if detail else ''}."
        case model.AgentRemoval(state="failed"):
            return "The school's program was about to be removed from the device, and is still there."
        case model.AgentRemoval(reason=reason):
            return f"The school's program is being removed from the device: {reason or 'nobody said why'}."


_RESULTS = {
    model.PostureResult.PASS: "passes",
    model.PostureResult.FAIL: "fails",
}
_FACTS = {
    "gap.opened": "A part of the device's log has not arrived.",
    "gap.closed": "The missing part of the device's log arrived, or was accounted for.",
    "chain.broken": "What the device sent does not continue what it sent before.",
    "conflict": "The device sent something else for a place in its log that was already taken.",
    "clone.seen": "The device's identity was seen in two places.",
    "frame.refused": "A part of the device's log could not be taken and was refused for good.",
    "ingest.key_missing": "Events came that are sealed to a key which the collector does not hold.",
    "proof.failing": "The device says that it cannot verify the collector's log.",
    "proof.recovered": "The device verifies the collector's log again.",
    "device.evicted": "The device dropped events for want of room; they are counted and signed.",
    "device.silent": "Nothing came from the device for longer than the school allows in school time.",
    "device.heard": "The device was heard again.",
    "device.weaker_group": "A known machine was enrolled again, into a group with weaker safeguarding rules.",
    "budget.exceeded": "The device sent more than its allowance for the day and was asked to wait.",
    "rollout.halted": "A new policy was halted on its way to devices.",
    "policy.review-overdue": "The day by which the school was to look at its whole policy again has passed.",
    "rule.disabled": "A detection rule raised an error and was taken out.",
    "notice.failing": "An e-mail to one of the console's people did not get through.",
    "event.unreadable": "Stored events could not be read.",
    "ledger.history_lost": "The collector's log ends earlier than its devices remember.",
}


def tell_fact(kind: str) -> str:
    """One sentence about a collector's fact."""
    return _FACTS.get(kind, f"The collector noted '{kind}'.")


def details_of(body: model.Body) -> tuple[tuple[str, str], ...]:
    """(label, value) pairs of what may help to look further."""
    pairs: list[tuple[str, str]] = []
    match body:
        case (
            model.ApplicationRefused(application=application)
            | model.ApplicationStarted(application=application)
        ):
            pairs += [("path", application.path), ("package", application.package)]
            pairs += [("SHA-256", application.sha256.hex())]
        case (
            model.MediumRefused(medium=medium)
            | model.MediumWriteRefused(medium=medium)
            | model.MediumMounted(medium=medium)
            | model.MediumCopy(medium=medium)
        ):
            pairs += [("serial", medium.serial), ("encryption", medium.encryption.value)]
            pairs += [("file system", medium.file_system)]
        case model.AgentTampered(detail=detail) | model.AgentKilled(detail=detail):
            pairs += [("detail", detail)]
        case model.LockFailed(detail=detail):
            pairs += [("detail", detail)]
        case model.Posture(evidence=evidence, unknown_because=because):
            pairs += [("seen", evidence), ("not known because", because)]
        case model.FilterBypass(evidence=evidence):
            pairs += [("seen", evidence)]
        case model.Evicted(reason=reason):
            pairs += [("reason", reason)]
        case _:
            pass
    rule = getattr(body, "rule", None)
    if isinstance(rule, model.RuleRef):
        pairs += [("rule", rule.rule_id), ("decision", rule.decision.value)]
        pairs += [("enforced", "yes" if rule.enforced else "no: only observed")]
    return tuple((label, value[:MAX_VALUE]) for label, value in pairs if value)


def fact_details(fields: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", " "), str(value)[:200]) for name, value in sorted(fields.items()))


def duration(milliseconds: int) -> str:
    """A length of time as a person says it."""
    seconds = milliseconds // 1000
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"


def _program(application: model.Application) -> str:
    return application.identity or application.name or application.path.rpartition("/")[2] or "A program"


def _medium(medium: model.Medium) -> str:
    product = " ".join(part for part in (medium.vendor_id, medium.product_id) if part)
    return f"A removable medium ({product})" if product else "A removable medium"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _times(count: int) -> str:
    return "" if count <= 1 else f" {count} times"


def moment(at_ms: int) -> str:
    """A moment, exact, in UTC; pages show times in the school's own zone beside it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("on %d %B %Y at %H:%M UTC")
