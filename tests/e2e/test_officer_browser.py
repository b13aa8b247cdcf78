"""The officer's loopback page as a person meets it, in Chromium, without JavaScript."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schoolkeeper_collector.school import staging
from schoolkeeper_policies.officer import grants, keyfile, memory
from schoolkeeper_policies.officer import school as officer_school
from schoolkeeper_policies.officer.page.desk import Desk
from schoolkeeper_policies.officer.page.serve import OfficerServer
from schoolkeeper_policies.officer.staged import pack, read_folder
from schoolkeeper_proto import policy
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import GrantKind
from support.browser import accessibility_faults, chromium, visitor
from support.officers import pack_with, publish, reasons, stage_pack
from support.school import GROUP, School, wall_ms

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PASSPHRASE = "four quiet words here"


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path / "collector")
    publish(made, stage_pack(made, pack_with(tmp_path, "enforce")), "technician", "dsl")
    stage_pack(made, pack_with(tmp_path, "observe"), reasons())
    yield made
    made.close()


@pytest.fixture
def server(school: School, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OfficerServer]:
    monkeypatch.setenv(memory.HOME_VARIABLE, str(tmp_path / "home"))
    key = tmp_path / "head.key"
    keyfile.save_keys(key, school.officer("head"), PASSPHRASE)
    made = OfficerServer(Desk(key))
    threading.Thread(target=made.run, daemon=True).start()
    yield made
    made.close()


@pytest.mark.requirement("W-76")
def test_the_head_reads_what_a_change_weakens_and_consents(
    school: School, server: OfficerServer, tmp_path: Path
) -> None:
    change = tmp_path / "change-3.skchange"
    change.write_bytes(pack(read_folder(school.folder / "trust" / "staged")))
    address = f"http://{server.guard.host}"
    with chromium() as browser, visitor(browser, address, java_script_enabled=False) as page:
        page.goto(server.address)
        page.get_by_label("The file from the console").set_input_files(change)
        page.get_by_role("button", name="Open and verify").click()
        assert page.get_by_role("heading", name="This change weakens safeguarding").is_visible()
        row = page.get_by_role("row", name="tests.minefield")
        assert "weaker" in row.inner_text()
        assert "Year 6 uses it for one project" in page.get_by_role("main").inner_text()
        _keep(page, "officer-change")
        page.get_by_role("checkbox").check()
        page.get_by_label("Passphrase of your key").fill(PASSPHRASE)
        page.get_by_role("button", name="Sign this change").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Save your signature").click()
        answer = Path(download.value.path()).read_bytes()
        _keep(page, "officer-signed")
    seen = staging.take_signatures(school.folder, answer, "change-3.head.sksigned", wall_ms())
    assert seen.signed_by == {"head"}


def test_its_pages_have_no_accessibility_faults(
    school: School, server: OfficerServer, tmp_path: Path
) -> None:
    change = tmp_path / "change-3.skchange"
    change.write_bytes(pack(read_folder(school.folder / "trust" / "staged")))
    with chromium() as browser, visitor(browser, f"http://{server.guard.host}") as page:
        page.goto(server.address)
        assert accessibility_faults(page) == []
        page.get_by_label("The file from the console").set_input_files(change)
        page.get_by_role("button", name="Open and verify").click()
        assert accessibility_faults(page) == []


def test_an_emergency_block_is_signed_on_the_page(
    school: School, server: OfficerServer, tmp_path: Path
) -> None:
    """One signature of one officer; the file that comes back is what the collector publishes."""
    file = tmp_path / "it.skschool"
    file.write_bytes(staging.school_file(school.folder))
    head = keyfile.read_head(school.folder / "offline" / "technician" / "technician.key")
    found = officer_school.keep(head, file)
    wish = grants.Wish(
        kind=GrantKind.EMERGENCY_BLOCK,
        reason="A new VPN since nine.",
        seconds=86_400,
        groups=(GROUP,),
        blocks=(policy.ApplicationMatch(by=policy.MatchBy.FILE_NAME, text="newvpn"),),
    )
    grant = tmp_path / "vpn.skgrant"
    grant.write_bytes(encode(grants.make(wish, found, wall_ms())))
    with chromium() as browser, visitor(browser, f"http://{server.guard.host}") as page:
        page.goto(server.address)
        for each in (file, grant):
            page.get_by_label("The file from the console").set_input_files(each)
            page.get_by_role("button", name="Open and verify").click()
        assert "stricter" in page.get_by_role("main").inner_text()
        assert accessibility_faults(page) == []
        _keep(page, "officer-grant")
        page.get_by_role("checkbox").check()
        page.get_by_label("Passphrase of your key").fill(PASSPHRASE)
        page.get_by_role("button", name="Sign this grant").click()
        with page.expect_download() as download:
            page.get_by_role("link", name="Save the grant").click()
        signed = Path(download.value.path()).read_bytes()
    looked = grants.look(signed, found, wall_ms())
    assert (looked.signed_by, looked.refused) == (("head",), "")


def _keep(page: Any, name: str) -> None:
    """A picture for people, where somebody asks for it."""
    if folder := os.environ.get("SCHOOLKEEPER_TEST_PICTURES"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)
