"""A member of staff reports something to the DSL: a protective record for whoever writes it (W-44).

Whom it is about is chosen before anything is written, and decides who reads it: the DSL; the head, for a colleague; the
chair, for the head. Afterwards whoever wrote it sees a number, and whether somebody opened it; nothing of what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from sqlalchemy import select
from starlette.responses import RedirectResponse, Response

from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.incidents.cases import CaseFileError
from schoolkeeper_collector.incidents.model import Audience, SubjectKind, Viewer
from schoolkeeper_collector.incidents.routing import readers
from schoolkeeper_collector.ledger.audit import record_access
from schoolkeeper_collector.store.tables import access_log, incidents
from schoolkeeper_proto.model import Severity

_SHOWN: Final = 50
_LONGEST_WHEN: Final = 200
KINDS: Final = ("contact", "conduct", "other")
"""Categories of an incident: they got in touch, how somebody behaved, something else."""


class About(StrEnum):
    """Whom it is about; the first choice of the form."""

    PUPIL = "pupil"
    PARENT = "parent"
    COLLEAGUE = "colleague"
    HEAD = "head"
    OTHER = "other"


_SUBJECT: Final = {
    About.PUPIL: SubjectKind.PUPIL,
    About.PARENT: SubjectKind.UNKNOWN_PERSON,
    About.COLLEAGUE: SubjectKind.STAFF,
    About.HEAD: SubjectKind.STAFF,
    About.OTHER: SubjectKind.UNKNOWN_PERSON,
}
_NAMED: Final = {
    About.PUPIL: "a pupil",
    About.PARENT: "a parent or carer",
    About.COLLEAGUE: "a colleague",
    About.HEAD: "the head",
    About.OTHER: "somebody else, or something",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """All that the writer sees afterwards; ``sent_ms`` in Unix milliseconds."""

    number: int
    sent_ms: int
    read: bool


def report(call: Call) -> Response:
    """The form, and the writer's own receipts."""
    if call.request.method == "GET":
        return _page(call)
    about = next((one for one in About if one.value == call.form.get("about", "")), None)
    kind, when, text = (call.form.get(name, "").strip() for name in ("kind", "when", "text"))
    if about is None:
        return _page(call, call.say("Choose whom it is about: that decides who reads it."), "about")
    if about is About.HEAD and not _chair(call):
        said = call.say(
            "Nothing was sent: the chair of governors has no account here, and the head shall not read it."
            " Go to the chair of governors, or to the local authority's designated officer (LADO)."
        )
        return _page(call, said, "about")
    if kind not in KINDS:
        return _page(call, call.say("Choose what kind of thing it is."), "kind")
    if not when:
        return _page(call, call.say("Say when it happened, as well as you know."), "when")
    if not text:
        return _page(call, call.say("Say what happened."), "text")
    try:
        number = _send(call, about, kind, when[:_LONGEST_WHEN], text)
    except CaseFileError as error:
        return _page(call, str(error), "text")
    return RedirectResponse(f"/report?number={number}", HTTPStatus.SEE_OTHER)


def _send(call: Call, about: About, kind: str, when: str, text: str) -> int:
    """The receipt's number, which is the incident's."""
    school_id, account_id = call.console.options.school_id, call.person.account_id
    raised = call.console.cases.raise_by_hand(
        Viewer(school_id=school_id, account_id=account_id, audience=Audience.DSL),
        title=f"Reported by a member of staff: about {_NAMED[about]}",
        category=kind,
        severity=Severity.MEDIUM,
        text=f"Reported by a member of staff on the console. About {_NAMED[about]}. When: {when}\n\n{text}",
        subject_kind=_SUBJECT[about],
        audience=Audience.CHAIR if about is About.HEAD else None,
        now_ms=call.now_ms,
    )
    _note(call, "incident.reported", raised.incident_id)
    return raised.number


def _chair(call: Call) -> bool:
    with call.console.store.read() as connection:
        return bool(readers(connection, call.console.options.school_id, Audience.CHAIR))


def _receipts(call: Call) -> tuple[Receipt, ...]:
    """The latest first. Read: somebody opened it since."""
    school_id = call.console.options.school_id
    with call.console.store.read() as connection:
        rows = connection.execute(
            select(incidents.c.incident_id, incidents.c.number, incidents.c.raised_ms)
            .where(incidents.c.school_id == school_id, incidents.c.raised_by == call.person.account_id)
            .order_by(incidents.c.number.desc())
            .limit(_SHOWN)
        ).all()
        opened = connection.execute(
            select(access_log.c.object_id).where(
                access_log.c.school_id == school_id,
                access_log.c.action == "incident.read",
                access_log.c.object_id.in_([bytes(row.incident_id) for row in rows]),
            )
        ).scalars()
        read = {bytes(object_id) for object_id in opened}
    return tuple(
        Receipt(number=row.number, sent_ms=row.raised_ms, read=bytes(row.incident_id) in read) for row in rows
    )


def _note(call: Call, action: str, incident_id: bytes) -> None:
    with call.console.store.write() as connection:
        record_access(
            connection,
            school_id=call.console.options.school_id,
            account_id=call.person.account_id,
            action=action,
            object_type="incident",
            object_id=incident_id,
            reason="",
            now_ms=call.now_ms,
        )


def _page(call: Call, fault: str = "", field: str = "") -> Response:
    receipts = _receipts(call)
    given = call.request.query_params.get("number", "")
    return call.console.renderer.page(
        "report.html",
        call.language,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK,
        call=call,
        abouts=tuple(About),
        kinds=KINDS,
        receipts=receipts,
        sent=next((one for one in receipts if str(one.number) == given), None),
        fault=fault,
        field=field,
    )
