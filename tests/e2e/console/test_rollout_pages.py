"""A rollout and requests in Chromium: a technician pauses by hand; nothing is lost on a narrow screen."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from schoolkeeper_collector.console import secrets
from schoolkeeper_collector.console.access import Role
from schoolkeeper_collector.rollout.running import Rollouts
from schoolkeeper_collector.store.tables import exception_requests
from schoolkeeper_proto import policy
from support.browser import accessibility_faults, chromium, visitor
from support.console import PASSWORD, SECOND_FACTOR, Bench, Clock, new_bench, served
from support.rollouts import add_device, add_events, publish_rollout
from support.school import DAY_MS, GROUP, HOUR_MS, School

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PICTURES = os.environ.get("SCHOOLKEEPER_PICTURES", "")
PILOTS = tuple(bytes([n]) * 16 for n in range(1, 4))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Three pilots with too many refusals, and five others in every state that there is."""
    school = School(tmp_path / "school", made_ms=time.time_ns() // 1_000_000 - 2 * DAY_MS)
    clock = Clock(school.now_ms())
    now, held = clock.now_ms, school.repository.current().bundles[GROUP]
    rings = (
        policy.RolloutRing(name="pilot", device_ids=PILOTS),
        policy.RolloutRing(name="10%", per_mille=100),
        policy.RolloutRing(name="all", per_mille=1000),
    )
    terms = policy.RolloutTerms(refusals_per_1000_device_days=500, in_lessons_because="a rehearsal")
    plan = publish_rollout(school, rings, terms)
    working = Rollouts(school.store, school.repository, school.school_id, school.keys.online, school.folder)
    working.step(now - DAY_MS)
    with school.store.write() as connection:
        for number, device_id in enumerate(PILOTS):
            bundle = (plan.to_bundle_hash, 2, now - 23 * HOUR_MS)
            no = add_device(
                connection, school, device_id, f"pilot-{number}", last_contact_ms=now, bundle=bundle
            )
        add_events(connection, school, no, "application.refused", 40, now - HOUR_MS)
        for number, contact in enumerate((now, now - HOUR_MS, now - 3 * DAY_MS, None)):
            bundle = (held[0], 1, school.made_ms) if contact else None
            device_id = bytes([number + 50]) * 16
            other = add_device(
                connection, school, device_id, f"laptop-{number}", last_contact_ms=contact, bundle=bundle
            )
        connection.execute(
            insert(exception_requests).values(
                school_id=school.school_id, request_id=b"r" * 16, device_no=other, asked_ms=now - HOUR_MS,
                received_ms=now, rule_id="no.such.rule", reason="lesson", wanted="Minetest", reference="R-7",
                asked_by=b"", state="waiting",
            )
        )  # fmt: skip
    for _ in range(2):  # the pilots' ring opens, then it is measured
        working._measured_ms.clear()
        working.step(now)
    yield new_bench(school.store, clock, state_dir=school.folder)
    school.close()


def enter(page: Any, bench: Bench, role: Role) -> None:
    page.goto("/sign-in")
    page.fill("input[name=login]", role.value)
    page.fill("input[name=password]", PASSWORD)
    page.click("main button")
    page.fill("input[name=code]", secrets.code_at(SECOND_FACTOR, bench.clock.now_ms))
    page.click("main button")
    page.wait_for_url("**/")
    bench.clock.now_ms += 60_000


def test_a_halted_rollout_says_why_and_a_technician_goes_on(bench: Bench, browser: Any) -> None:
    with served(bench.app) as address, visitor(browser, address) as page:
        enter(page, bench, Role.TECHNICIAN)
        page.click("nav >> text=Rollouts")
        said = page.inner_text("main")
        assert "40 refusals on 1 device; at most" in said
        assert "HALTED" in said.upper()
        assert page.locator("details[open]").count() == 1, "what was too much is not folded away"
        assert not accessibility_faults(page)
        picture(page, "rollouts")
        page.fill("input[name=reason]", "one broken shortcut")
        page.click("button[value=resume]")
        assert "one broken shortcut" in page.inner_text("main")
        page.click("nav >> text=Devices")
        picture(page, "devices")
        page.click("nav >> text=Requests")
        assert "laptop-3 was refused: Minetest" in page.inner_text("main")
        assert page.locator("main form").count() == 0, "not in force any more: for the DSL or the head"
        assert not accessibility_faults(page)
    with served(bench.app) as address, visitor(browser, address) as page:
        enter(page, bench, Role.DSL)
        page.click("nav >> text=Requests")
        picture(page, "requests-dsl")
        page.fill("input[name=because]", "for lesson 3")
        page.click("text=Approve")
        assert "grant new --kind exception" in page.inner_text("main")
        assert not accessibility_faults(page)


def test_on_a_narrow_screen_nothing_runs_out_of_the_page(bench: Bench, browser: Any) -> None:
    size = {"width": 320, "height": 640}
    with served(bench.app) as address, visitor(browser, address, viewport=size) as page:
        enter(page, bench, Role.TECHNICIAN)
        for path in ("/rollouts", "/requests"):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
            picture(page, "narrow" + path.replace("/", "-"))


def picture(page: Any, name: str) -> None:
    """For whoever wants to look: SCHOOLKEEPER_PICTURES names a folder."""
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)
