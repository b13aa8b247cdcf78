"""Grants and commands through a real collector and a real agent: in force in seconds, over by themselves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schoolkeeper_proto import model, wire
from schoolkeeper_proto.codec import encode
from schoolkeeper_proto.wire import GrantKind
from support import warm
from support.exec_guard import own_file_system
from support.granting import Person, demo_officer, ends, signed, statement
from support.school_stage import Stage, until

pytestmark = pytest.mark.timeout(600)
GROUP = "ks2-laptops"
REFUSED = 126
"""What a shell answers for a program that it found and could not start."""


def connected_stage(folder: Path, **settings: object) -> Stage:
    made = Stage(folder)
    made.write_config(**settings)
    try:
        made.init()
        made.start_collector()
        made.enrol()
        made.start_agent()
        until(lambda: made.status().get("connected") is True, 30, "the agent connects")
    except BaseException:
        made.close()
        raise
    return made


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = connected_stage(tmp_path)
    try:
        yield made
    finally:
        made.close()


def officer(stage: Stage, name: str) -> Person:
    return demo_officer(stage.collector_state / "offline", name)


def grant(kind: GrantKind, seconds: float = 600, **fields: object) -> wire.GrantStatement:
    now = time.time_ns() // 1_000_000
    return statement(
        kind,
        not_before_unix_ms=now - 1_000,
        expires_unix_ms=now - 1_000 + int(seconds * 1000),
        groups=(GROUP,),
        **fields,
    )


def publish(
    stage: Stage, said: wire.GrantStatement, *people: Person, where: str = "a.skgrant"
) -> subprocess.CompletedProcess[str]:
    file = stage.folder / where
    file.write_bytes(encode(signed(said, *people)))
    return warm.run("schoolkeeper-collector", "grant", "publish", file, env=stage.collector_environment)


def in_force(stage: Stage) -> list[str]:
    lines = stage.status()["grants"]
    assert isinstance(lines, list)
    return [line["grant_id"] for line in lines if line["in_force"]]


def ended(stage: Stage, grant_id: bytes) -> list[str]:
    bodies = [item.event.body for item in stage.stored()]
    return [
        body.reason for body in bodies if isinstance(body, model.GrantEnded) and body.grant_id == grant_id
    ]


@pytest.mark.timeout(600)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: programs are refused on a file system of its own")
def test_a_grant_opens_a_rule_for_real_survives_a_kill_and_ends_without_the_network(tmp_path: Path) -> None:
    with own_file_system() as folder:
        began = time.monotonic()
        browsers = tmp_path / "etc"
        stage = connected_stage(
            tmp_path, audit_only=False, exec_mounts=[str(folder)], browser_folder=str(browsers)
        )
        try:
            shutil.copy("/bin/true", folder / "tor")

            def starts() -> bool:
                done = subprocess.run(
                    ["/bin/sh", "-c", str(folder / "tor")], check=False, capture_output=True
                )
                assert done.returncode in (0, REFUSED), done
                return done.returncode == 0

            def told() -> dict[str, object]:
                file = browsers / "chromium/policies/managed/schoolkeeper.json"
                return dict(json.loads(file.read_bytes())) if file.exists() else {}

            until(lambda: not starts(), 20, "the policy refuses the program")
            until(lambda: told().get("DnsOverHttpsMode") == "off", 20, f"browsers are told\n{stage.logs()}")
            two = officer(stage, "technician"), officer(stage, "dsl")
            # A minute is the least; and longer than a kill and a start of the agent, which take less than all of this.
            lasts = min(240, max(65, 4 * (time.monotonic() - began)))
            said = grant(GrantKind.OBSERVE, seconds=lasts, rule_ids=("bypass.tor", "browser.filter"))
            done = publish(stage, said, *two)
            assert done.returncode == 0, done.stderr
            until(starts, 10, f"the grant opens the program\n{stage.logs()}")
            assert in_force(stage) == [said.grant_id.hex()]
            until(lambda: "DnsOverHttpsMode" not in told(), 10, "the grant reaches the browsers, too")
            status = stage.tell_agent("status").stdout
            assert "observe: bypass.tor, browser.filter; until" in status
            assert re.search(r"yes chromium +written .* as written now", status), status

            stage.kill_agent()
            stage.stop_collector()  # the network is gone, and stays gone until it is over
            stage.start_agent()
            until(lambda: in_force(stage) == [said.grant_id.hex()], 20, stage.logs())
            until(starts, 10, "it holds on after a kill, without the collector")

            left = said.expires_unix_ms / 1000 - time.time()
            # Nobody asks all the while: each start is seen by the agent, and costs both.
            until(lambda: time.time() * 1000 >= said.expires_unix_ms - 2_000, left + 10, "it is nearly over")
            until(lambda: not starts(), 12, "it ends by itself")
            assert time.time() * 1000 >= said.expires_unix_ms - 1_000
            assert in_force(stage) == []
            assert told()["DnsOverHttpsMode"] == "off"

            stage.start_collector()
            until(lambda: ended(stage, said.grant_id) == ["its time is over"], 40, stage.logs())
            shown = stage.collect("grant", "show", said.grant_id.hex()[:12])
            assert "its time is over" in shown
            stage.collect("fsck")
        finally:
            stage.close()


def test_too_few_and_wrong_signatures_are_refused_by_collector_and_device(stage: Stage) -> None:
    technician, second = officer(stage, "technician"), officer(stage, "second-technician")
    said = grant(GrantKind.OBSERVE)
    for people in ((), (technician,), (technician, second)):
        done = publish(stage, said, *people)
        assert done.returncode == 1
        assert "not permitted" in done.stderr
    assert stage.collect("grant", "list").strip() == "no grants"

    # A collector that lets everything through convinces no device, and the school sees the reason.
    slip_in(stage, said, technician, second)
    until(lambda: bool(ended(stage, said.grant_id)), 20, stage.logs())
    (reason,) = ended(stage, said.grant_id)
    assert "one technical and one safeguarding officer" in reason
    shown = stage.collect("grant", "show", said.grant_id.hex()[:12])
    assert "refused" in shown
    assert "safeguarding officer" in shown
    assert in_force(stage) == []


def slip_in(stage: Stage, said: wire.GrantStatement, *people: Person) -> None:
    """Into the table, past every check: what somebody with the collector's database could do."""
    import sqlite3

    data = encode(signed(said, *people))
    with sqlite3.connect(stage.collector_state / "collector.db", timeout=60) as database:
        database.execute(
            "INSERT INTO grants (school_id, grant_id, grant_bytes, kind, created_ms, expires_ms)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (said.school_id, said.grant_id, data, said.kind.value, 0, said.expires_unix_ms),
        )


def test_a_block_takes_one_officers_signature_and_is_ended_by_two(stage: Stage) -> None:
    """With the officer's own program: the file that it writes is what the collector takes."""
    technician, dsl = officer(stage, "technician"), officer(stage, "dsl")
    file, school = stage.folder / "block.skgrant", stage.folder / "it.skschool"
    stage.collect("school-file", str(school))
    asked = ("--kind", "emergency-block", "--group", GROUP, "--block-file-name", "new-vpn", "--for", "2h")
    officers_program(
        stage, "new", *asked, "--reason", "A new VPN.", "--out", str(file), "--school", str(school)
    )
    officers_program(stage, "sign", str(file), "--yes", "--school", str(school))
    stage.collect("grant", "publish", str(file))
    until(lambda: len(in_force(stage)) == 1, 10, stage.logs())
    (held,) = in_force(stage)

    revoke = grant(GrantKind.REVOKE, payload=ends(bytes.fromhex(held)))
    refused = publish(stage, revoke, dsl)
    assert refused.returncode == 1
    assert publish(stage, revoke, technician, dsl).returncode == 0
    until(lambda: in_force(stage) == [], 10, stage.logs())
    until(lambda: ended(stage, bytes.fromhex(held)) == ["revoked"], 20, stage.logs())
    assert "revoked" in stage.collect("grant", "list")
    stage.collect("fsck")


def officers_program(stage: Stage, *arguments: str) -> None:
    key = stage.collector_state / "offline" / "technician" / "technician.key"
    home = {"SCHOOLKEEPER_OFFICER_HOME": str(stage.folder / "officer")}
    done = warm.run("schoolkeeper-officer", "grant", *arguments, "--key", key, env=os.environ | home)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_command_reaches_the_device_and_its_answer_comes_back(stage: Stage) -> None:
    device_id = str(stage.status()["device_id"])
    stage.collect("device", "command", device_id, "canary")
    until(lambda: "canary" in stage.kinds(), 20, stage.logs())
    stage.collect("device", "command", device_id, "refresh-policy")
    stage.collect("device", "command", device_id, "renew")
    stage.collect("device", "command", device_id, "report-posture")

    def answered() -> bool:
        lines = stage.collect("device", "show", device_id).splitlines()[1:]
        return len(lines) == 4 and all(" done " in line for line in lines)

    until_shown(answered, lambda: stage.collect("device", "show", device_id) + stage.logs())


def until_shown(condition: Callable[[], bool], words: Callable[[], str], seconds: float = 40) -> None:
    try:
        until(condition, seconds, "what was expected")
    except AssertionError as error:
        raise AssertionError(words()) from error
