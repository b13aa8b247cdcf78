"""Record something that was seen: a line of the school's tables that no device can check, such as a personal phone."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from sqlalchemy import select
from starlette.responses import RedirectResponse, Response

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.pages.items import after_raising
from schoolkeeper_collector.console.seen import FAULTS, kind_of
from schoolkeeper_collector.incidents.cases import CaseFileError
from schoolkeeper_collector.incidents.model import SubjectKind
from schoolkeeper_collector.store.tables import people
from schoolkeeper_policies.matrices import IncidentType
from schoolkeeper_policies.model import Answer
from schoolkeeper_proto.model import Severity

ABOUT: Final = (SubjectKind.PUPIL, SubjectKind.STAFF, SubjectKind.GUEST)


def seen(call: Call) -> Response:
    """The form, and what it raises. Everybody may write one; who may not read it is told its number."""
    try:
        types = call.console.manual_types.current(call.console.options.state_dir)
    except FAULTS as error:
        return _page(call, {}, fault=str(error))
    if call.request.method == "GET":
        return _page(call, types)
    chosen = types.get(call.form.get("type", ""))
    if chosen is None:
        return _page(call, types, fault=call.say("Choose what was seen."), field="type")
    words, account = call.form.get("text", "").strip(), call.form.get("account", "").strip()
    if not words:
        return _page(call, types, fault=call.say("Say what was seen, when and where."), field="text")
    about = next((kind for kind in ABOUT if kind.value == call.form.get("about", "")), None)
    person = _person(call, account) if account else None
    if account and person is None:
        said = call.say("The register knows no such account. Correct it, or leave it empty.")
        return _page(call, types, fault=said, field="account")
    staff = SubjectKind.STAFF in (about, kind_of(chosen))
    if person is not None and staff and person[1] != SubjectKind.STAFF:
        said = call.say(
            "The register does not know this account as one of staff. Correct the one or the other."
        )
        return _page(call, types, fault=said, field="account")
    try:
        raised = call.console.cases.raise_by_hand(
            call.viewer,
            title=chosen.activity,
            category=chosen.category or "conduct",
            severity=chosen.severity if chosen.severity is not Severity.INFORMATIONAL else Severity.LOW,
            text=f"{_source(chosen)}\n\n{words}",
            subject_pseudonym=person[0] if person is not None else None,
            subject_kind=SubjectKind.STAFF if staff else about or kind_of(chosen),
            now_ms=call.now_ms,
        )
    except CaseFileError as error:
        return _page(call, types, fault=str(error), field="text")
    return RedirectResponse(after_raising(call, raised), HTTPStatus.SEE_OTHER)


def _source(seen: IncidentType) -> str:
    """What the school's table says, in its own words: it stays right when the table changes."""
    says = {
        Answer.AT_CERTAIN_TIMES: "acceptable at certain times",
        Answer.NOMINATED_USERS: "acceptable for nominated users",
        Answer.WITH_STAFF_PERMISSION: "acceptable with the permission of staff",
        Answer.UNACCEPTABLE: "not acceptable",
        Answer.UNACCEPTABLE_AND_ILLEGAL: "not acceptable and against the law",
    }
    law = f" ({seen.statute})" if seen.statute else ""
    answer = says.get(seen.answer, seen.answer.value)
    return f"By hand. {seen.row} of the school's table: '{seen.activity}', {seen.audience}: {answer}{law}."


def _person(call: Call, account: str) -> tuple[bytes, str] | None:
    """Pseudonym and kind of an account of the register."""
    query = select(people.c.pseudonym, people.c.kind).where(
        people.c.school_id == call.console.options.school_id, people.c.account_name == account
    )
    with call.console.store.read() as connection:
        found = connection.execute(query).first()
    return (bytes(found.pseudonym), found.kind) if found is not None else None


def _page(call: Call, types: Mapping[str, IncidentType], *, fault: str = "", field: str = "") -> Response:
    return call.console.renderer.page(
        "seen.html",
        call.language,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK,
        call=call,
        types=tuple(types.values()),
        about=ABOUT,
        fault=fault,
        field=field,
    )
