"""A refused person asks; the console shows it in seconds; what officers sign starts the program, for a while.

As an account without rights, through the commands that people have.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pyotp
import pytest

from schoolkeeper_collector.rollout.requests import Request, RequestState, requests
from schoolkeeper_collector.store.database import open_store
from schoolkeeper_policies.parse import load_pack
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import GrantKind
from support.console import OWN_PAGE, PASSWORD, text_of
from support.exec_guard import own_file_system
from support.granting import demo_officer, signed, statement
from support.school_stage import BIN, Stage, until

RULE = load_pack("default").applications[0]
REFUSED = 126
"""What a shell answers for a program that it found and could not start."""
PERSON = 1
"""An account without rights that every Debian has; below 1000, so that no session is waited for."""
PUPIL = 4711
"""Of people, by its number: what an account of the system runs is never ended."""

pytestmark = pytest.mark.timeout(600)


class School(Stage):
    serves_console = True
    passwords: dict[str, str]

    def begin(self) -> None:
        said = self.init()
        self.passwords = dict(
            re.findall(r"^\s*(dsl|technician)\s+first password: (\S+)$", said, re.MULTILINE)
        )
        self.start_collector()
        self.enrol()
        self.start_agent()
        until(lambda: "policy.applied" in self.kinds(), 60, self.logs())
        until(lambda: self.status().get("connected") is True, 30, self.logs())

    def ask(self, *arguments: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "schoolkeeper-agent", "--config", self.config, "ask", *arguments],
            capture_output=True, text=True, check=False, timeout=60, cwd="/", **_as(user),
        )  # fmt: skip

    def asked(self) -> tuple[Request, ...]:
        state = self.collector_state
        store = open_store(f"sqlite:///{state}/collector.db", f"sqlite:///{state}/keystore.db")
        try:
            return requests(store, "tests.example", 4_000_000_000_000)
        finally:
            store.close()


def _as(user: int | None) -> dict[str, Any]:
    return {} if user is None else {"user": user, "group": user, "extra_groups": ()}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[School]:
    made = School(tmp_path)
    try:
        made.begin()
        yield made
    finally:
        made.close()


def test_a_request_arrives_with_its_words_and_only_in_the_sealed_event(stage: School) -> None:
    said = stage.ask(RULE.id, "--because", "homework", "--words", "zebrafish for lesson 3")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "it has reached the school" in said.stdout
    number = said.stdout.split("number ")[1].split(":")[0]
    until(lambda: len(stage.asked()) == 1, 20, stage.logs())
    (request,) = stage.asked()
    assert (request.rule_id, request.reason, request.reference) == (RULE.id, "homework", number)
    assert request.words == "zebrafish for lesson 3"
    assert request.wanted == RULE.description[:200]
    assert request.state is RequestState.WAITING
    assert f"--rule {RULE.id}" in request.grant_command
    assert "zebrafish" not in stage.logs()

    assert (
        f"number {number}:"
        in stage.ask(RULE.id, "--because", "homework", "--words", "zebrafish for lesson 3").stdout
    )
    assert len(stage.asked()) == 1, "said twice, it is one request"
    refused = stage.ask("no.such.rule")
    assert refused.returncode == 1
    assert "No rule in force on this device is called 'no.such.rule'" in refused.stderr

    told = stage.tell_agent("notice", "--for", "pupil", "--level", "plain").stdout
    assert "What is asked for when something was refused, and the reason given." in told

    stage.stop_collector()
    for folder in (stage.collector_state, stage.state):
        for file in folder.rglob("*.db*"):
            assert b"zebrafish" not in file.read_bytes(), file
    until(lambda: stage.status().get("connected") is False, 30, stage.logs())
    alone = stage.ask(RULE.id, "--because", "lesson")
    assert alone.returncode == 0
    assert "it is kept on this device and will be sent; nobody has seen it yet" in alone.stdout
    stage.kill_agent()
    without = stage.ask(RULE.id)
    assert without.returncode == 1
    assert "does not run on this device" in without.stderr
    stage.start_agent()
    stage.start_collector()
    until(lambda: len(stage.asked()) == 2, 60, stage.logs())


def signed_in(stage: School, login: str) -> httpx2.Client:
    """As a person does it once: first password, second factor from the page, a password of one's own."""
    client = httpx2.Client(
        base_url=f"http://127.0.0.1:{stage.console_port}", headers=OWN_PAGE, follow_redirects=True
    )
    page = client.post("/sign-in", data={"login": login, "password": stage.passwords[login]})
    key = re.search(r'class="[^"]*sk-key[^"]*"[^>]*>([^<]+)<', page.text)
    assert key, page.text
    code = pyotp.TOTP(key.group(1).replace(" ", "")).now()
    client.post(str(page.url.path), data={"code": code})
    own = {"old": stage.passwords[login], "new": PASSWORD, "again": PASSWORD}
    done = client.post("/password", data=own)
    assert "Sign out" in done.text, done.text
    return client


def test_a_no_reaches_the_account_that_asked_with_the_words_for_it_and_no_other_account(
    stage: School,
) -> None:
    """Through the console, the signed command, the agent and its helper; and again after a start without a network."""
    said = stage.ask(RULE.id, "--because", "lesson")
    assert said.returncode == 0, said.stdout + said.stderr
    until(lambda: len(stage.asked()) == 1, 20, stage.logs())
    (request,) = stage.asked()
    heard = stage.folder / "heard"
    with heard.open("w") as out:
        helper = subprocess.Popen(
            [sys.executable, "-m", "schoolkeeper_agent.session", "--socket", stage.folder / "run" / "session.sock"],
            stdout=out, env=os.environ | {"DBUS_SESSION_BUS_ADDRESS": ""}, start_new_session=True,
        )  # fmt: skip
    try:
        answer = signed_in(stage, "dsl").post(
            f"/requests/{request.request_id.hex()}",
            data={"decision": "decline", "because": "a private reason", "for_asker": "Ask in the library"},
        )
        assert "declined" in text_of(answer.text)
        until(lambda: "You asked, and it was declined" in heard.read_text(), 20, stage.logs())
    finally:
        helper.terminate()
        helper.wait()
    words = f"Your request {request.reference} (rule {RULE.id}) was declined"
    assert words in heard.read_text()
    until(lambda: words in stage.ask().stdout, 10, stage.logs())
    stage.stop_collector()
    stage.kill_agent()
    stage.start_agent()
    until(lambda: words in stage.ask().stdout, 30, stage.logs())
    listed = stage.ask().stdout
    assert "They wrote for you: Ask in the library" in listed
    assert "private" not in listed + heard.read_text()
    if os.geteuid() == 0:
        assert "eclined" not in stage.ask(user=PERSON).stdout


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """Not below pytest's own, which nobody but root may enter."""
    with tempfile.TemporaryDirectory(prefix="schoolkeeper-ask-", dir="/run") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: programs are refused on a file system of its own")
def test_refused_asked_granted_started_and_refused_again() -> None:
    with own_file_system() as programs, reachable_folder() as folder:
        stage = School(folder)
        stage.write_config(audit_only=False, exec_mounts=[str(programs)])
        helper = None
        try:
            stage.begin()
            shutil.copy("/bin/true", programs / "tor")

            def starts() -> bool:
                done = subprocess.run(
                    ["/bin/sh", "-c", str(programs / "tor")],
                    check=False,
                    capture_output=True,
                    cwd="/",
                    **_as(PERSON),
                )
                assert done.returncode in (0, REFUSED), done
                return done.returncode == 0

            until(lambda: not starts(), 20, "the policy refuses the program")
            # Round the kernel's question: only the shell is executed. The service itself ends it.
            (programs / "scripts").mkdir()
            (programs / "scripts/tor").write_text("sleep 600\n:\n")
            script = ["/bin/sh", str(programs / "scripts/tor")]
            assert subprocess.run(script, timeout=60, check=False, cwd="/", **_as(PUPIL)).returncode == -9
            helper = subprocess.Popen(
                [sys.executable, "-m", "schoolkeeper_agent.session", "--socket", folder / "run" / "session.sock"],
                stdout=(folder / "heard").open("w"), env=os.environ | {"DBUS_SESSION_BUS_ADDRESS": ""},
                start_new_session=True, cwd="/", **_as(PERSON),
            )  # fmt: skip
            until(lambda: "bypass.tor (tor)" in stage.ask(user=PERSON).stdout, 20, stage.logs())
            assert "bypass.tor" not in stage.ask().stdout, (
                "what somebody was refused is nobody else's business"
            )

            began = time.monotonic()
            said = stage.ask(
                "bypass.tor", "--because", "lesson", "--words", "we compare browsers", user=PERSON
            )
            assert said.returncode == 0, said.stderr
            technician, dsl = (signed_in(stage, login) for login in ("technician", "dsl"))
            page = text_of(technician.get("/requests").text)
            assert "bypass.tor" in page
            assert "we compare browsers" in page
            assert "for a lesson" in page
            (request,) = stage.asked()
            answer = dsl.post(
                f"/requests/{request.request_id.hex()}", data={"decision": "approve", "because": "yes"}
            )
            assert "--rule bypass.tor" in text_of(answer.text), text_of(answer.text)
            assert not starts(), "a decision in the console changes nothing: officers sign"

            grant = publish(stage, request, seconds=30)
            until(starts, 10, f"the grant opens the program\n{stage.logs()}")
            print(f"from asking to starting: {time.monotonic() - began:.1f} s")
            heard = folder / "heard"
            until(lambda: "You asked, and it was allowed" in heard.read_text(), 10, heard.read_text())
            assert request.reference in heard.read_text()
            until(lambda: time.time() * 1000 >= grant - 2_000, 45, "it is nearly over")
            until(lambda: not starts(), 15, "it ends by itself")
            assert time.time() * 1000 >= grant - 1_000
            applied = [
                one.event.body for one in stage.stored() if isinstance(one.event.body, model.GrantApplied)
            ]
            assert [body.rule_id for body in applied] == ["bypass.tor"]
            went_round = [
                one.event.body
                for one in stage.stored()
                if isinstance(one.event.body, model.ApplicationStarted)
            ]
            assert ("tor", True) in [(body.application.name, body.ended) for body in went_round]
        finally:
            if helper is not None:
                helper.terminate()
                helper.wait()
            stage.close()


def publish(stage: School, request: Request, *, seconds: int) -> int:
    """What the officers sign for this request, on its way; its expiry in Unix milliseconds."""
    now = time.time_ns() // 1_000_000  # a minute is the least that a grant lasts: most of it is over
    said = statement(
        GrantKind.EXCEPTION, not_before_unix_ms=now - 40_000, expires_unix_ms=now + seconds * 1000, groups=(),
        device_ids=(request.device_id,), rule_ids=(request.rule_id,),
    )  # fmt: skip
    people = [demo_officer(stage.collector_state / "offline", name) for name in ("technician", "dsl")]
    file = stage.folder / "exception.skgrant"
    file.write_bytes(encode(signed(said, *people)))
    stage.collect("grant", "publish", str(file))
    return said.expires_unix_ms
