"""A member of staff opens a lesson for a class, within what the signed policy lets the console open; it ends by itself.

The times of the form are of today, in the school's zone. Who opened what, and why, is in the access log and the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from http import HTTPStatus

from sqlalchemy import Connection, select
from starlette.responses import RedirectResponse, Response

from schoolkeeper_collector.console import accounts
from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.faults import Fault
from schoolkeeper_collector.console.pages.queue import is_item
from schoolkeeper_collector.devices.grants import GrantError, GrantLine, GrantState
from schoolkeeper_collector.devices.lessons import Lessons, Offer, live_lessons
from schoolkeeper_collector.ledger.audit import record_access
from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_collector.store.tables import access_log
from schoolkeeper_proto.trust import TrustRefused

_LEAST_MS = 60_000
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A lesson that is open, or will be. ``by``: a name, or empty where officers signed it."""

    line: GrantLine
    rules: tuple[str, ...]
    by: str
    why: str

    @property
    def running(self) -> int:
        """On how many devices, as far as they said."""
        return self.line.applied

    @property
    def open(self) -> bool:
        return self.line.state is GrantState.RUNNING


def lessons(call: Call) -> Response:
    """What is open until when, and the form."""
    if call.request.method == "GET":
        return _page(call)
    offers = _offers(call)
    offer = next((one for one in offers if one.key == call.form.get("offer", "")), None)
    why = call.form.get("why", "").strip()[:_LONGEST]
    if offer is None:
        return _page(call, call.say("Choose what to open, and for which class."), "offer")
    if not why:
        return _page(call, call.say("Say what it is for: others read it later."), "why")
    from_ms = _at(call, call.form.get("from", "")) if call.form.get("from", "").strip() else call.now_ms
    until_ms = _at(call, call.form.get("until", ""), ends=True)
    if from_ms is None or until_ms is None:
        return _page(call, call.say("Write the time like 10:45."), "until" if until_ms is None else "from")
    from_ms = max(from_ms, call.now_ms)
    if until_ms - from_ms < _LEAST_MS:
        return _page(call, call.say("It must end later than it begins, and later than now."), "until")
    if until_ms - from_ms > offer.max_minutes * _LEAST_MS:
        said = call.say("So long cannot be: the school's policy allows %(minutes)s minutes at a time.")
        return _page(call, said % {"minutes": offer.max_minutes}, "until")
    try:
        with call.console.store.write() as connection:
            opened = _desk(call).open(connection, offer, from_ms, until_ms, why, call.now_ms)
            _note(call, connection, "lesson.opened", opened.grant_id, f"{offer.group}: {why}")
    except GrantError as refused:
        return _page(call, str(refused), "offer")
    return RedirectResponse("/lessons", HTTPStatus.SEE_OTHER)


def end(call: Call) -> Response:
    """End a lesson before its time."""
    item = str(call.request.path_params["item"])
    with call.console.store.write() as connection:
        live = live_lessons(connection, call.console.options.school_id, call.now_ms)
        lesson = next((one for one in live if is_item(item) and one.grant_id.hex() == item), None)
        if lesson is None or not _can_sign(call):
            raise Fault(HTTPStatus.NOT_FOUND, "nothing-here")
        try:
            _desk(call).end(connection, lesson, call.now_ms)
        except GrantError as refused:
            return _page(call, str(refused), "open")
        _note(call, connection, "lesson.ended", lesson.grant_id, "")
    return RedirectResponse("/lessons", HTTPStatus.SEE_OTHER)


def _page(call: Call, fault: str = "", field: str = "") -> Response:
    offers = _offers(call)
    return call.console.renderer.page(
        "lessons.html",
        call.language,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK,
        call=call,
        offers=offers,
        live=_live(call, offers),
        form=call.form,
        fault=fault,
        field=field,
    )


def _can_sign(call: Call) -> bool:
    return call.console.options.state_dir is not None and call.console.options.lesson_signer is not None


def _desk(call: Call) -> Lessons:
    options = call.console.options
    assert options.state_dir is not None
    assert options.lesson_signer is not None
    return Lessons(
        repository=Repository(options.state_dir), school_id=options.school_id, signer=options.lesson_signer
    )


def _offers(call: Call) -> tuple[Offer, ...]:
    """None where nothing is published or it cannot be read: then nothing can be opened."""
    if not _can_sign(call):
        return ()
    try:
        return _desk(call).offers()
    except (NotPublished, RepositoryError, TrustRefused, OSError):
        return ()


def _live(call: Call, offers: tuple[Offer, ...]) -> tuple[Shown, ...]:
    texts: Mapping[str, str] = {rule.rule_id: rule.description for one in offers for rule in one.rules}
    school_id = call.console.options.school_id
    with call.console.store.read() as connection:
        lines = live_lessons(connection, school_id, call.now_ms)
        names = accounts.names(connection, school_id)
        query = select(access_log.c.object_id, access_log.c.account_id, access_log.c.reason).where(
            access_log.c.school_id == school_id,
            access_log.c.object_type == "lesson",
            access_log.c.object_id.in_([line.grant_id for line in lines]),
            access_log.c.action == "lesson.opened",
        )
        opened = {bytes(row.object_id): row for row in connection.execute(query)}
    return tuple(
        Shown(
            line=line,
            rules=tuple(texts.get(rule_id, rule_id) for rule_id in line.statement.rule_ids),
            by=names.get(opened[line.grant_id].account_id, "") if line.grant_id in opened else "",
            why=str(opened[line.grant_id].reason).partition(": ")[2] if line.grant_id in opened else "",
        )
        for line in lines
    )


def _at(call: Call, text: str, *, ends: bool = False) -> int | None:
    """A time of today, in the school's zone; None for one that cannot be read. What ends at 00:00 ends with today."""
    try:
        clock = time.fromisoformat(text.strip().zfill(5))
    except ValueError:
        return None
    zone = call.console.options.zone
    today = datetime.fromtimestamp(call.now_ms / 1000, zone).date()
    if ends and clock == time.min:
        today += timedelta(days=1)
    return round(datetime.combine(today, clock.replace(tzinfo=None), tzinfo=zone).timestamp() * 1000)


def _note(call: Call, connection: Connection, action: str, grant_id: bytes, reason: str) -> None:
    record_access(
        connection,
        school_id=call.console.options.school_id,
        account_id=call.person.account_id,
        action=action,
        object_type="lesson",
        object_id=grant_id,
        reason=reason,
        now_ms=call.now_ms,
    )
