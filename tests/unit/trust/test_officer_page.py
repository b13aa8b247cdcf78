"""The officer's loopback page over real HTTP: who is let in, what is refused, what is signed."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest

from schoolkeeper_collector.school import staging
from schoolkeeper_policies.officer import keyfile, memory
from schoolkeeper_policies.officer.page.desk import Desk
from schoolkeeper_policies.officer.page.forms import FormError, read_form
from schoolkeeper_policies.officer.page.serve import OfficerServer
from schoolkeeper_policies.officer.staged import pack, read_folder
from schoolkeeper_proto import trust
from support.officers import pack_with, stage_pack
from support.school import School, wall_ms

PASSPHRASE = "four quiet words here"
FORM = "application/x-www-form-urlencoded"


@dataclass
class Browser:
    """What a browser sends, header by header."""

    server: OfficerServer
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return self.server.guard.path

    def ask(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.guard.port, timeout=60)
        sent = {"Cookie": self.cookie, "Host": self.server.guard.host} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        try:
            connection.request(method, path, body or None, {k: v for k, v in sent.items() if v})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            connection.close()

    def enter(self) -> None:
        status, headers, _ = self.ask("GET", f"/{self.server.guard.token}")
        assert status == 303
        self.cookie = headers["Set-Cookie"].split(";")[0]

    def post(self, page: str, fields: dict[str, str], **headers: str) -> tuple[int, dict[str, str], str]:
        origin = {"Origin": f"http://{self.server.guard.host}", "Content_Type": FORM}
        return self.ask("POST", self.base + page, urlencode(fields).encode(), **(origin | headers))


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    folder = tmp_path_factory.mktemp("school")
    made = School(folder / "collector")
    stage_pack(made, pack_with(folder, "enforce"))
    yield made
    made.close()


@pytest.fixture
def key(school: School, tmp_path: Path) -> Path:
    path = tmp_path / "dsl.key"
    keyfile.save_keys(path, school.officer("dsl"), PASSPHRASE)
    return path


@pytest.fixture
def browser(school: School, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    monkeypatch.setenv(memory.HOME_VARIABLE, str(tmp_path / "home"))
    desk = Desk(key)
    desk.open_bytes("one.skchange", pack(read_folder(school.folder / "trust" / "staged")))
    server = OfficerServer(desk, idle_seconds=60)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield Browser(server)
    server.close()


def test_the_token_works_once_and_nothing_works_without(browser: Browser) -> None:
    token = browser.server.guard.token
    assert browser.ask("GET", "/")[0] == 403
    assert browser.ask("GET", f"/{token[:-1]}x")[0] == 403
    browser.enter()
    assert browser.ask("GET", browser.base)[0] == 200
    assert Browser(browser.server).ask("GET", f"/{token}")[0] == 403, "a second visitor with the same address"
    assert Browser(browser.server).ask("GET", browser.base)[0] == 403
    assert Browser(browser.server, cookie="schoolkeeper-officer=x").ask("GET", browser.base)[0] == 403


def test_another_host_name_is_refused_before_anything_else(browser: Browser) -> None:
    """DNS rebinding: a page of another site whose name suddenly means 127.0.0.1."""
    browser.enter()
    for host in (
        "evil.example",
        "localhost",
        "127.0.0.1",
        f"127.0.0.1:{browser.server.guard.port}",
        f"localhost:{browser.server.guard.port}.evil.example",
    ):
        assert browser.ask("GET", browser.base, Host=host)[0] == 421
    assert browser.ask("GET", f"/{browser.server.guard.token}", Host="evil.example")[0] == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_another_page_cannot_make_it_sign(browser: Browser, school: School, headers: dict[str, str]) -> None:
    browser.enter()
    fields = {"read": "yes", "passphrase": PASSPHRASE}
    assert browser.post("sign-0", fields, **headers)[0] == 403
    assert browser.ask("GET", browser.base + "answer-0")[0] == 404


def test_headers_leave_nothing_open(browser: Browser) -> None:
    browser.enter()
    _, headers, text = browser.ask("GET", browser.base + "change-0")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
    assert "script-src 'self';" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert text.count("<script") == 1
    assert '<script src="passkey.js" defer></script>' in text
    assert browser.ask("GET", browser.base + "passkey.js")[1]["Content-Type"].startswith("text/javascript")


def test_it_shows_the_rule_and_signs_after_the_passphrase(browser: Browser, school: School) -> None:
    browser.enter()
    assert "tests.minefield" in browser.ask("GET", browser.base + "change-0")[2]
    status, _, text = browser.post("sign-0", {"passphrase": PASSPHRASE})
    assert (status, "tick the box" in text) == (409, True)
    status, _, text = browser.post("sign-0", {"read": "yes", "passphrase": "not the right words"})
    assert (status, "wrong passphrase" in text) == (409, True)
    status, headers, _ = browser.post("sign-0", {"read": "yes", "passphrase": PASSPHRASE})
    assert (status, headers["Location"]) == (303, browser.base + "change-0")
    status, headers, answer = browser.ask("GET", browser.base + "answer-0")
    assert status == 200
    assert "dsl.sksigned" in headers["Content-Disposition"]
    seen = staging.take_signatures(school.folder, answer.encode(), "the answer", wall_ms())
    assert seen.signed_by == {"dsl"}


def test_after_five_wrong_passphrases_it_signs_nothing_more(browser: Browser) -> None:
    browser.enter()
    for _ in range(5):
        browser.post("sign-0", {"read": "yes", "passphrase": "wrong wrong wrong"})
    status, _, text = browser.post("sign-0", {"read": "yes", "passphrase": PASSPHRASE})
    assert (status, "too many wrong" in text) == (409, True)


def test_an_uploaded_file_is_verified_from_the_pin(browser: Browser, school: School, tmp_path: Path) -> None:
    browser.enter()
    other = School(tmp_path / "other", school_id="westgate.example")
    stage_pack(other, pack_with(tmp_path, "enforce"))
    for data, said in (
        (pack(read_folder(other.folder / "trust" / "staged")), "not the one that the token pins"),
        (b"no zip", "is not a staged change (.skchange)"),
    ):
        body = (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="<x>.skchange"\r\n'
            b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n--b--\r\n"
        )
        status, _, text = browser.ask(
            "POST",
            browser.base + "open",
            body,
            Origin=f"http://{browser.server.guard.host}",
            Content_Type="multipart/form-data; boundary=b",
        )
        assert (status, said in text) == (409, True), text
        assert "<x>" not in text
    other.close()


def test_it_ends_when_it_is_left_alone(key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory.HOME_VARIABLE, str(tmp_path / "home"))
    server = OfficerServer(Desk(key), idle_seconds=0.5)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    server.close()


def test_it_ends_from_the_page(browser: Browser) -> None:
    browser.enter()
    assert "Ended" in browser.post("end", {})[2]
    assert browser.server.ended.wait(60)


def test_the_key_page_refuses_with_words_and_leaves_the_file_as_it_was(browser: Browser, key: Path) -> None:
    browser.enter()
    before = key.read_bytes()
    assert "Add a passkey" in browser.ask("GET", browser.base + "key")[2]
    for act, fields, said in (
        ("addpasskey", {"label": "blue", "passphrase": PASSPHRASE}, "this needs JavaScript"),
        (
            "addpasskey",
            {"label": "blue", "passphrase": PASSPHRASE, "passkey": "<b>"},
            "no passkey&#x27;s answer",
        ),
        ("removepasskey", {"way": "<b>", "passphrase": PASSPHRASE}, "has no passkey"),
        ("newpassphrase", {"new": PASSPHRASE, "again": PASSPHRASE}, "this needs JavaScript"),
        ("sign-0", {"read": "yes", "passkey": "{}"}, "no passkey&#x27;s answer"),
    ):
        status, _, text = browser.post(act, fields)
        assert (status, said in text, "<b>" in text) == (409, True, False), text
        assert browser.post(act, fields, Origin="http://localhost:1")[0] == 403
    assert key.read_bytes() == before


def test_both_loopback_addresses_are_taken_so_that_nobody_else_answers_for_localhost(
    browser: Browser,
) -> None:
    browser.enter()
    address = ("::1", browser.server.guard.port)
    try:
        connection = socket.create_connection(address, timeout=60)
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    with connection:
        asked = f"GET {browser.base} HTTP/1.1\r\nHost: {browser.server.guard.host}\r\nCookie: {browser.cookie}\r\n\r\n"
        connection.sendall(asked.encode())
        assert connection.makefile("rb").readline() == b"HTTP/1.0 200 OK\r\n"


def test_a_port_that_is_taken_at_one_of_them_is_named_with_the_remedy(key: Path) -> None:
    family = socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET
    with socket.socket(family) as taken:
        try:
            taken.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        except OSError as error:
            pytest.skip(f"this machine has no IPv6 loopback: {error}")
        taken.listen()
        with pytest.raises(OSError, match="choose another --port"):
            OfficerServer(Desk(key), port=taken.getsockname()[1])


@pytest.mark.parametrize("kind", ["text/plain", "", "multipart/form-data", "application/json"])
def test_a_form_of_another_kind_is_refused(kind: str) -> None:
    with pytest.raises(FormError):
        read_form(kind, b"read=yes")


def test_an_older_school_is_refused_once_a_newer_one_was_seen(
    school: School, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(memory.HOME_VARIABLE, str(tmp_path / "home"))
    head = keyfile.read_head(key)
    memory.save(
        memory.home(),
        head.key_id,
        memory.Memory(root_sha256=head.root_sha256, school_id=school.school_id, targets_version=7),
    )
    with pytest.raises(trust.TrustRefused, match="saw version 7 in force before"):
        Desk(key).open_path(school.folder / "trust" / "staged")
