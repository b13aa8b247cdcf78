"""The page of applications in Chromium: reached by its link, accessible with every state in it, also when narrow."""

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from schoolkeeper_collector.console import secrets
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.school.pack_in_force import put_in_force
from schoolkeeper_collector.store.tables import applications_seen
from support.browser import accessibility_faults, chromium, visitor
from support.console import PASSWORD, SCHOOL, SECOND_FACTOR, Clock, new_bench, new_store, served
from support.language import pack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
REGISTER = """
assessments:
  - {application: gimp, assessed_by: head, assessed_on: 2026-01-05, outcome: allowed, review: 2099-01-05}
  - {application: old, assessed_by: head, assessed_on: 2020-01-05, outcome: refused, review: 2021-01-05}
  - {site: chat.example, assessed_by: head, assessed_on: 2026-01-05, outcome: refused, review: 2099-01-05}
"""


@pytest.mark.requirement("W-55")
def test_the_list_of_applications_is_accessible_and_fits_a_small_screen(tmp_path: Path) -> None:
    store, now = new_store(tmp_path), time.time_ns() // 1_000_000
    put_in_force(tmp_path, pack(tmp_path, REGISTER))
    with store.write() as connection:
        for name in ("gimp", "old", "n" * 200):
            row: dict[str, Any] = {"school_id": SCHOOL, "identity": name, "first_ms": now, "last_ms": now}
            connection.execute(insert(applications_seen).values(row))
    bench = new_bench(store, Clock(now), state_dir=tmp_path)
    with chromium() as browser, served(bench.app) as address, visitor(browser, address) as page:
        page.goto("/sign-in")
        page.fill("input[name=login]", Role.TECHNICIAN.value)
        page.fill("input[name=password]", PASSWORD)
        page.click("main button")
        page.fill("input[name=code]", secrets.code_at(SECOND_FACTOR, bench.clock.now_ms))
        page.click("main button")
        page.wait_for_url("**/")
        page.click("nav >> text=Applications")
        assert "Unassessed: 1. Review overdue: 1. Assessed: 1." in page.inner_text("main")
        for width in (1280, 320):
            page.set_viewport_size({"width": width, "height": 800})
            assert not accessibility_faults(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    store.close()
