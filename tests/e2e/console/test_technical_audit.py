"""The technical audit and an overdue review in Chromium: signed by the log, read, taken away, seen without colours."""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schoolkeeper_collector.console import secrets
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.ledger.sequencer import Sequencer
from schoolkeeper_collector.reports.snapshots import SCHEDULE, make_snapshot
from support.browser import accessibility_faults, chromium, visitor
from support.console import PASSWORD, SECOND_FACTOR, Bench, Clock, new_bench, served
from support.school import School

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    # Its own day of review, 30 April 2017, has passed.
    made = School(tmp_path / "school", pack="westgate-primary")
    yield made
    made.close()


def enter(page: Any, bench: Bench, role: Role) -> None:
    page.goto("/sign-in")
    page.fill("input[name=login]", role.value)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button")
    page.fill("input[name=code]", secrets.code_at(SECOND_FACTOR, bench.clock.now_ms))
    page.click("main button")
    page.wait_for_url("**/")
    bench.clock.now_ms += 60_000


@pytest.mark.requirement("T-33", "W-67", "T-01")
def test_the_audit_is_read_and_taken_and_the_overdue_review_is_red(school: School, browser: Any) -> None:
    now_ms = time.time_ns() // 1_000_000
    with school.store.write() as connection:
        made = make_snapshot(connection, school.school_id, now_ms, actor=SCHEDULE, stale_days=14)
    sequencer = Sequencer(school.store, school.school_id, school.keys.ledger, "test")
    sequencer.take_office(now_ms)
    with school.store.write() as connection:
        sequencer.begin(connection)
        sequencer.finish(connection, now_ms)
    sequencer.leave_office()
    bench = new_bench(
        school.store, Clock(now_ms), state_dir=school.folder, ledger_keys=school.keys.ledger_public
    )
    with served(bench.app) as address:
        for role in (Role.HEAD, Role.CHAIR):
            with visitor(browser, address) as page:
                enter(page, bench, role)
                red = page.locator(".govuk-error-message")
                assert "by 30 April 2017" in red.inner_text()
                assert red.evaluate("e => getComputedStyle(e).color") == "rgb(202, 53, 53)"
                assert not accessibility_faults(page)
                page.goto("/notices")
                assert "overdue" in page.inner_text("main")
                assert not accessibility_faults(page)
        with visitor(browser, address, viewport={"width": 320, "height": 640}) as page:
            enter(page, bench, Role.TECHNICIAN)
            assert "The review of the policy is overdue" in page.inner_text("main")
            page.goto("/devices")
            page.click("text=Technical audits")
            assert "verified" in page.inner_text("main table .sk-tag--pass")
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
            assert not accessibility_faults(page)
            with page.expect_download() as download:
                page.click("main table a")
            assert hashlib.sha256(Path(download.value.path()).read_bytes()).digest() == made.digest
            page.goto("/collector")
            assert not accessibility_faults(page)
