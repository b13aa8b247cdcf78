"""The loopback server: one officer, one browser, plain HTTP that never leaves the machine (RFC 6761, ``localhost``).

It listens at 127.0.0.1 and, where the machine has it, at ::1 with the same port: a browser may try either for
``localhost``, and what we left free another user of this machine could take.
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from schoolkeeper_policies.officer import asking
from schoolkeeper_policies.officer.page import html
from schoolkeeper_policies.officer.page.desk import Desk, DeskError, OpenGrant
from schoolkeeper_policies.officer.page.forms import Form, FormError, read_form
from schoolkeeper_policies.officer.page.guard import COOKIE, HEADERS, Guard
from schoolkeeper_policies.officer.page.lock import ADD, REMOVE, REPLACE, LockError
from schoolkeeper_policies.officer.staged import ANSWER_SUFFIX, MAX_BYTES
from schoolkeeper_proto.codec import encode

FAULTS = (DeskError, LockError, *asking.FAULTS)
_STATIC = {"style.css": "text/css; charset=utf-8", "passkey.js": "text/javascript; charset=utf-8"}
_MAX_UPLOAD = MAX_BYTES + (1 << 16)
_MAX_FORM = 1 << 16
_SLOW_SECONDS = 30.0
_OUTSIDE = "Start `schoolkeeper-officer serve` and open the address that it prints. Each address works once."


def serve(
    key: Path, changes: tuple[Path, ...], *, port: int, idle_seconds: float, say: Callable[[str], None]
) -> None:
    """Serves until it is ended on the page, by Ctrl-C, or by nobody asking for ``idle_seconds``."""
    desk = Desk(key)
    for path in changes:
        desk.open_path(path)
    server = OfficerServer(desk, port=port, idle_seconds=idle_seconds)
    say(f"Open this address in a browser on this machine; it works once:\n\n  {server.address}\n")
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
    say("Ended.")


class OfficerServer:
    """``address`` carries the one-time token. Raises ``OSError`` where the port is taken."""

    def __init__(self, desk: Desk, *, port: int = 0, idle_seconds: float = 900.0) -> None:
        self._listening = _listen(port)
        self.guard = Guard(port=int(self._listening[0].server_address[1]))
        self._ended = threading.Event()
        desk.lock.origin = self.guard.origin
        for server in self._listening:
            server.desk, server.guard, server.ended = desk, self.guard, self._ended
        self._idle_seconds = idle_seconds

    @property
    def address(self) -> str:
        return f"{self.guard.origin}/{self.guard.token}"

    @property
    def ended(self) -> threading.Event:
        return self._ended

    def run(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()
        for server in self._listening[1:]:
            threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True).start()
        self._listening[0].serve_forever(poll_interval=0.2)

    def close(self) -> None:
        self._ended.set()
        for server in self._listening:
            server.server_close()

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._idle_seconds / 4)):
            if self.guard.idle_seconds() > self._idle_seconds:
                break
        self._ended.set()
        for server in self._listening:
            server.shutdown()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    desk: Desk
    guard: Guard
    ended: threading.Event


class _Server6(_Server):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


def _listen(port: int) -> list[_Server]:
    """Both loopback addresses with one port; another port where the second is taken and any will do."""
    for _ in range(20):
        try:
            first = _Server(("127.0.0.1", port), _Handler)
        except OSError as error:
            said = f"port {port} cannot be listened at ({error.strerror}): choose another --port"
            raise OSError(error.errno, said) from error
        try:
            return [first, _Server6(("::1", int(first.server_address[1])), _Handler)]
        except OSError as error:
            if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                return [first]  # this machine has no IPv6 loopback, so nobody else has it either
            first.server_close()
            if port:
                said = f"port {port} is taken at ::1: choose another --port"
                raise OSError(error.errno, said) from error
    raise OSError(errno.EADDRINUSE, "no port is free at both loopback addresses: end what listens there")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _SLOW_SECONDS
    server_version = "schoolkeeper-officer"
    sys_version = ""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Silent: the first line of a request holds the token."""

    def do_GET(self) -> None:
        guard = self.server.guard
        if not guard.is_our_host(self._headers()):
            return self._page(html.outside_page(_OUTSIDE), HTTPStatus.MISDIRECTED_REQUEST)
        path = self.path.partition("?")[0]
        cookie = guard.exchange(path[1:]) if len(path) > 20 and path.isascii() else None
        if cookie is not None:
            set_cookie = f"{COOKIE}={cookie}; HttpOnly; SameSite=Strict; Path={guard.path}"
            return self._send(HTTPStatus.SEE_OTHER, b"", {"Location": guard.path, "Set-Cookie": set_cookie})
        if not guard.admits(self._headers()):
            return self._page(html.outside_page(_OUTSIDE), HTTPStatus.FORBIDDEN)
        return self._get(self._inside(path))

    def do_POST(self) -> None:
        guard, headers = self.server.guard, self._headers()
        if not guard.is_our_host(headers):
            return self._page(html.outside_page(_OUTSIDE), HTTPStatus.MISDIRECTED_REQUEST)
        if not guard.admits(headers) or not guard.is_from_our_page(headers):
            return self._page(html.outside_page(_OUTSIDE), HTTPStatus.FORBIDDEN)
        try:
            form = self._form()
            return self._post(self._inside(self.path.partition("?")[0]), form)
        except FormError as error:
            return self._page(
                html.fault_page("This form was not understood", str(error)), HTTPStatus.BAD_REQUEST
            )
        except FAULTS as error:
            return self._page(html.fault_page("Refused", str(error)), HTTPStatus.CONFLICT)

    def _inside(self, path: str) -> str:
        """The page that is asked for, without the folder that only this visitor knows."""
        return (
            path.removeprefix(self.server.guard.path)
            if path.startswith(self.server.guard.path)
            else "nowhere"
        )

    def _get(self, path: str) -> None:
        desk = self.server.desk
        if kind := _STATIC.get(path):
            content = (files("schoolkeeper_policies.officer.page") / path).read_bytes()
            return self._send(HTTPStatus.OK, content, {"Content-Type": kind})
        if path == "":
            return self._page(html.front(desk))
        action, number = _change_of(path)
        try:
            if path == "key":
                return self._page(html.key_page(desk))
            if action == "change":
                return self._page(html.change_page(number, desk.change(number), desk))
            if action == "grant":
                return self._page(html.grant_page(number, desk.grant(number), desk))
            if action == "grantfile" and desk.grant(number).signed:
                return self._grant_file(desk.grant(number))
            if action == "answer" and desk.change(number).answer:
                return self._answer(number)
        except FAULTS as error:
            return self._page(html.fault_page("Not here", str(error)), HTTPStatus.NOT_FOUND)
        return self._page(html.fault_page("Not here", "There is no such page."), HTTPStatus.NOT_FOUND)

    def _post(self, path: str, form: Form) -> None:
        desk = self.server.desk
        if path == "end":
            self._page(html.outside_page("Ended. You may close this page."))
            self.server.ended.set()
            return None
        if path == "open":
            if "file" not in form.files:
                raise FormError("choose a file first")
            return self._go(desk.open_any(*form.files["file"]))
        if path in (ADD, REMOVE, REPLACE):
            return self._key(path, form)
        action, number = _change_of(path)
        if action == "signgrant":
            return self._sign_grant(number, form)
        if action != "sign":
            return self._page(html.fault_page("Not here", "There is no such page."), HTTPStatus.NOT_FOUND)
        try:
            if form.fields.get("read") != "yes":
                raise DeskError(
                    "say that you have read what the change does: tick the box above your passphrase"
                )
            desk.sign(number, form.fields)
        except FAULTS as error:
            shown = html.change_page(number, desk.change(number), desk, str(error))
            return self._page(shown, HTTPStatus.CONFLICT)
        return self._go(f"change-{number}")

    def _sign_grant(self, number: int, form: Form) -> None:
        desk = self.server.desk
        try:
            if form.fields.get("read") != "yes":
                raise DeskError(
                    "say that you have read what the grant does: tick the box above your passphrase"
                )
            desk.sign_grant(number, form.fields)
        except FAULTS as error:
            shown = html.grant_page(number, desk.grant(number), desk, str(error))
            return self._page(shown, HTTPStatus.CONFLICT)
        return self._go(f"grant-{number}")

    def _key(self, act: str, form: Form) -> None:
        """What is done to the key file itself, and the page that says so."""
        desk = self.server.desk
        try:
            if act == ADD:
                done = f"The passkey “{desk.lock.add(form.fields)}” opens this file from now on."
            elif act == REMOVE:
                done = f"The passkey “{desk.lock.remove(form.fields)}” opens this file no longer."
            else:
                desk.lock.replace_passphrase(form.fields)
                done = "The new passphrase opens this file; the old one does no longer."
        except FAULTS as error:
            return self._page(html.key_page(desk, fault=str(error)), HTTPStatus.CONFLICT)
        return self._page(html.key_page(desk, done=done))

    def _grant_file(self, found: OpenGrant) -> None:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.name)}",
        }
        self._send(HTTPStatus.OK, encode(found.review.grant), headers)

    def _answer(self, number: int) -> None:
        found = self.server.desk.change(number)
        name = f"change-{found.review.version}.{self.server.desk.head.officer}{ANSWER_SUFFIX}"
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
        }
        self._send(HTTPStatus.OK, found.answer, headers)

    def _form(self) -> Form:
        length = self.headers.get("Content-Length", "")
        kind = self.headers.get("Content-Type", "")
        most = _MAX_UPLOAD if kind.startswith("multipart/") else _MAX_FORM
        if not length.isdecimal() or int(length) > most:
            raise FormError(f"at most {most >> 10} KiB are taken here")
        return read_form(kind, self.rfile.read(int(length)))

    def _headers(self) -> dict[str, str]:
        return {name.title(): value for name, value in self.headers.items()}

    def _go(self, where: str) -> None:
        self._send(HTTPStatus.SEE_OTHER, b"", {"Location": self.server.guard.path + where})

    def _page(self, text: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(status, text.encode(), {"Content-Type": "text/html; charset=utf-8"})

    def _send(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        # One answer per connection: a body that was refused unread never becomes the next request.
        self.close_connection = True
        self.send_response(status)
        for name, value in {
            **HEADERS,
            **headers,
            "Content-Length": str(len(body)),
            "Connection": "close",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _change_of(path: str) -> tuple[str, int]:
    """``sign-3`` -> ("sign", 3)."""
    action, _, number = path.partition("-")
    return (action, int(number)) if number.isdecimal() and len(number) < 4 else ("", 0)
