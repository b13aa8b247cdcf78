"""The school's tables into rules (T-53, T-54): each row and audience becomes allow, timed, nominated, block or raise.

| the row says | programs and sites of its categories |
|---|---|
| acceptable | allow |
| at-certain-times | block outside the times and places of ``when`` (the same hours in holidays) |
| at-certain-times with ``permission`` and no ``when`` | block, and staff set the times by opening a lesson |
| nominated-users | block, except for the groups ``nominated`` |
| with-staff-permission | block, and a lesson may be opened (a bound of the section ``grants``) |
| unacceptable | block |
| unacceptable-and-illegal | block-and-raise |

A row that names no category and no rule is one that no device can see: people report it, and it becomes a manual type
of incident for the console.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from schoolkeeper_policies import model
from schoolkeeper_policies.applies import in_periods
from schoolkeeper_policies.categories import called
from schoolkeeper_policies.model import Answer
from schoolkeeper_proto.model import DecisionKind, Place, Severity
from schoolkeeper_proto.wording import clock

_DAY_MINUTES = 1_440
_SEVERITY = {Answer.UNACCEPTABLE_AND_ILLEGAL: Severity.HIGH, Answer.UNACCEPTABLE: Severity.LOW}
_WORDS = {
    Answer.ACCEPTABLE: "is acceptable",
    Answer.AT_CERTAIN_TIMES: "is acceptable at certain times",
    Answer.NOMINATED_USERS: "is acceptable for nominated users",
    Answer.WITH_STAFF_PERMISSION: "is acceptable with the permission of staff",
    Answer.UNACCEPTABLE: "is not acceptable",
    Answer.UNACCEPTABLE_AND_ILLEGAL: "is not acceptable and against the law",
}
_RESOLUTION = {
    Answer.ACCEPTABLE: "You can use it.",
    Answer.AT_CERTAIN_TIMES: "It works again at the times that the school has set.",
    Answer.NOMINATED_USERS: "If you need it for your work here, ask to be nominated.",
    Answer.WITH_STAFF_PERMISSION: "Ask a member of staff to open it for your lesson.",
    Answer.UNACCEPTABLE: "If you need it for school, talk to a member of staff.",
    Answer.UNACCEPTABLE_AND_ILLEGAL: "If something worries you, talk to an adult you trust, or use 'Tell someone'.",
}
_OTHER_PLACE = {Place.ON_SITE: Place.OFF_SITE, Place.OFF_SITE: Place.ON_SITE}


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentType:
    """What no device can see: a person reports it. ``id`` is row and audience; ``rows`` what it stands for."""

    id: str
    row: str
    matrix: str
    audience: str
    activity: str
    answer: Answer
    severity: Severity
    category: str = ""
    statute: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Everything that the matrices of a pack become, in their order."""

    applications: tuple[model.ApplicationRule, ...]
    sites: tuple[model.SiteRule, ...]
    grants: tuple[model.GrantBound, ...]
    incidents: tuple[IncidentType, ...]


def expand(pack: model.Pack) -> Made:
    """The rules, bounds and types of incident that the pack's matrices stand for. Pure."""
    held = {category.name: category for category in pack.categories}
    applications: list[model.ApplicationRule] = []
    sites: list[model.SiteRule] = []
    grants: list[model.GrantBound] = []
    incidents: list[IncidentType] = []
    for matrix in pack.matrices:
        for row in matrix.rows:
            for audience, answer in row.answers.items():
                if not (row.applications or row.sites or row.rules):
                    incidents += _incident(matrix, row, audience, answer)
                    continue
                decision = decision_of(answer)
                made: list[str] = []
                for rule in _rules(matrix, row, audience, answer, pack.school):
                    matches = tuple(
                        model.Match(category=name) for name in row.applications if held[name].applications
                    )
                    if matches:
                        identity = called(held[row.applications[0]], pack.notice.language)
                        more = {"match": matches, "identity": identity, "decision": decision}
                        applications.append(model.ApplicationRule.model_validate({**dict(rule), **more}))
                    if matches or row.sites:
                        made.append(rule.id)
                    if row.sites:
                        more_sites = {"categories": row.sites, "decision": decision}
                        sites.append(model.SiteRule.model_validate({**dict(rule), **more_sites}))
                grants += _bound(row, answer, tuple(made) or row.rules)
    return Made(
        applications=tuple(applications), sites=tuple(sites), grants=tuple(grants), incidents=tuple(incidents)
    )


def manual_incident_types(pack: model.Pack) -> tuple[IncidentType, ...]:
    """For the console: what people must be able to report because no device sees it."""
    return expand(pack).incidents


def rule_id(matrix: model.Matrix, row: model.Row, audience: str) -> str:
    """'user-actions.t-u18.everybody'; what stands after it tells the parts of one answer apart."""
    return f"{matrix.id}.{row.id.lower()}.{audience.replace('+', '-up')}"


def decision_of(answer: Answer) -> DecisionKind:
    match answer:
        case Answer.ACCEPTABLE:
            return DecisionKind.ALLOW
        case Answer.UNACCEPTABLE_AND_ILLEGAL:
            return DecisionKind.BLOCK_AND_RAISE
        case _:
            return DecisionKind.BLOCK


def _rules(
    matrix: model.Matrix, row: model.Row, audience: str, answer: Answer, school: model.School
) -> Iterator[model.Rule]:
    """What each rule that one answer becomes says of itself: one, or two where place and time both open it."""
    base = model.Rule(
        id=rule_id(matrix, row, audience),
        description=f"{row.activity}: {_WORDS[answer]}{_for(audience)}.",
        why=row.why or f"The school's table '{matrix.title}' says so.",
        resolution=row.resolution or _RESOLUTION[answer],
        source=(row.id, *matrix.source),
        mode=row.mode or matrix.mode,
        severity=_severity(row, answer),
        safeguarding=row.safeguarding,
        audience=(audience,),
    )
    if answer is Answer.NOMINATED_USERS and row.nominated:
        nominated = model.RuleException(
            id="nominated",
            people=row.nominated,
            reason="The table nominates them.",
            approved_by="the school's policy",
        )
        yield base.model_copy(update={"exceptions": (nominated,)})
    elif answer is Answer.AT_CERTAIN_TIMES and row.when is not None:
        yield from _outside(base, row.when, school)
    else:
        yield base


def _outside(base: model.Rule, when: model.When, school: model.School) -> Iterator[model.Rule]:
    """Not (time and place) is: other times, or another place."""
    if windows := _other_times(_windows(when, school)):
        yield base.model_copy(update={"when": model.When(times=windows)})
    others = {_OTHER_PLACE[place] for place in when.places if place in _OTHER_PLACE} - set(when.places)
    if others:
        when = model.When(places=tuple(sorted(others)))
        yield base.model_copy(update={"id": f"{base.id}.elsewhere", "when": when})


def _windows(when: model.When, school: model.School) -> list[model.Hours]:
    hours = [*when.times, *(school.hours if when.school_hours else ())]
    return [*hours, *(period for period in school.timetable if in_periods(period, when.periods))]


def _other_times(windows: list[model.Hours]) -> tuple[model.Hours, ...]:
    """Every minute of the week that is in none of the windows; days with the same hours stand together."""
    if not windows:
        return ()
    gaps: dict[tuple[int, int], list[model.Weekday]] = {}
    for day in model.WEEKDAYS:
        taken = sorted((model.minute_of(w.from_), model.minute_of(w.to)) for w in windows if day in w.days)
        at = 0
        for start, end in (*taken, (_DAY_MINUTES, _DAY_MINUTES)):
            if start > at:
                gaps.setdefault((at, start), []).append(day)
            at = max(at, end)
    return tuple(
        model.Hours.model_validate({"days": tuple(days), "from": clock(start), "to": clock(end)})
        for (start, end), days in sorted(gaps.items())
    )


def _bound(row: model.Row, answer: Answer, rules: tuple[str, ...]) -> Iterator[model.GrantBound]:
    """A lesson opens the rules made of the answer; where none is made, those that carry the row out."""
    timed = answer is Answer.AT_CERTAIN_TIMES and row.permission is not None
    if answer is Answer.WITH_STAFF_PERMISSION or timed:
        given = row.permission or model.Permission()
        yield model.GrantBound(kind="lesson", rules=rules, max_minutes=given.max_minutes, duties=given.duties)


def _incident(matrix: model.Matrix, row: model.Row, audience: str, answer: Answer) -> Iterator[IncidentType]:
    if answer is not Answer.ACCEPTABLE:
        yield IncidentType(
            id=f"{row.id}.{audience}",
            row=row.id,
            matrix=matrix.id,
            audience=audience,
            activity=row.activity,
            answer=answer,
            severity=_severity(row, answer),
            category=row.incident_category or "",
            statute=row.statute,
        )


def _severity(row: model.Row, answer: Answer) -> Severity:
    return row.severity or _SEVERITY.get(answer, Severity.INFORMATIONAL)


def _for(audience: str) -> str:
    return "" if audience == model.EVERYBODY else f" for {audience}"
