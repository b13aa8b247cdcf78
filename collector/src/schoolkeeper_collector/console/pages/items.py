"""One alert, one incident: from headline to work. The case file logs each read in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from sqlalchemy import select
from starlette.responses import RedirectResponse, Response

from schoolkeeper_collector.console import accounts
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.faults import Fault
from schoolkeeper_collector.console.pages.queue import is_item
from schoolkeeper_collector.console.pages.report_read import tell_writers
from schoolkeeper_collector.incidents.cases import CaseFileError, NoSuchItem
from schoolkeeper_collector.incidents.model import (
    PERSONS_VERDICTS,
    WITH_ACTIONS,
    AlertDetail,
    IncidentDetail,
    IncidentSummary,
    ObjectType,
    Outcome,
    Verdict,
)
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.holding import RELEASING
from schoolkeeper_proto.checkpoint import origin_of, verifier_key
from schoolkeeper_proto.model import Severity

CATEGORIES = ("content", "contact", "conduct", "commerce", "bullying", "device", "other")
_SEVERITIES = (Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)
_LISTED = 100
_LOOKS = 20
_DIGITS = 18
"""Of an event's number at most: it fits the column."""


def alert(call: Call) -> Response:
    """Everything known about one alert, and the verdict form."""
    detail = _alert(call)
    tell_writers(call, detail)
    return _alert_page(call, detail)


def verdict(call: Call) -> Response:
    """Give a verdict, and go back to the queue, where it can be undone for ten seconds."""
    chosen = next((v for v in PERSONS_VERDICTS if v.value == call.form.get("verdict", "")), None)
    if chosen is None:
        return _alert_page(call, _alert(call), fault=call.say("Choose a verdict."), field="verdict")
    try:
        call.console.cases.give_verdict(
            call.viewer, _item(call), chosen, note=call.form.get("reason", "").strip(), now_ms=call.now_ms
        )
    except NoSuchItem as missing:
        raise _gone() from missing
    except CaseFileError as error:
        return _alert_page(call, _alert(call), fault=str(error), field="reason")
    item = call.request.path_params["item"]
    return RedirectResponse(f"/?given={item}&verdict={chosen.value}", HTTPStatus.SEE_OTHER)


def undo(call: Call) -> Response:
    """Take back a verdict just given."""
    try:
        call.console.cases.undo_verdict(call.viewer, _item(call), now_ms=call.now_ms)
    except NoSuchItem as missing:
        raise _gone() from missing
    except CaseFileError as error:
        return _alert_page(call, _alert(call), fault=str(error), field="verdict")
    return _back_to(call, "alerts")


def alert_note(call: Call) -> Response:
    """Add a note to an alert."""
    try:
        _add_note(call, ObjectType.ALERT)
    except CaseFileError as error:
        return _alert_page(call, _alert(call), fault=str(error), field="note")
    return _back_to(call, "alerts")


def proof(call: Call) -> Response:
    """The file that ``schoolkeeper-verify`` reads, for one event that an alert rests on."""
    number = str(call.request.path_params["event"])
    if not number.isascii() or not number.isdecimal() or len(number) > _DIGITS:
        raise _gone()
    try:
        text = call.console.cases.event_proof(call.viewer, _item(call), int(number), now_ms=call.now_ms)
    except NoSuchItem as missing:
        raise _gone() from missing
    except CaseFileError as error:
        return _alert_page(call, _alert(call), fault=str(error), field="known")
    headers = {"content-disposition": f'attachment; filename="proof-{number}.json"'}
    return Response(text, media_type="application/json", headers=headers)


def incidents(call: Call) -> Response:
    """The incident log as far as it is the viewer's, latest first."""
    listed = call.console.cases.incidents(call.viewer, state=None, limit=_LISTED + 1, now_ms=call.now_ms)
    return call.console.renderer.page(
        "incidents.html", call.language, call=call, incidents=listed[:_LISTED], more=len(listed) > _LISTED
    )


def incident(call: Call) -> Response:
    """One incident: what it came from, and its case file."""
    detail = _incident(call)
    if detail.alert is not None:
        tell_writers(call, detail.alert)
    return _incident_page(call, detail)


def incident_note(call: Call) -> Response:
    """Add a note to an incident."""
    try:
        _add_note(call, ObjectType.INCIDENT)
    except CaseFileError as error:
        return _incident_page(call, _incident(call), fault=str(error), field="note")
    return _back_to(call, "incidents")


def close_incident(call: Call) -> Response:
    """Close an incident: how it came out, what was done, and why. The page then says so, and offers to open it."""
    outcome = next((one for one in Outcome if one.value == call.form.get("outcome", "")), None)
    actions, reason = call.form.get("actions", "").strip(), call.form.get("reason", "").strip()
    refused = field = ""
    if outcome is None:
        refused, field = call.say("Choose how it came out."), "outcome"
    elif outcome in WITH_ACTIONS and not actions:
        refused, field = call.say("Say what was done: it is part of this outcome."), "actions"
    elif not reason:
        refused, field = call.say("Say why it can be closed, in plain words."), "reason"
    if outcome is None or refused:
        return _incident_page(call, _incident(call), fault=refused, field=field)
    try:
        call.console.cases.close_incident(
            call.viewer, _item(call), outcome, actions=actions, reason=reason, now_ms=call.now_ms
        )
    except NoSuchItem as missing:
        raise _gone() from missing
    except CaseFileError as error:
        return _incident_page(call, _incident(call), fault=str(error), field="reason")
    return _back_to(call, "incidents")


def reopen_incident(call: Call) -> Response:
    """Open a closed incident again, with a reason. It may wait for another role from then on."""
    reason = call.form.get("again", "").strip()
    if not reason:
        said = call.say("Say why it is opened again.")
        return _incident_page(call, _incident(call), fault=said, field="again")
    try:
        own = call.console.cases.reopen_incident(call.viewer, _item(call), reason=reason, now_ms=call.now_ms)
    except NoSuchItem as missing:
        raise _gone() from missing
    except CaseFileError as error:
        return _incident_page(call, _incident(call), fault=str(error), field="again")
    return _back_to(call, "incidents") if own else RedirectResponse("/incidents", HTTPStatus.SEE_OTHER)


def raise_by_hand(call: Call) -> Response:
    """Write an incident that no rule found. A technician writes it too, and reads none of it (W-19)."""
    if call.request.method == "GET":
        return _raise_page(call)
    severity = next((s for s in _SEVERITIES if s.value == call.form.get("severity", "")), None)
    if severity is None or call.form.get("category") not in CATEGORIES:
        return _raise_page(call, fault=call.say("Choose a category and how serious it is."), field="category")
    title, text = call.form.get("title", "").strip(), call.form.get("text", "").strip()
    if not title or not text:
        return _raise_page(call, fault=call.say("Give it a headline, and say what happened."), field="title")
    try:
        raised = call.console.cases.raise_by_hand(
            call.viewer,
            title=title,
            category=call.form["category"],
            severity=severity,
            text=text,
            now_ms=call.now_ms,
        )
    except CaseFileError as error:
        return _raise_page(call, fault=str(error), field="text")
    return RedirectResponse(after_raising(call, raised), HTTPStatus.SEE_OTHER)


def recorded(call: Call) -> Response:
    """Thank whoever wrote an incident that they may not read, and name its number."""
    number = call.request.query_params.get("number", "")
    return call.console.renderer.page(
        "recorded.html", call.language, call=call, number=number if number.isdecimal() else ""
    )


def after_raising(call: Call, raised: IncidentSummary) -> str:
    """The incident's page, or thanks and its number for who may not read it."""
    own = raised.audience is call.viewer.audience and call.person.role is not Role.TECHNICIAN
    return f"/incidents/{raised.incident_id.hex()}" if own else f"/incidents/recorded?number={raised.number}"


def _item(call: Call) -> bytes:
    text = str(call.request.path_params["item"])
    if not is_item(text):
        raise _gone()
    return bytes.fromhex(text)


def _gone() -> Fault:
    return Fault(HTTPStatus.NOT_FOUND, "no-item")


def _alert(call: Call) -> AlertDetail:
    try:
        return call.console.cases.alert(call.viewer, _item(call), now_ms=call.now_ms)
    except NoSuchItem as missing:
        raise _gone() from missing


def _incident(call: Call) -> IncidentDetail:
    try:
        return call.console.cases.incident(call.viewer, _item(call), now_ms=call.now_ms)
    except NoSuchItem as missing:
        raise _gone() from missing


def _add_note(call: Call, object_type: ObjectType) -> None:
    try:
        call.console.cases.add_note(
            call.viewer, object_type, _item(call), call.form.get("note", "").strip(), now_ms=call.now_ms
        )
    except NoSuchItem as missing:
        raise _gone() from missing


def _back_to(call: Call, part: str) -> Response:
    return RedirectResponse(f"/{part}/{call.request.path_params['item']}", HTTPStatus.SEE_OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Somebody opened an item; ``at_ms`` in Unix milliseconds."""

    account_id: str
    at_ms: int


def _names_and_looks(
    call: Call, object_type: ObjectType, object_id: bytes
) -> tuple[dict[str, str], list[Look]]:
    """What to call each account, and who opened an item, the latest first: monitors are monitored too (T-09)."""
    log = tables.access_log
    school_id = call.console.options.school_id
    with call.console.store.read() as connection:
        rows = connection.execute(
            select(log.c.account_id, log.c.at_ms)
            .where(
                log.c.school_id == school_id,
                log.c.object_type == object_type.value,
                log.c.object_id == object_id,
            )
            .order_by(log.c.access_no.desc())
            .limit(_LOOKS)
        )
        looks = [Look(account_id=row.account_id, at_ms=row.at_ms) for row in rows]
        return accounts.names(connection, school_id), looks


def _ledger_key(call: Call) -> str:
    """In the form that ``schoolkeeper-verify`` takes; empty where the console runs without it."""
    keys = call.console.options.ledger_keys
    return verifier_key(origin_of(call.console.options.school_id, 1), keys[0]) if keys else ""


def _alert_page(call: Call, detail: AlertDetail, *, fault: str = "", field: str = "") -> Response:
    names, looks = _names_and_looks(call, ObjectType.ALERT, detail.summary.alert_id)
    return call.console.renderer.page(
        "alert.html",
        call.language,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK,
        call=call,
        alert=detail,
        names=names,
        looks=looks,
        ledger_key=_ledger_key(call),
        verdicts=PERSONS_VERDICTS,
        raised=Verdict.RAISE,
        fault=fault,
        field=field,
    )


def _incident_page(call: Call, detail: IncidentDetail, *, fault: str = "", field: str = "") -> Response:
    names, looks = _names_and_looks(call, ObjectType.INCIDENT, detail.summary.incident_id)
    return call.console.renderer.page(
        "incident.html",
        call.language,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK,
        call=call,
        incident=detail,
        names=names,
        looks=looks,
        ledger_key=_ledger_key(call),
        form=call.form,
        outcomes=tuple(Outcome),
        releasing=RELEASING,
        fault=fault,
        field=field,
    )


def _raise_page(call: Call, *, fault: str = "", field: str = "") -> Response:
    return call.console.renderer.page(
        "raise.html",
        call.language,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK,
        call=call,
        categories=CATEGORIES,
        severities=_SEVERITIES,
        fault=fault,
        field=field,
    )
