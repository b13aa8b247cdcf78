"""Platforms, notices and other systems' devices in Chromium: read, imported, printed, on narrow screens, too."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schoolkeeper_collector.console import secrets
from schoolkeeper_collector.console.access import Role
from support.browser import accessibility_faults, chromium, visitor
from support.console import PASSWORD, SECOND_FACTOR, Bench, Clock, new_bench, served
from support.school import GROUP, School

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PICTURES = os.environ.get("SCHOOLKEEPER_PICTURES", "")
HEADER = "Device ID,Device name,Last check-in,OS version,Serial number,Compliance,Encrypted,OS\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    school = School(tmp_path / "school", pack="westgate-primary")
    yield new_bench(school.store, Clock(time.time_ns() // 1_000_000), state_dir=school.folder)
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


def exported(folder: Path, *rows: str) -> str:
    file = folder / "devices.csv"
    file.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return str(file)


@pytest.mark.parametrize("javascript", [True, False], ids=["javascript", "no-javascript"])
def test_a_technician_imports_what_intune_tells(
    bench: Bench, browser: Any, tmp_path: Path, javascript: bool
) -> None:
    rows = (
        "a1,DESK-1,2026-11-20 14:00:00,10.0.22631,PF1,Compliant,True,Windows",
        "a2,iPad 7,2026-10-01 08:00:00,17.2,DMP2,Not evaluated,False,iOS",
        "a3,Chromebook 3,,130,,Unknown,,ChromeOS",
    )
    with served(bench.app) as address, visitor(browser, address, java_script_enabled=javascript) as page:
        enter(page, bench, Role.TECHNICIAN)
        page.click("nav >> text=Devices")
        page.click("text=Devices as told by other systems")
        page.set_input_files("input[name=file]", exported(tmp_path, *rows, "a4,x"))
        page.click("main button:has-text('Import')")
        assert "The file, line 5: 2 fields" in page.inner_text("main")
        if javascript:
            assert not accessibility_faults(page)
            picture(page, "inventory-refused")
        page.set_input_files("input[name=file]", exported(tmp_path, *rows))
        page.click("main button:has-text('Import')")
        assert "Intune tells of 3 devices: 3 added" in page.inner_text("main")
        if javascript:
            assert not accessibility_faults(page)
            picture(page, "inventory")
        page.click("nav >> text=Devices")
        assert "not looked at by us" in page.inner_text("main")
        if javascript:
            assert not accessibility_faults(page)
            picture(page, "devices-told")


def test_what_each_platform_does_is_read_and_taken_away(bench: Bench, browser: Any) -> None:
    with served(bench.app) as address, visitor(browser, address) as page:
        enter(page, bench, Role.TECHNICIAN)
        page.click("nav >> text=Platforms")
        assert "exported, not verified by us" in page.inner_text("main")
        assert not accessibility_faults(page)
        picture(page, "platforms")
        with page.expect_download() as download:
            page.click("text=/Windows: .* in a zip/")
        assert download.value.suggested_filename == f"{GROUP}-windows-1.zip"


@pytest.mark.parametrize("role", [Role.DSL, Role.HEAD])
def test_a_notice_is_read_and_printed(bench: Bench, browser: Any, role: Role) -> None:
    with served(bench.app) as address, visitor(browser, address) as page:
        enter(page, bench, role)
        page.click("nav >> text=Notices")
        assert not accessibility_faults(page)
        picture(page, "notices")
        for name in ("pupil.early.en", "pupil.plain.cy", "parent.plain.en"):
            page.goto(f"/notices/{name}?group={GROUP}")
            assert not accessibility_faults(page)
            page.emulate_media(media="print")
            assert not page.is_visible("nav"), "on paper stands the notice alone"
            picture(page, f"print-{name}")
            page.emulate_media(media="screen")
        picture(page, "notice")


def test_on_a_narrow_screen_nothing_runs_out_of_the_page(bench: Bench, browser: Any, tmp_path: Path) -> None:
    size = {"width": 320, "height": 640}
    with served(bench.app) as address, visitor(browser, address, viewport=size) as page:
        enter(page, bench, Role.TECHNICIAN)
        page.goto("/inventory")
        page.set_input_files(
            "input[name=file]", exported(tmp_path, f"a1,{'N' * 80},,1,S1,Compliant,True,Windows")
        )
        page.click("main button:has-text('Import')")
        for path in ("/inventory", "/devices", "/platforms", "/notices", "/notices/pupil.early.en"):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
            assert not accessibility_faults(page)
            picture(page, "narrow" + path.replace("/", "-"))


def picture(page: Any, name: str) -> None:
    """For whoever wants to look: SCHOOLKEEPER_PICTURES names a folder."""
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)
