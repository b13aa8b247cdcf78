"""A teacher opens a lesson on the console: a program that a rule refuses starts on the class's laptops until it ends.

Nothing here is signed by an officer when the lesson is opened: the policy that two of them signed lets the console open
just this rule, in these hours, for so long. The device checks that by itself.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schoolkeeper_collector.school.keys import load_keys
from schoolkeeper_proto import model, statements, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import GrantKind
from support.browser import accessibility_faults, chromium, first_sign_in, visitor
from support.exec_guard import own_file_system
from support.granting import statement
from support.school_stage import Stage, until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(420),
    pytest.mark.skipif(
        os.geteuid() != 0, reason="needs root: a program is refused on a file system of its own"
    ),
]
PICTURES = os.environ.get("SCHOOLKEEPER_PICTURES", "")
NOON = f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"
"""A zone in which it is about noon (its sign is the other way round): a lesson ends on the day on which it begins."""
GROUP = "ks2-laptops"
RULE = """applications:
  - id: lessons.browser
    description: The browser starts in a lesson only.
    why: The youngest use it with their teacher.
    resolution: Ask your teacher to open it for your lesson.
    source: [W-35]
    groups: [ks2-laptops]
    decision: block
    match:
      - {file-name: school-browser}

"""
BOUND = """
grants:
  - kind: lesson
    rules: [lessons.browser]
    max_minutes: 60
    duties: [staff]
    console:
      - {days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], from: "00:00", to: "24:00"}
"""


class School(Stage):
    serves_console = True

    def init(self) -> str:
        pack = self.folder / "our-pack"
        shutil.copytree(str(files("schoolkeeper_policies") / "packs" / "default"), pack)
        about = pack / "pack.yaml"
        about.write_text(about.read_text().replace("Europe/London", NOON))
        rules = pack / "applications.yaml"
        rules.write_text(rules.read_text().replace("applications:\n", RULE, 1))
        (pack / "lessons.yaml").write_text(BOUND.lstrip())
        return self.collect(
            "init", "--demo", "--school-id", "tests.example", "--name", "Tests", "--address", "127.0.0.1",
            "--time-zone", NOON, "--uplink-port", str(self.uplink_port), "--enrol-port", str(self.enrol_port),
            "--pack", str(pack),
        )  # fmt: skip


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[School, Callable[[], bool]]]:
    """A connected laptop on which the browser does not start, and how to try."""
    with own_file_system() as folder:
        made = School(tmp_path)
        made.write_config(audit_only=False, exec_mounts=[str(folder)])
        try:
            made.init()
            made.start_collector()
            made.enrol()
            made.start_agent()
            shutil.copy("/bin/true", folder / "school-browser")

            def starts() -> bool:
                program = [str(folder / "school-browser")]
                done = subprocess.run(["/bin/sh", "-c", program[0]], check=False, capture_output=True)
                return done.returncode == 0

            until(lambda: not starts(), 60, "the policy refuses the program")
            yield made, starts
        finally:
            made.close()


def open_lesson(page: Any, stage: Stage, name: str) -> str:
    """As the teacher does it; returns until when."""
    said = stage.collect("account", "create", name, "--role", "staff", "--name", "Ms Teacher")
    password = re.search(r"(?i)first password:?\s+(\S+)", said)
    assert password, said
    first_sign_in(page, name, password[1])
    page.goto("/")
    page.wait_for_url("**/lessons")
    assert "No lesson is open." in page.inner_text("main")
    assert "60 minutes at most" in page.inner_text("main")
    assert accessibility_faults(page) == []
    ends = (datetime.now(ZoneInfo(NOON)) + timedelta(minutes=2)).strftime("%H:%M")
    page.fill("#until", ends)
    page.fill("#why", "Year 4, rivers.")
    picture(page, "lesson-form")
    page.click("text=Open the lesson")
    page.wait_for_selector("text=Ms Teacher")
    return ends


def picture(page: Any, name: str) -> None:
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


def test_a_teacher_opens_the_browser_for_a_class_and_closes_it(
    browser: Any, stage: tuple[School, Callable[[], bool]]
) -> None:
    school, starts = stage
    with visitor(browser, f"http://127.0.0.1:{school.console_port}") as page:
        ends = open_lesson(page, school, "teacher")
        until(starts, 20, f"the lesson opens the program\n{school.logs()}")
        said = page.goto("/lessons")
        assert said.status == 200
        assert f"open until {ends}" in page.inner_text("main")
        assert "Opened by Ms Teacher: Year 4, rivers." in page.inner_text("main")
        until(lambda: "1 device says" in reloaded(page), 20, "the page says where it is open")
        picture(page, "lesson-open")
        for other in ("/incidents", "/alerts/" + "ab" * 16, "/devices", "/changes", "/requests"):
            assert page.goto(other).status == 403, other
        page.goto("/lessons")
        page.click("text=End it now")
        page.wait_for_selector("text=No lesson is open.")
        until(lambda: not starts(), 20, "it is over on the device")

    refused = by_the_collector_alone(school)
    until(lambda: bool(ended(school, refused.grant_id)), 30, school.logs())
    assert "by the collector alone" in ended(school, refused.grant_id)[0]
    school.stop_collector()
    school.collect("fsck")


@pytest.mark.chaos
@pytest.mark.requirement("T-31")
def test_a_lesson_ends_by_itself_without_the_network(
    browser: Any, stage: tuple[School, Callable[[], bool]]
) -> None:
    school, starts = stage
    with visitor(browser, f"http://127.0.0.1:{school.console_port}") as page:
        ends = open_lesson(page, school, "teacher")
        until(starts, 20, f"the lesson opens the program\n{school.logs()}")
    school.stop_collector()
    assert starts()
    until(lambda: not starts(), 150, "it ends by itself")
    assert datetime.now(ZoneInfo(NOON)).strftime("%H:%M") >= ends


def reloaded(page: Any) -> str:
    page.reload()
    return str(page.inner_text("main"))


def ended(stage: Stage, grant_id: bytes) -> list[str]:
    bodies = [item.event.body for item in stage.stored()]
    return [
        body.reason for body in bodies if isinstance(body, model.GrantEnded) and body.grant_id == grant_id
    ]


def by_the_collector_alone(stage: Stage) -> wire.GrantStatement:
    """What somebody with the collector's keys and database could send: a grant of another kind, past every check."""
    now = time.time_ns() // 1_000_000
    said = statement(
        GrantKind.OBSERVE,
        not_before_unix_ms=now - 1_000,
        expires_unix_ms=now + 600_000,
        groups=(GROUP,),
        rule_ids=("lessons.browser",),
    )
    data = encode(said)
    signed = wire.Grant(
        statement=data,
        signatures=(statements.sign(statements.GRANT, data, load_keys(stage.collector_state).command),),
    )
    with sqlite3.connect(stage.collector_state / "collector.db", timeout=10) as database:
        database.execute(
            "INSERT INTO grants (school_id, grant_id, grant_bytes, kind, created_ms, expires_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (said.school_id, said.grant_id, encode(signed), said.kind.value, 0, said.expires_unix_ms),
        )
    return said
