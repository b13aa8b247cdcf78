"""DSL reviews alerts: from a program that a pupil starts to a verdict given in a browser, nothing faked between."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.browser import accessibility_faults, chromium, first_sign_in, visitor
from support.school_stage import BIN, Stage, until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


class School(Stage):
    """A stage that remembers the first passwords that `init` printed."""

    serves_console = True

    def begin(self) -> None:
        said = self.init()
        self.passwords = dict(
            re.findall(r"^\s*(dsl|head|technician)\s+first password: (\S+)$", said, re.MULTILINE)
        )
        self.start_collector()
        self.enrol()
        self.start_agent()
        until(lambda: "policy.applied" in self.kinds(), 60, self.logs())


@pytest.fixture
def school(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path)
    try:
        made.begin()
        yield made
    finally:
        made.close()


def check_the_proof(page: Any, folder: Path) -> None:
    """Save it and run the very command that the page prints; then with one byte of the event flipped."""
    page.locator("summary", has_text="Proof of this event").first.click()
    command = page.locator("code", has_text="schoolkeeper-verify").first.inner_text().split()
    if pictures := os.environ.get("SCHOOLKEEPER_PICTURES", ""):
        page.screenshot(path=f"{pictures}/proof.png", full_page=True)
    assert accessibility_faults(page) == []
    with page.expect_download() as saved:
        page.locator("a", has_text="Save proof-").first.click()
    file = folder / command[1]
    saved.value.save_as(file)
    assert saved.value.suggested_filename == command[1]

    def verify() -> subprocess.CompletedProcess[str]:
        program = [str(BIN / command[0]), str(file), *command[2:]]
        return subprocess.run(program, capture_output=True, text=True, check=False)

    done = verify()
    assert (done.returncode, "The event is in the log: application.started" in done.stdout) == (0, True), done
    whole = json.loads(file.read_text())
    event = bytearray.fromhex(whole["event"])
    event[-1] ^= 1
    file.write_text(json.dumps(whole | {"event": event.hex()}))
    done = verify()
    assert (done.returncode, "This proof is not good." in done.stdout) == (1, True), done


@pytest.mark.requirement("T-17", "T-63")
def test_what_a_pupil_starts_waits_for_the_dsl_and_for_nobody_else(
    browser: Any, school: School, tmp_path: Path
) -> None:
    with visitor(browser, f"http://127.0.0.1:{school.console_port}") as page:
        first_sign_in(page, "dsl", school.passwords["dsl"])
        page.goto("/")
        page.wait_for_selector("text=This page updates by itself.")
        page.evaluate("window.same = true")

        program = tmp_path / "start-tor-browser"
        sleep = shutil.which("sleep")
        assert sleep
        shutil.copyfile(sleep, program)
        program.chmod(0o755)
        began = time.monotonic()
        started = subprocess.Popen([program, "20"])
        try:
            page.wait_for_selector("text=Tor Browser was started", timeout=60_000)
        finally:
            started.terminate()
            started.wait()
        assert page.evaluate("window.same"), "the page was not reloaded"
        print(f"on the page {time.monotonic() - began:.1f} s after the start, as a mere observer sees it")

        page.click("text=Tor Browser was started")
        page.wait_for_selector("#known")
        item = page.url
        text = page.inner_text("main")
        assert "the device could not enforce it" in text
        assert "Whether it was used to reach anything" in text, "what is not known is said"
        assert re.search(r"in the log", text, re.IGNORECASE), "the proof's state is said"
        assert accessibility_faults(page) == []
        check_the_proof(page, tmp_path)
        page.check("input[value=watch]")
        page.fill("#reason", "Ask in form time.")
        page.click("text=Give the verdict")
        page.wait_for_selector("#given")

    with visitor(browser, f"http://127.0.0.1:{school.console_port}") as page:
        first_sign_in(page, "technician", school.passwords["technician"])
        assert page.goto(item).status == 404
        page.goto("/")
        assert "Tor Browser" not in page.inner_text("main")

    school.stop_collector()
    school.collect("fsck")
