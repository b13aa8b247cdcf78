"""The one way from the network to a handler: session, stage, role, origin of a change, form; then the handler runs.

Handlers are plain functions in a thread: what they read and what they log is one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl, quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from schoolkeeper_collector.console import sessions
from schoolkeeper_collector.console.access import Right, Stage, right_of
from schoolkeeper_collector.console.call import Call, Console
from schoolkeeper_collector.console.faults import Fault
from schoolkeeper_collector.console.security import from_our_own_page
from schoolkeeper_policies.officer.page.forms import read_form

Handler = Callable[[Call], Response]

_SMALL = 64 * 1024
_MOST_FIELDS = 50
_WHERE_TO = {Stage.ANONYMOUS: "/sign-in", Stage.CODE: "/sign-in/code", Stage.PASSWORD: "/password"}


def cookie_name(console: Console) -> str:
    """Name the session's cookie; the prefix makes browsers refuse it without TLS or for another host."""
    return "__Host-schoolkeeper" if console.options.secure else "schoolkeeper"


def guarded(
    console: Console, name: str, handler: Handler, fault_page: Callable[[Request, Exception], Response]
) -> Route:
    """Serve a handler under its row of the access table; KeyError for a route without a row."""
    right = right_of(name)

    async def endpoint(request: Request) -> Response:
        try:
            form = await _form(request, right) if request.method == "POST" else {}
            return await run_in_threadpool(_answer, console, right, handler, request, form)
        except Exception as error:  # noqa: BLE001 - every failure becomes a page, with headers like any other
            return fault_page(request, error)

    return Route(right.path, endpoint, methods=list(right.methods), name=right.name)


def admit(console: Console, right: Right, request: Request, form: Mapping[str, str]) -> Call | Response:
    """Return the call for a visitor who may make it, where else to go, or raise the Fault that says why not."""
    now_ms = console.clock()
    token = request.cookies.get(cookie_name(console), "")
    with console.store.read() as connection:
        session = sessions.look_up(connection, token, now_ms) if token else None
    stage = session.stage if session else Stage.ANONYMOUS
    if request.method == "POST" and not from_our_own_page(request):
        raise Fault(HTTPStatus.FORBIDDEN, "other-page")
    if stage not in right.stages:
        return _elsewhere(right, stage, request)
    if session and right.roles and stage is not Stage.CODE and session.account.role not in right.roles:
        raise Fault(HTTPStatus.FORBIDDEN, "other-role")
    if session and not right.live and sessions.wants_touch(session, now_ms):
        with console.store.write() as connection:
            sessions.touch(connection, token, now_ms)
    return Call(
        console=console,
        request=request,
        stage=stage,
        account=session.account if session else None,
        language=console.renderer.language_of(request),
        form=form,
        token=token,
        now_ms=now_ms,
    )


def _answer(
    console: Console, right: Right, handler: Handler, request: Request, form: Mapping[str, str]
) -> Response:
    admitted = admit(console, right, request, form)
    return handler(admitted) if isinstance(admitted, Call) else admitted


def _elsewhere(right: Right, stage: Stage, request: Request) -> Response:
    if right.live:
        # A page that is still open after its session ended: it reloads itself and comes to the sign-in.
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"hx-refresh": "true"})
    where = _WHERE_TO.get(stage, "/")
    wants_page = request.method == "GET" and right.path != "/" and stage is Stage.ANONYMOUS
    next_page = "?next=" + quote(request.url.path) if wants_page and Stage.SIGNED_IN in right.stages else ""
    return RedirectResponse(where + next_page, status_code=HTTPStatus.SEE_OTHER)


async def _form(request: Request, right: Right) -> Mapping[str, str]:
    """Read a small form of text fields, the last value of each; raise Fault for anything else.

    Where the row of the access table says so, a text file is one of the fields.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > right.largest_form:
            raise Fault(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large")
    if right.takes_file and kind == "multipart/form-data":
        return _with_file(request.headers.get("content-type", ""), bytes(body), right)
    if body and kind != "application/x-www-form-urlencoded":
        raise Fault(HTTPStatus.BAD_REQUEST, "bad-request")
    try:
        fields = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise Fault(HTTPStatus.BAD_REQUEST, "bad-request") from error
    return dict(fields)


def _with_file(content_type: str, body: bytes, right: Right) -> Mapping[str, str]:
    errors = "surrogateescape" if right.largest_form > _SMALL else "strict"
    try:
        sent = read_form(content_type, body)
        return sent.fields | {name: data.decode("utf-8", errors) for name, (_, data) in sent.files.items()}
    except ValueError as error:
        raise Fault(HTTPStatus.BAD_REQUEST, "bad-request") from error
