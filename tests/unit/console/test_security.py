"""Headers on every answer, forms only from our own pages, cookies that stay where they belong."""

import re
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from schoolkeeper_collector.console import app as console_app
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.console.call import Call
from schoolkeeper_collector.console.pages.rendering import STATIC
from schoolkeeper_collector.console.security import local_path
from support.console import OWN_PAGE, PASSWORD, Bench, new_bench, pass_password, post

TEMPLATES = Path(console_app.__file__).parent / "templates"


@pytest.mark.parametrize(
    "path", ["/sign-in", "/", "/nowhere", "/static/console.css", "/static/nothing", "/healthz"]
)
def test_every_answer_carries_the_headers(bench: Bench, path: str) -> None:
    headers = bench.client().get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    assert headers["cache-control"] == ("no-cache" if path == "/static/console.css" else "no-store")


def test_a_page_that_fails_keeps_headers_and_tells_no_detail(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(call: Call) -> None:
        raise RuntimeError(" ".join(["Row" + "an", "wrote this"]))

    monkeypatch.setitem(console_app.HANDLERS, "alive", broken)
    answer = new_app(bench).client().get("/healthz")
    assert answer.status_code == 500
    assert "content-security-policy" in answer.headers
    assert "Something went wrong on our side" in answer.text
    assert "Rowan" not in answer.text + caplog.text
    assert "RuntimeError" in caplog.text


def test_a_database_that_does_not_answer_is_said_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def busy(call: Call) -> None:
        raise OperationalError("SELECT secret", {"login": "rowan"}, Exception("database is locked"))

    monkeypatch.setitem(console_app.HANDLERS, "alive", busy)
    answer = new_app(bench).client().get("/healthz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
    assert "database is locked" in caplog.text
    assert "rowan" not in caplog.text


def new_app(bench: Bench) -> Bench:
    from schoolkeeper_collector.store import tables

    with bench.store.write() as connection:
        connection.execute(tables.accounts.delete())
    return new_bench(bench.store, bench.clock)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-origin"}, 303),
        ({"sec-fetch-site": "cross-site", "origin": "http://testserver"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"origin": "http://testserver"}, 303),
        ({"origin": "https://testserver"}, 403),
        ({"origin": "http://testserver.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_a_change_must_come_from_our_own_page(bench: Bench, headers: dict[str, str], status: int) -> None:
    answer = bench.client().post("/sign-in", data={"login": "dsl", "password": PASSWORD}, headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert "did not come from a page of the console" in answer.text
        assert "set-cookie" not in answer.headers


def test_forms_are_small_and_of_one_kind(bench: Bench) -> None:
    client = bench.client()
    assert post(client, "/sign-in", login="x" * 70_000).status_code == 413
    many = {f"field{number}": "x" for number in range(60)}
    assert post(client, "/sign-in", **many).status_code == 400
    as_json = client.post("/sign-in", json={"login": "dsl"}, headers=OWN_PAGE)
    assert as_json.status_code == 400
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert client.post("/sign-in", content=b"login=\xff", headers=OWN_PAGE | kind).status_code == 400
    assert client.post("/sign-in", content=b"login=%ff", headers=OWN_PAGE | kind).status_code == 400


def test_cookies_without_and_with_tls(bench: Bench) -> None:
    plain = pass_password(bench.client(), "dsl").headers["set-cookie"].lower()
    assert plain.startswith("schoolkeeper=")
    assert "httponly" in plain
    assert "samesite=lax" in plain
    assert "domain" not in plain
    from schoolkeeper_collector.store import tables

    with bench.store.write() as connection:
        connection.execute(tables.accounts.delete())
    secure = new_bench(bench.store, bench.clock, secure=True)
    answer = pass_password(secure.client(), "dsl")
    assert answer.headers["set-cookie"].startswith("__Host-schoolkeeper=")
    assert "; Secure" in answer.headers["set-cookie"]
    assert "Path=/" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"].startswith("max-age=")


@pytest.mark.parametrize(
    "path", ["../app.py", "%2e%2e/app.py", "..%2fapp.py", "vendor/../../app.py", "vendor"]
)
def test_static_files_stay_in_their_folder(bench: Bench, path: str) -> None:
    answer = bench.client().get(f"/static/{path}")
    assert answer.status_code == 404


def test_a_versioned_asset_is_kept_for_ever(bench: Bench) -> None:
    page = bench.client().get("/sign-in").text
    address = re.findall(r"/static/console\.css\?v=[0-9a-f]{12}", page)[0]
    assert "immutable" in bench.client().get(address).headers["cache-control"]


def test_no_template_has_inline_code_and_no_asset_names_another_host() -> None:
    for template in TEMPLATES.glob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"\son\w+=|\sstyle=|javascript:|<style|hx-on|\|\s*safe", text), template.name
        assert not re.search(r"<script(?! src=)", text), template.name
        assert not re.search(r"(src|href|action)=\"https?:", text), template.name
    styles = (STATIC / "vendor/govuk-frontend.css").read_text(encoding="utf-8")
    for word in ("@font-face", "GDS Transport", "crown", "crest", "url("):
        assert word not in styles


def test_unknown_methods_and_addresses_get_a_page_with_a_next_step(bench: Bench) -> None:
    client = bench.client()
    assert "There is no page at this address" in client.get("/nowhere").text
    answer = client.put("/sign-in", headers=OWN_PAGE)
    assert answer.status_code == 405
    assert "Start from the front page" in answer.text


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("/devices?contact=online", "/devices?contact=online"),
        ("", "/"),
        ("devices", "/"),
        ("//host", "/"),
        ("/\\host", "/"),
        ("http://host/", "/"),
        ("/a\nb", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_only_paths_of_this_console_are_followed(wanted: str, given: str) -> None:
    assert local_path(wanted) == given


def test_text_that_people_wrote_is_shown_as_text(bench: Bench) -> None:
    client = bench.signed_in(Role.DSL)
    text = "<script>alert(1)</script>"
    answer = post(client, "/incidents/new", title=text, text=text)
    assert answer.status_code == 422
    assert text not in answer.text
    assert "&lt;script&gt;" in answer.text
