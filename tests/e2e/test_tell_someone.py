"""A child tells the head something: without a network first, then delivered, read on the console, and told so.

Through the command that people have, a real agent and a real collector.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pyotp
import pytest

from schoolkeeper_proto import model
from support.console import OWN_PAGE, PASSWORD, text_of
from support.school_stage import BIN, Stage, until

WORDS = "Y zebra glas: mae ofn arna i."
FORM = ["2", "1", WORDS, "and again the next day", "", "Efa, 4B", "yes", "yes"]
"""The head; somebody hurts me; two lines; who I am; today; send."""

pytestmark = pytest.mark.timeout(600)


class School(Stage):
    passwords: dict[str, str]
    serves_console = True

    def begin(self) -> None:
        said = self.init()
        self.passwords = dict(
            re.findall(r"^\s*(dsl|technician|head)\s+first password: (\S+)$", said, re.MULTILINE)
        )
        self.start_collector()
        self.enrol()
        self.start_agent()
        until(lambda: self.status().get("connected") is True, 60, self.logs())
        until(lambda: "policy.applied" in self.kinds(), 60, self.logs())

    def tell(self, *arguments: str, typed: list[str] | None = None) -> str:
        done = subprocess.run(
            [BIN / "schoolkeeper-agent", "--config", self.config, "tell", *arguments],
            input="".join(f"{line}\n" for line in typed or []), capture_output=True, text=True, check=False,
            timeout=60, cwd="/", env=os.environ | {"LANG": "en_GB.UTF-8", "LANGUAGE": ""},
        )  # fmt: skip
        assert not done.stderr, done.stderr
        return done.stdout

    def signed_in(self, login: str) -> httpx2.Client:
        """As a person does it once: first password, second factor from the page, a password of one's own."""
        client = httpx2.Client(
            base_url=f"http://127.0.0.1:{self.console_port}", headers=OWN_PAGE, follow_redirects=True
        )
        page = client.post("/sign-in", data={"login": login, "password": self.passwords[login]})
        key = re.search(r'class="[^"]*sk-key[^"]*"[^>]*>([^<]+)<', page.text)
        assert key, page.text
        client.post(str(page.url.path), data={"code": pyotp.TOTP(key.group(1).replace(" ", "")).now()})
        own = {"old": self.passwords[login], "new": PASSWORD, "again": PASSWORD}
        assert "Sign out" in client.post("/password", data=own).text
        return client


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path)
    try:
        made.begin()
        yield made
    finally:
        made.close()


@pytest.mark.requirement("T-28")
def test_told_without_a_network_delivered_read_by_whom_was_chosen_and_told_so(stage: School) -> None:
    stage.stop_collector()
    until(lambda: stage.status().get("connected") is False, 30, stage.logs())
    said = stage.tell(typed=FORM)
    assert said.startswith("In danger now? Call 999.\nChildline: 0800 1111."), "before anything else"
    assert "Not sent. Nobody knows yet." in said
    found = re.search(r"Its number is ([0-9A-F]{8})\.", said)
    assert found, said
    number = found.group(1)
    stage.kill_agent()  # what is written is kept over a power cut
    stage.start_agent()
    until(lambda: "Not sent. Nobody knows yet." in stage.tell("--number", number), 60, stage.logs())

    stage.start_collector()
    until(lambda: "Delivered." in stage.tell("--number", number), 60, stage.logs())
    assert "nobody has read it yet" in stage.tell("--number", number)
    head, dsl, technician = (stage.signed_in(login) for login in ("head", "dsl", "technician"))
    until(lambda: "Somebody asks for help" in text_of(head.get("/").text), 30, stage.logs())
    for other in (dsl, technician):
        assert "asks for help" not in other.get("/").text, "it was not chosen"
    assert "nobody has read it yet" in stage.tell("--number", number), "a headline is no reading"
    link = re.search(r'href="(/(?:alerts|incidents)/[0-9a-f]{32})', head.get("/").text)
    assert link, head.get("/").text
    page = text_of(head.get(link.group(1)).text)
    for part in (
        WORDS,
        "and again the next day",
        "They say that they are: Efa, 4B",
        number,
        "marked as urgent",
    ):
        assert part in page, page
    assert dsl.get(link.group(1)).status_code == 404
    until(
        lambda: "Read. Somebody at school has opened it." in stage.tell("--number", number), 30, stage.logs()
    )
    head.get(link.group(1))

    (report,) = (one.event for one in stage.stored() if isinstance(one.event.body, model.PersonReport))
    assert report.severity is model.Severity.CRITICAL
    listed = stage.collect("device", "list")
    device = re.search(r"\b[0-9a-f]{12,32}\b", listed)
    assert device, listed
    assert "report-read" not in stage.collect("device", "show", device.group()), (
        "nor does the technician learn of it"
    )
    stage.stop_collector()
    stage.stop_agent()
    for folder in (stage.collector_state, stage.state, stage.folder):
        for file in (
            one for one in folder.rglob("*") if one.is_file() and one.suffix in (".db", ".log", ".db-wal")
        ):
            assert b"zebra" not in file.read_bytes(), file


def test_without_an_agent_the_numbers_still_stand_first(tmp_path: Path) -> None:
    stage = School(tmp_path)
    for language, first in (("en", "In danger now? Call 999."), ("cy", "Mewn perygl nawr? Ffonia 999.")):
        said = stage.tell("--language", language, typed=FORM)
        assert said.startswith(first)
        assert "0800 1111" in said.splitlines()[1]
        assert {"en": "Nobody knows.", "cy": "Does neb yn gwybod."}[language] in said
