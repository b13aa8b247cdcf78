"""The console's application: routes under the access table, headers, static files, fault pages."""

from __future__ import annotations

import logging
import mimetypes
import time
import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from schoolkeeper_collector.console.access import RIGHTS
from schoolkeeper_collector.console.call import Call, Console, Options
from schoolkeeper_collector.console.faults import BY_STATUS, Fault
from schoolkeeper_collector.console.gate import Handler, guarded
from schoolkeeper_collector.console.pages import (
    accounts_seen,
    agreements,
    applications,
    changes,
    devices,
    held,
    inventory,
    items,
    lessons,
    notices,
    policy_coverage,
    queue,
    rehearsal,
    report,
    requests,
    rollouts,
    seen,
    sign_in,
    snapshots,
)
from schoolkeeper_collector.console.pages.rendering import STATIC, Renderer
from schoolkeeper_collector.console.security import SecurityHeaders
from schoolkeeper_collector.devices.inventory import STALE_DAYS
from schoolkeeper_collector.incidents.cases import Cases
from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.tables import schools
from schoolkeeper_proto.statements import Signer

LOG = logging.getLogger("schoolkeeper.console")
_FOR_EVER = "public, max-age=31536000, immutable"


class NoSchool(Exception):
    """The database holds no school yet."""


def create_app(
    options: Options, store: Store, cases: Cases, *, clock: Callable[[], int] | None = None
) -> Starlette:
    """Build the application; every route of the access table must have its handler here, and no other is served."""
    console = Console(
        options=options,
        store=store,
        cases=cases,
        renderer=Renderer(zone=options.zone),
        clock=clock or _now_ms,
    )
    if set(HANDLERS) != {right.name for right in RIGHTS}:
        raise AssertionError("the access table and the handlers of the console differ")

    def fault(request: Request, error: Exception) -> Response:
        return _fault_page(console, request, error)

    routes = [guarded(console, right.name, HANDLERS[right.name], fault) for right in RIGHTS]

    return Starlette(
        routes=routes,
        middleware=[Middleware(SecurityHeaders, secure=options.secure)],
        exception_handlers={HTTPException: fault},
    )


def options_of(
    store: Store,
    *,
    console_key: bytes,
    secure: bool,
    fixes: Mapping[str, str],
    state_dir: Path | None = None,
    inventory_stale_days: int = STALE_DAYS,
    snapshot_months: int = 1,
    ledger_keys: tuple[bytes, ...] = (),
    lesson_signer: Signer | None = None,
) -> Options:
    """Read the school's name and time zone; raises NoSchool."""
    with store.read() as connection:
        row = connection.execute(select(schools)).first()
    if row is None:
        raise NoSchool("the database holds no school yet; run: schoolkeeper-collector init")
    return Options(
        school_id=row.school_id,
        school_name=row.name,
        zone=ZoneInfo(row.time_zone),
        console_key=console_key,
        secure=secure,
        fixes=fixes,
        state_dir=state_dir,
        inventory_stale_days=inventory_stale_days,
        snapshot_months=snapshot_months,
        ledger_keys=ledger_keys,
        lesson_signer=lesson_signer,
    )


def _alive(call: Call) -> Response:
    """Say that the console runs and reads its database."""
    with call.console.store.read() as connection:
        connection.execute(select(schools.c.school_id)).first()
    return JSONResponse({"status": "ok"})


def _static(call: Call) -> Response:
    wanted = (STATIC / call.request.path_params["path"]).resolve()
    if not wanted.is_relative_to(STATIC) or not wanted.is_file():
        raise Fault(HTTPStatus.NOT_FOUND, "nothing-here")
    kept = _FOR_EVER if "v" in call.request.query_params else "no-cache"
    kind = mimetypes.guess_type(wanted.name)[0] or "application/octet-stream"
    return FileResponse(wanted, media_type=kind, headers={"cache-control": kept})


def _fault_page(console: Console, request: Request, error: Exception) -> Response:
    match error:
        case Fault():
            fault = error
        case HTTPException():
            status = HTTPStatus(error.status_code)
            fault = Fault(status, BY_STATUS.get(status, "our-fault"))
        case OperationalError():
            # Never the statement's values: they may name a person.
            LOG.error("console: the database did not answer: %s", error.orig)
            fault = Fault(HTTPStatus.SERVICE_UNAVAILABLE, "busy", retry_seconds=10)
        case _:
            frames = "".join(traceback.format_tb(error.__traceback__))
            LOG.error("console: a page failed with %s\n%s", type(error).__name__, frames)
            fault = Fault(HTTPStatus.INTERNAL_SERVER_ERROR, "our-fault")
    language = console.renderer.language_of(request)
    page = console.renderer.page("fault.html", language, status=fault.status, fault=fault, call=None)
    if fault.retry_seconds:
        page.headers["retry-after"] = str(fault.retry_seconds)
    return page


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


HANDLERS: dict[str, Handler] = {
    "alive": _alive,
    "static": _static,
    "language": sign_in.choose_language,
    "sign-in": sign_in.sign_in,
    "code": sign_in.code,
    "enrol": sign_in.set_up,
    "enrol-qr": sign_in.set_up_picture,
    "password": sign_in.password,
    "sign-out": sign_in.sign_out,
    "front": queue.front,
    "queue": queue.queue,
    "reach": queue.reach_line,
    "live": queue.live,
    "rollouts": rollouts.rollouts,
    "rollout-act": rollouts.act,
    "report": report.report,
    "lessons": lessons.lessons,
    "lesson-end": lessons.end,
    "requests": requests.requests,
    "request-decide": requests.decide,
    "alert": items.alert,
    "verdict": items.verdict,
    "undo": items.undo,
    "alert-note": items.alert_note,
    "proof": items.proof,
    "incidents": items.incidents,
    "raise": items.raise_by_hand,
    "seen": seen.seen,
    "raised": items.recorded,
    "incident": items.incident,
    "incident-note": items.incident_note,
    "incident-close": items.close_incident,
    "incident-reopen": items.reopen_incident,
    "devices": devices.fleet,
    "device": devices.device,
    "held": held.held,
    "held-sheet": held.sheet,
    "applications": applications.applications,
    "accounts": accounts_seen.accounts,
    "health": devices.health,
    "snapshots": snapshots.snapshots,
    "snapshot": snapshots.download,
    "inventory": inventory.inventory,
    "platforms": policy_coverage.platforms,
    "platform-files": policy_coverage.files,
    "agreements": agreements.agreements,
    "notices": notices.notices,
    "notice": notices.notice,
    "changes": changes.changes,
    "rehearsal": rehearsal.rehearsal,
    "change-file": changes.change_file,
    "school-file": changes.school_file,
    "change-signatures": changes.add_signatures,
}
