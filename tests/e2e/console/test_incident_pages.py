"""An incident is closed and opened again in Chromium: by keyboard, without JavaScript, in both languages."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schoolkeeper_collector.console import secrets
from schoolkeeper_collector.console.access import Role
from support.alerts import HEAD_SELF, add_alert, add_person
from support.browser import accessibility_faults, chromium, visitor
from support.console import PASSWORD, SECOND_FACTOR, Bench, Clock, new_bench, new_store, served

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PICTURES = os.environ.get("SCHOOLKEEPER_PICTURES", "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An alert about a pupil, and one about the only head, which nobody may read."""
    store = new_store(tmp_path)
    made = new_bench(store, Clock())
    head = made.accounts[Role.HEAD].account.account_id
    with store.write() as connection:
        add_person(connection, HEAD_SELF, "staff", "A. Head", head)
        add_alert(connection, "Tor Browser was refused", at_ms=made.clock() - 60_000)
        add_alert(
            connection,
            "A stick was refused",
            at_ms=made.clock(),
            subject=HEAD_SELF,
            kind="staff",
            audience="head",
        )
        connection.exec_driver_sql("UPDATE accounts SET disabled_ms = 1 WHERE role = 'chair'")
    yield made
    store.close()


@pytest.fixture
def address(bench: Bench) -> Iterator[str]:
    with served(bench.app) as started:
        yield started


def enter(page: Any, bench: Bench, role: Role) -> None:
    bench.clock.now_ms += 30_000
    page.goto("/sign-in")
    page.fill("input[name=login]", role.value)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button")
    page.fill("input[name=code]", secrets.code_at(SECOND_FACTOR, bench.clock.now_ms))
    page.click("main button")
    page.wait_for_url(lambda url: "/sign-in" not in url)


def faults_at_both_widths(page: Any, name: str) -> list[str]:
    found = []
    for width in (1280, 320):
        page.set_viewport_size({"width": width, "height": 800})
        found += accessibility_faults(page)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} px wide on a screen of {width}"
        if PICTURES:
            page.screenshot(path=f"{PICTURES}/{name}-{width}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 800})
    return found


def test_an_incident_is_closed_and_opened_again_by_keyboard(browser: Any, bench: Bench, address: str) -> None:
    faults: list[str] = []
    with visitor(browser, address) as page:
        enter(page, bench, Role.DSL)
        assert "There is an item that nobody may read." in page.inner_text("main")
        assert "A. Head" not in page.content()
        faults += faults_at_both_widths(page, "unread")
        page.click("text=Tor Browser was refused")
        page.check("input[value=raised]")
        page.click("text=Give the verdict")
        page.goto("/incidents")
        page.locator("[data-open]").first.click()
        page.wait_for_selector("#close-head")
        faults += faults_at_both_widths(page, "open")

        page.locator("#outcome").focus()
        for _ in range(3):
            page.keyboard.press("ArrowDown")
        page.locator("#reason").focus()
        page.keyboard.type("The family knows.")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector(".govuk-error-summary")
        assert page.evaluate("document.activeElement.className") == "govuk-error-summary"
        assert "Say what was done" in page.inner_text(".govuk-error-summary")
        assert page.is_checked("input[value=internal]"), "what was chosen and written stays"
        assert page.input_value("#reason") == "The family knows."
        faults += faults_at_both_widths(page, "fault")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "actions"
        page.keyboard.type("A talk on Tuesday.")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("#again-head")
        said = page.inner_text("main")
        assert "Dealt with in school" in said
        assert "What was done: A talk on Tuesday." in said
        assert "it was closed, and is kept until" in said
        faults += faults_at_both_widths(page, "closed")
        page.fill("#again", "Something more came out.")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("#close-head")
        assert "Something more came out." in page.inner_text("main")
    assert faults == [], "\n".join(faults)


def test_without_javascript_and_in_welsh(browser: Any, bench: Bench, address: str) -> None:
    with visitor(browser, address, java_script_enabled=False, locale="cy") as page:
        enter(page, bench, Role.DSL)
        page.click("text=Tor Browser was refused")
        page.check("input[value=raised]")
        page.click("button.sk-last")
        page.goto("/incidents")
        page.click("[data-open]")
        assert page.inner_text("#close-head") == "Cau’r digwyddiad"
        page.check("input[value=no-concern]")
        page.fill("#reason", "Popeth yn iawn.")
        page.click("form[action$='/close'] button")
        assert page.inner_text("#again-head") == "Ei agor eto"
        assert "Dim pryder" in page.inner_text("main")
        page.fill("#again", "Mwy.")
        page.click("form[action$='/reopen'] button")
        assert page.inner_text("#close-head") == "Cau’r digwyddiad"
