"""Signing in: password, then second factor (set up at the first sign-in), then a password of one's own."""

from __future__ import annotations

import io
from http import HTTPStatus
from urllib.parse import quote

import qrcode
import qrcode.image.svg
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from schoolkeeper_collector.console import accounts, attempts, secrets, sessions
from schoolkeeper_collector.console.access import Stage
from schoolkeeper_collector.console.accounts import Account
from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.faults import Fault
from schoolkeeper_collector.console.gate import cookie_name
from schoolkeeper_collector.console.pages.rendering import LANGUAGE_COOKIE
from schoolkeeper_collector.console.security import local_path

_A_YEAR = 365 * 86_400


def sign_in(call: Call) -> Response:
    """Ask for sign-in name and password, and check them."""
    if call.request.method == "GET":
        return _sign_in_page(call)
    login, password = call.form.get("login", ""), call.form.get("password", "")
    options = call.console.options
    rows = _begin(call, attempts.for_password(login, call.address))
    with call.console.store.read() as connection:
        account = accounts.by_login(connection, options.school_id, login)
    fits = secrets.password_fits(account.password_hash if account else None, password)
    if account is None or not fits or account.disabled_ms is not None:
        return _sign_in_page(call, failed=True)
    with call.console.store.write() as connection:
        attempts.passed(connection, rows)
        token = _replace(connection, call, account, pending=True)
    where = "/sign-in/code" if account.second_factor_since_ms else "/sign-in/set-up"
    return _with_cookie(call, token, where, next_page=call.form.get("next", ""))


def code(call: Call) -> Response:
    """Ask for the second factor, and check it."""
    if call.person.second_factor_since_ms is None:
        return RedirectResponse("/sign-in/set-up", HTTPStatus.SEE_OTHER)
    if call.request.method == "GET":
        return call.console.renderer.page("code.html", call.language, call=call, failed=False)
    return _second_factor(call, "code.html")


def set_up(call: Call) -> Response:
    """Show the second factor's key until the first right code."""
    if call.person.second_factor_since_ms is not None:
        return RedirectResponse("/sign-in/code", HTTPStatus.SEE_OTHER)
    if call.request.method == "GET":
        return call.console.renderer.page(
            "set_up.html", call.language, call=call, failed=False, key=_spaced(_secret(call))
        )
    return _second_factor(call, "set_up.html")


def set_up_picture(call: Call) -> Response:
    """Draw the key for an authenticator app's camera, as SVG; only before the second factor is set up."""
    if call.person.second_factor_since_ms is not None:
        raise Fault(HTTPStatus.NOT_FOUND, "nothing-here")
    address = secrets.set_up_address(
        _secret(call), login=call.person.login, school=call.console.options.school_name
    )
    drawn = io.BytesIO()
    qrcode.make(address, image_factory=qrcode.image.svg.SvgPathImage, box_size=16, border=2).save(drawn)
    return Response(drawn.getvalue(), media_type="image/svg+xml")


def password(call: Call) -> Response:
    """Change one's own password; needed at the first sign-in, possible at any time."""
    page = call.console.renderer.page
    if call.request.method == "GET":
        return page("password.html", call.language, call=call, fault="", field="")
    old, new = call.form.get("old", ""), call.form.get("new", "")
    rows = _begin(call, attempts.for_code(call.person.account_id, call.address))
    fault, field = secrets.password_fault(new, call.person.login), "new"
    if not secrets.password_fits(call.person.password_hash, old):
        fault, field = "This is not your present password.", "old"
    elif new != call.form.get("again", ""):
        fault, field = "The two new passwords differ. Type the same one twice.", "again"
    elif new == old:
        fault, field = "This is the password that you have now. Choose another one.", "new"
    if fault:
        if field != "old":
            _passed(call, rows)
        return page(
            "password.html",
            call.language,
            status=HTTPStatus.UNPROCESSABLE_ENTITY,
            call=call,
            fault=call.say(fault),
            field=field,
        )
    with call.console.store.write() as connection:
        attempts.passed(connection, rows)
        accounts.change_password(
            connection, call.person, new, keep=secrets.token_hash(call.token), now_ms=call.now_ms
        )
    return RedirectResponse(_wanted(call), HTTPStatus.SEE_OTHER)


def sign_out(call: Call) -> Response:
    """End the session, here and on the server."""
    with call.console.store.write() as connection:
        sessions.end(connection, call.token)
    answer = RedirectResponse("/sign-in?out=1", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(
        cookie_name(call.console), path="/", secure=call.console.options.secure, httponly=True
    )
    answer.headers["clear-site-data"] = '"cache", "storage"'
    return answer


def choose_language(call: Call) -> Response:
    """Remember the visitor's language in a cookie, and go back."""
    answer = RedirectResponse(local_path(call.form.get("next", "/")), HTTPStatus.SEE_OTHER)
    if call.form.get("language") in call.console.renderer.languages:
        answer.set_cookie(
            LANGUAGE_COOKIE,
            call.form["language"],
            max_age=_A_YEAR,
            path="/",
            secure=call.console.options.secure,
            httponly=True,
            samesite="lax",
        )
    return answer


def _sign_in_page(call: Call, *, failed: bool = False) -> Response:
    query = call.request.query_params
    return call.console.renderer.page(
        "sign_in.html",
        call.language,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if failed else HTTPStatus.OK,
        call=call,
        failed=failed,
        signed_out="out" in query,
        next_page=call.form.get("next") or query.get("next", ""),
    )


def _second_factor(call: Call, template: str) -> Response:
    rows = _begin(call, attempts.for_code(call.person.account_id, call.address))
    key = call.console.options.console_key
    with call.console.store.write() as connection:
        right = accounts.use_code(
            connection, call.person, call.form.get("code", ""), console_key=key, now_ms=call.now_ms
        )
        token = _replace(connection, call, call.person, pending=False) if right else ""
        if right:
            attempts.passed(connection, rows)
    if token:
        stage = Stage.PASSWORD if call.person.must_change_password else Stage.SIGNED_IN
        return _with_cookie(call, token, "/password" if stage is Stage.PASSWORD else _wanted(call))
    shown = {"key": _spaced(_secret(call))} if template == "set_up.html" else {}
    return call.console.renderer.page(
        template, call.language, status=HTTPStatus.UNPROCESSABLE_ENTITY, call=call, failed=True, **shown
    )


def _begin(call: Call, limits: tuple[attempts.Limit, ...]) -> tuple[int, ...]:
    try:
        with call.console.store.write() as connection:
            return attempts.begin(
                connection, limits, console_key=call.console.options.console_key, now_ms=call.now_ms
            )
    except attempts.TooManyAttempts as many:
        raise Fault(HTTPStatus.TOO_MANY_REQUESTS, "too-many", retry_seconds=many.seconds) from many


def _passed(call: Call, rows: tuple[int, ...]) -> None:
    with call.console.store.write() as connection:
        attempts.passed(connection, rows)


def _replace(connection: Connection, call: Call, account: Account, *, pending: bool) -> str:
    """Start a session under a new token: one that was known before is worth nothing afterwards."""
    if call.token:
        sessions.end(connection, call.token)
    return sessions.start(connection, account, pending=pending, address=call.address, now_ms=call.now_ms)


def _secret(call: Call) -> str:
    return secrets.open_sealed(
        call.person.sealed_second_factor,
        account_id=call.person.account_id,
        console_key=call.console.options.console_key,
    )


def _spaced(secret: str) -> str:
    return " ".join(secret[place : place + 4] for place in range(0, len(secret), 4))


def _wanted(call: Call) -> str:
    return local_path(call.request.query_params.get("next", "/"))


def _with_cookie(call: Call, token: str, where: str, *, next_page: str = "") -> Response:
    if next_page and local_path(next_page) == next_page != "/":
        where += "?next=" + quote(next_page)
    answer = RedirectResponse(where, HTTPStatus.SEE_OTHER)
    # Lax, so that the link in an e-mail notice opens the item; changes are guarded by their origin.
    answer.set_cookie(
        cookie_name(call.console),
        token,
        path="/",
        secure=call.console.options.secure,
        httponly=True,
        samesite="lax",
    )
    return answer
