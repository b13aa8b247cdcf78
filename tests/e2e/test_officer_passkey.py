"""An officer's passkey in Chromium, with the browser's own virtual security key: added, signed with, removed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from schoolkeeper_policies.officer import key_ways, keyfile, memory
from schoolkeeper_policies.officer.page.desk import Desk
from schoolkeeper_policies.officer.page.serve import OfficerServer
from schoolkeeper_policies.officer.staged import pack, read_folder
from schoolkeeper_proto.trust import Duty
from support.browser import accessibility_faults, chromium, visitor
from support.officers import pack_with, publish, reasons, stage_pack
from support.school import School

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PASSPHRASE = "four quiet words here"
NEW_PASSPHRASE = "five other quiet words here"


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(memory.HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "head.key"


@contextmanager
def page_of(desk: Desk) -> Iterator[OfficerServer]:
    made = OfficerServer(desk)
    threading.Thread(target=made.run, daemon=True).start()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def server(key: Path, tmp_path: Path) -> Iterator[OfficerServer]:
    """With a change on the desk that waits for the head."""
    school = School(tmp_path / "collector")
    publish(school, stage_pack(school, pack_with(tmp_path, "enforce")), "technician", "dsl")
    stage_pack(school, pack_with(tmp_path, "observe"), reasons())
    keyfile.save_keys(key, school.officer("head"), PASSPHRASE)
    desk = Desk(key)
    desk.open_bytes("one.skchange", pack(read_folder(school.folder / "trust" / "staged")))
    with page_of(desk) as made:
        yield made
    school.close()


def security_key(page: Any, **options: object) -> None:
    """A security key of the browser's own, which verifies the person at once (W3C WebAuthn §11)."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    said = {
        "protocol": "ctap2",
        "ctap2Version": "ctap2_1",
        "transport": "usb",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "hasPrf": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": {**said, **options}})


def add(page: Any, name: str, passphrase: str = PASSPHRASE) -> None:
    page.get_by_label("Name, so that you know it again").fill(name)
    page.locator("#add-passphrase").fill(passphrase)
    page.get_by_role("button", name="Add a passkey").click()


def test_a_passkey_is_added_signs_replaces_a_forgotten_passphrase_and_is_removed(
    server: OfficerServer, key: Path
) -> None:
    with chromium() as browser, visitor(browser, server.guard.origin) as page:
        security_key(page)
        page.goto(server.address)
        page.get_by_role("link", name="how it opens").click()
        add(page, "blue key", "not the passphrase")
        page.get_by_text("wrong passphrase").wait_for()
        assert key_ways.passkeys(key) == ()
        add(page, "blue key")
        page.get_by_role("status").get_by_text("opens this file from now on").wait_for()
        assert accessibility_faults(page) == []
        assert [way.passkey.name for way in key_ways.passkeys(key)] == ["blue key"]
        add(page, "blue key once more")
        page.get_by_text("has a passkey for this key file already").wait_for()

        page.get_by_role("link", name="schoolkeeper-officer").click()
        page.get_by_role("link", name="Change 3").click()
        page.get_by_role("button", name="Sign this change with a passkey").click()
        assert page.get_by_role("heading", name="Signed").count() == 0, "the box was not ticked"
        page.get_by_role("checkbox").check()
        page.get_by_role("button", name="Sign this change with a passkey").click()
        page.get_by_role("heading", name="Signed").wait_for()
        assert "Signed by: head." in page.get_by_role("main").inner_text()

        page.get_by_role("link", name="schoolkeeper-officer").click()
        page.get_by_role("link", name="how it opens").click()
        page.get_by_label("New passphrase").fill(NEW_PASSPHRASE)
        page.get_by_label("Once more").fill(NEW_PASSPHRASE)
        page.get_by_role("button", name="Set it with a passkey").click()
        page.get_by_text("The new passphrase opens this file").wait_for()
        assert keyfile.load_keys(key, NEW_PASSPHRASE).officer == "head"
        page.get_by_label("blue key").check()
        page.locator("#remove-passphrase").fill(NEW_PASSPHRASE)
        page.get_by_role("button", name="Remove this passkey").click()
        page.get_by_text("opens this file no longer").wait_for()
    assert key_ways.passkeys(key) == ()
    with pytest.raises(keyfile.KeyFileError, match="wrong passphrase"):
        keyfile.load_keys(key, PASSPHRASE)


def test_a_key_without_a_secret_to_keep_is_said_to_be_none(key: Path) -> None:
    keyfile.save_keys(key, keyfile.new_keys("dsl", Duty.SAFEGUARDING), PASSPHRASE)
    with chromium() as browser, page_of(Desk(key)) as server:
        with visitor(browser, server.guard.origin) as page:
            security_key(page, hasPrf=False)
            page.goto(server.address)
            page.get_by_role("link", name="how it opens").click()
            add(page, "old key")
            page.get_by_role("alert").get_by_text("it has no PRF").wait_for()
            cookies = page.context.cookies()
        with visitor(browser, server.guard.origin, java_script_enabled=False) as page:
            page.context.add_cookies(cookies)
            page.goto(server.guard.path + "key")
            assert page.get_by_role("button", name="Add a passkey").count() == 0
            assert page.get_by_text("the passphrase works without").is_visible()
    assert key_ways.passkeys(key) == ()
