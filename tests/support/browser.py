"""The operating system's Chromium, driven by playwright: refused code and errors of a page fail the test."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyotp
import pytest

OWN_PASSWORD = "three random words"
CHROMIUM = Path("/usr/bin/chromium")
AXE = Path(__file__).resolve().parents[1] / "data/axe/axe.min.js"
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# WCAG 2.2 A and AA, and what axe calls best practice.
_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; the test is skipped, with the reason, where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: make test installs it"
    )
    if not CHROMIUM.exists():
        pytest.skip("there is no /usr/bin/chromium: make lab installs it")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visitor(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """A page with cookies of its own. At the end it fails for every complaint of the browser."""
    context = browser.new_context(base_url=address, **options)
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((address, "data:")) else complaints.append(f"asked {request.url}")
        ),
    )
    try:
        yield page
        # A page that answers 404 or 422 on purpose is no complaint; refused code, styles and scripts are.
        bad = [text for text in complaints if "Failed to load resource" not in text]
        assert not bad, bad
    finally:
        context.close()


def accessibility_faults(page: Any) -> list[str]:
    """What axe finds on the page as it stands, one line per fault."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("tags => axe.run(document, {runOnly: tags})", list(_TAGS))
    return [
        f"{page.url}: {fault['id']} ({fault['impact']}): {fault['help']}: {fault['nodes'][0]['html'][:160]}"
        for fault in found["violations"]
    ]


def first_sign_in(page: Any, login: str, password: str) -> None:
    """As a person does it once: password, second factor from the page, a password of one's own."""
    page.goto("/sign-in")
    page.fill("#login", login)
    page.fill("#password", password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-in/set-up*")
    key = page.inner_text(".sk-key").replace(" ", "")
    page.fill("#code", pyotp.TOTP(key).now())
    page.keyboard.press("Enter")
    page.wait_for_url("**/password*")
    page.fill("#old", password)
    page.fill("#new", OWN_PASSWORD)
    page.fill("#again", OWN_PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Sign out")
