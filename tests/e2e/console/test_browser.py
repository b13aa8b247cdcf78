"""The console as a person meets it, in Chromium."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from schoolkeeper_collector.console import secrets
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from support.alerts import HEAD_SELF, STAFF, add_alert, add_person
from support.browser import accessibility_faults, chromium, visitor
from support.console import PASSWORD, SECOND_FACTOR, Bench, Clock, new_bench, new_store, served

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


class RealClock(Clock):
    """The true time and, on request, more: a code of the second factor works once."""

    ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = new_store(tmp_path)
    bench = new_bench(store, RealClock())
    with store.write() as connection:
        add_person(connection, STAFF, "staff", "J. Doe")
        now = bench.clock()
        add_alert(connection, "Tor Browser was refused", at_ms=now - 60_000)
        add_alert(
            connection,
            "A USB stick was refused",
            at_ms=now - 90_000,
            severity="medium",
            rule_id="media.refused",
        )
        add_alert(
            connection, "A screen did not lock", at_ms=now - 95_000, severity="low", rule_id="screen.open"
        )
        add_alert(
            connection, "Files were copied", at_ms=now - 70_000, subject=STAFF, kind="staff", audience="head"
        )
        add_alert(
            connection,
            "A medium was refused",
            at_ms=now - 75_000,
            subject=HEAD_SELF,
            kind="staff",
            audience="chair",
        )
        add_alert(
            connection,
            "A laptop is silent",
            at_ms=now,
            kind="device",
            audience="technician",
            severity="low",
            rule_id="device.silent",
        )
    yield bench
    store.close()


@pytest.fixture
def address(bench: Bench) -> Iterator[str]:
    with served(bench.app) as started:
        yield started


def sign_in(page: Any, bench: Bench, role: Role) -> None:
    """By keyboard alone."""
    bench.clock.ahead_ms += 30_000  # type: ignore[attr-defined]
    page.goto("/")
    page.keyboard.press("Tab")
    page.locator("#login").focus()
    page.keyboard.type(role.value)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-in/code*")
    page.locator("#code").focus()
    page.keyboard.type(secrets.code_at(SECOND_FACTOR, bench.clock()))
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/sign-in" not in url)


def verdict_of(store: Store, title: str) -> str:
    with store.read() as connection:
        found = connection.execute(
            select(tables.alerts.c.verdict).where(tables.alerts.c.title == title)
        ).scalar_one()
    return str(found)


PAGES = {
    Role.DSL: ("/", "ITEM", "/incidents", "/incidents/new", "/password", "/devices", "/nowhere"),
    Role.HEAD: ("/", "ITEM", "/incidents"),
    Role.CHAIR: ("/", "ITEM", "/incidents"),
    Role.STAFF: ("/lessons", "/report", "/notices", "/password"),
    Role.TECHNICIAN: ("/", "ITEM", "/devices", "/collector", "/incidents/new", "/incidents/recorded"),
}


@pytest.mark.parametrize("role", list(Role))
def test_every_page_is_accessible_and_fits_a_small_screen(
    browser: Any, bench: Bench, address: str, role: Role
) -> None:
    faults: list[str] = []
    with visitor(browser, address) as page:
        page.goto("/sign-in")
        faults += accessibility_faults(page)
        sign_in(page, bench, role)
        for path in PAGES[role]:
            page.goto("/" if path == "ITEM" else path)
            if path == "ITEM":
                page.locator("[data-open]").first.click()
                page.wait_for_selector("#known")
            for width in (1280, 320):
                page.set_viewport_size({"width": width, "height": 800})
                faults += accessibility_faults(page)
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{path} is {wide} px wide on a screen of {width}"
    assert not faults, "\n".join(faults)


def test_setting_up_and_failing_are_accessible_too(browser: Any, bench: Bench, address: str) -> None:
    from support.console import add_account

    add_account(bench.store, "deputy", Role.DSL, bench.clock())
    with visitor(browser, address) as page:
        page.goto("/sign-in")
        page.fill("#login", "deputy")
        page.fill("#password", "wrong horse")
        page.keyboard.press("Enter")
        page.wait_for_selector(".govuk-error-summary")
        assert page.evaluate("document.activeElement.className") == "govuk-error-summary"
        faults = accessibility_faults(page)
        page.fill("#password", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/sign-in/set-up*")
        assert page.evaluate("document.querySelector('.sk-qr').naturalWidth") > 0, "the picture was drawn"
        faults += accessibility_faults(page)
        page.fill("#code", secrets.code_at(SECOND_FACTOR, bench.clock()))
        page.keyboard.press("Enter")
        page.wait_for_url("**/password")
        faults += accessibility_faults(page)
    assert not faults, "\n".join(faults)


def test_the_dsl_deals_with_an_alert_by_keyboard_alone(browser: Any, bench: Bench, address: str) -> None:
    with visitor(browser, address) as page:
        sign_in(page, bench, Role.DSL)
        page.keyboard.press("j")
        assert page.evaluate("document.activeElement.textContent") == "Tor Browser was refused"
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.keyboard.press("Enter")
        page.wait_for_selector("#known")
        page.keyboard.press("?")
        assert page.is_visible("#keys")
        page.keyboard.press("Escape")
        assert not page.is_visible("#keys")
        page.keyboard.press("n")
        page.keyboard.press("Enter")
        page.wait_for_selector("#given")
        assert verdict_of(bench.store, "Tor Browser was refused") == "no-concern"
        page.keyboard.press("u")
        page.wait_for_selector("#known")
        assert verdict_of(bench.store, "Tor Browser was refused") == ""
        page.keyboard.press("r")
        page.keyboard.press("Tab")
        page.keyboard.type("Seen twice today; r and n typed here are words.")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("#given")
        assert verdict_of(bench.store, "Tor Browser was refused") == "raised"
        page.wait_for_selector("text=Incident 1")


def test_single_keys_can_be_switched_off(browser: Any, bench: Bench, address: str) -> None:
    with visitor(browser, address) as page:
        sign_in(page, bench, Role.DSL)
        page.keyboard.press("?")
        page.uncheck("#keys-on")
        page.reload()
        page.keyboard.press("j")
        assert page.evaluate("document.activeElement.tagName") == "BODY"


def test_a_new_alert_appears_without_reload(browser: Any, bench: Bench, address: str) -> None:
    with visitor(browser, address) as page:
        sign_in(page, bench, Role.DSL)
        page.wait_for_selector("text=This page updates by itself.")
        page.evaluate("window.same = true")
        with bench.store.write() as connection:
            add_alert(
                connection,
                "Somebody asks for help",
                at_ms=bench.clock(),
                severity="critical",
                rule_id="report.urgent",
            )
        # Half a second when the machine is idle, as the bench measures.
        page.wait_for_selector("text=Somebody asks for help", timeout=60_000)
        assert page.evaluate("window.same"), "the page was not reloaded"
        assert page.title().startswith("(2)")


def test_a_live_change_moves_nothing_under_the_pointer_or_the_focus(
    browser: Any, bench: Bench, address: str
) -> None:
    with visitor(browser, address) as page:
        sign_in(page, bench, Role.DSL)
        page.wait_for_selector("text=This page updates by itself.")
        target = page.locator("text=A USB stick was refused")
        target.hover()
        before = target.bounding_box()
        with bench.store.write() as connection:
            add_alert(
                connection,
                "Somebody asks for help",
                at_ms=bench.clock(),
                severity="critical",
                rule_id="report.urgent",
            )
        page.wait_for_selector("[data-live-news]:visible")
        assert target.bounding_box() == before
        assert not page.is_visible("text=Somebody asks for help")
        page.click("[data-live-show]")
        page.wait_for_selector("text=Somebody asks for help")


def test_the_main_task_works_without_javascript(browser: Any, bench: Bench, address: str) -> None:
    with visitor(browser, address, java_script_enabled=False) as page:
        sign_in(page, bench, Role.DSL)
        page.click("text=Tor Browser was refused")
        page.check("input[value=watch]")
        page.fill("#reason", "Look again on Friday.")
        page.click("text=Give the verdict")
        page.wait_for_selector("#given")
        assert verdict_of(bench.store, "Tor Browser was refused") == "watch"
        page.click("text=Undo (within 10 seconds)")
        assert verdict_of(bench.store, "Tor Browser was refused") == ""
        page.click("text=Load again") if page.is_visible("text=Load again") else page.goto("/")
        page.click("text=Sign out")
        page.wait_for_selector("text=You have signed out")


def test_a_draft_survives_a_reload(browser: Any, bench: Bench, address: str) -> None:
    with visitor(browser, address) as page:
        sign_in(page, bench, Role.DSL)
        page.click("text=Tor Browser was refused")
        page.fill("#note", "Half a thought")
        page.reload()
        assert page.input_value("#note") == "Half a thought"


def test_print_shows_exact_times_and_no_controls(browser: Any, bench: Bench, address: str) -> None:
    with visitor(browser, address) as page:
        sign_in(page, bench, Role.DSL)
        page.click("text=Tor Browser was refused")
        page.emulate_media(media="print")
        assert not page.is_visible("text=Give the verdict")
        assert not page.is_visible("nav")
        exact = page.evaluate("getComputedStyle(document.querySelector('time'), '::after').content")
        assert "20" in exact, "the year stands in the exact time"


def test_inline_code_would_be_refused_and_noticed(browser: Any, bench: Bench, address: str) -> None:
    with pytest.raises(AssertionError, match="Content Security Policy"):
        try_inline_code(browser, address)


def try_inline_code(browser: Any, address: str) -> None:
    with visitor(browser, address) as page:
        page.goto("/sign-in")
        page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.broken = 1';"
            " document.body.append(s); }"
        )
        assert page.evaluate("window.broken") is None
