"""The outsider's attacks through a real agent and a real collector: the school's people see them, and why.

The collector's machine is the attacker's here: its files are rewritten under a running collector, with its online key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest

from schoolkeeper_collector.school.files import write_file
from schoolkeeper_collector.school.keys import load_keys
from schoolkeeper_collector.school.repository import Repository
from schoolkeeper_policies.officer import signing
from schoolkeeper_policies.officer.keyfile import load_keys as load_officer
from schoolkeeper_proto import model
from support.browser import accessibility_faults, chromium, visitor
from support.detection import Bench
from support.outsider import Mirror, Scene
from support.outsider_acts import Act, Given, rollback_targets, signed_by
from support.school import School, wall_ms
from support.school_stage import Stage, until
from support.stores import StoreUrls

OWN_PASSWORD = "three random words"
WORDS = (
    "signature", "too-few-signatures", "no-technical-signature", "no-safeguarding-signature", "one-person",
    "key-twice", "threshold", "duties", "rollback", "altered", "altered-target", "wrong-school", "wrong-group",
    "no-target", "outside-role", "malformed", "refused", "too-long", "mandatory-check", "group-move",
)  # fmt: skip


def alerts_of(reason: str, folder: Path) -> list[dict[str, object]]:
    """What the default pack's rules make of a device that says this."""
    urls = StoreUrls(store=f"sqlite:///{folder}/store.db", keystore=f"sqlite:///{folder}/keys.db")
    bench = Bench.make(urls)
    try:
        bench.event(bench.device(), model.PolicyRefused(reason=reason))
        bench.run()
        return bench.rows("alerts")
    finally:
        bench.store.close()


@pytest.mark.parametrize("word", WORDS)
def test_every_reason_waits_for_technician_and_dsl(word: str, tmp_path: Path) -> None:
    alerts = alerts_of(f"{word}: what was wrong with it", tmp_path)
    assert {row["audience"] for row in alerts} == {"technician", "dsl"}, alerts
    assert all(word in str(row["title"]) and row["state"] == "open" for row in alerts)


@pytest.mark.parametrize("word", ["expired", "unreachable", "local"])
def test_what_is_no_attack_is_not_called_one(word: str, tmp_path: Path) -> None:
    assert {row["audience"] for row in alerts_of(f"{word}: why", tmp_path)} == {"technician"}


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


class WithConsole(Stage):
    serves_console = True


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = WithConsole(tmp_path)
    try:
        said = made.init()
        made.passwords = dict(  # type: ignore[attr-defined]
            re.findall(r"^\s*(dsl|head|technician)\s+first password: (\S+)$", said, re.MULTILINE)
        )
        made.start_collector()
        made.enrol()
        made.start_agent()
        until(lambda: "policy.applied" in made.kinds(), 60, made.logs())
        yield made
    finally:
        made.close()


def attacked(stage: Stage, act: Act) -> None:
    """The act, on the files that the collector serves; the device is told to look."""
    school = object.__new__(School)
    school.folder, school.repository = stage.collector_state, Repository(stage.collector_state)
    school.keys, school.school_id, school.made_ms = (
        load_keys(stage.collector_state),
        "tests.example",
        wall_ms(),
    )
    before = Mirror.of(school.folder).files
    scene = Scene(school, stage.state, Mirror(dict(before)))
    act(scene, Given(scene, {}))
    changed = {name: data for name, data in scene.mirror.files.items() if before.get(name) != data}
    assert changed
    # The timestamp last, as a publication does it.
    for name in sorted(changed, key=lambda name: name.endswith("timestamp.json")):
        write_file(stage.collector_state / "trust" / name, changed[name])
    stage.collect("device", "command", str(stage.status()["device_id"]), "refresh-policy")


def refusals(stage: Stage) -> list[str]:
    return [e.event.body.reason for e in stage.stored() if isinstance(e.event.body, model.PolicyRefused)]


def sign_in(page: Any, stage: Stage, login: str) -> None:
    first: str = stage.passwords[login]  # type: ignore[attr-defined]
    page.goto("/sign-in")
    page.fill("#login", login)
    page.fill("#password", first)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-in/set-up*")
    page.fill("#code", pyotp.TOTP(page.inner_text(".sk-key").replace(" ", "")).now())
    page.keyboard.press("Enter")
    page.wait_for_url("**/password*")
    page.fill("#old", first)
    page.fill("#new", OWN_PASSWORD)
    page.fill("#again", OWN_PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Sign out")


@pytest.mark.browser
@pytest.mark.timeout(300)
@pytest.mark.requirement("W-17")
def test_a_policy_signed_by_one_person_is_refused_and_two_people_hear_of_it(
    stage: Stage, browser: Any
) -> None:
    """The technician has taken the collector, and signs alone; later an older policy is tried."""
    held = stage.status()["policy_version"]
    attacked(stage, signed_by("technician"))
    until(lambda: any(r.startswith("no-safeguarding-signature: ") for r in refusals(stage)), 30, stage.logs())
    assert stage.status()["policy_version"] == held
    shown = stage.tell_agent("status").stdout
    assert "no-safeguarding-signature" in shown, shown

    with visitor(browser, f"http://127.0.0.1:{stage.console_port}") as page:
        sign_in(page, stage, "dsl")
        page.goto("/")
        page.wait_for_selector("text=A device refused a policy that does not verify", timeout=60_000)
        assert "no-safeguarding-signature" in page.inner_text("main")
    with visitor(browser, f"http://127.0.0.1:{stage.console_port}") as page:
        sign_in(page, stage, "technician")
        page.goto(f"/devices/{stage.status()['device_id']}")
        text = page.inner_text("main")
        assert "Open alerts about it" in text
        assert "The device refused a policy: no-safeguarding-signature" in text
        assert accessibility_faults(page) == []
        page.click("text=The device refused a policy")
        page.wait_for_url("**/alerts/*")


@pytest.mark.timeout(200)
def test_an_older_policy_is_refused_and_told(stage: Stage) -> None:
    """The online key alone, against a device whose school published since."""
    said = stage.collect("stage", "--group", "ks2-laptops")
    folder = next(word.rstrip(".") for word in said.split() if word.startswith(str(stage.collector_state)))
    for name in ("technician", "dsl"):
        signing.sign_staged(
            Path(folder), load_officer(stage.collector_state / "offline" / name / f"{name}.key", None)
        )
    stage.collect("publish")
    until(lambda: stage.status()["policy_version"] == 2, 30, stage.logs())
    attacked(stage, rollback_targets)
    until(lambda: any(r.startswith("rollback: ") for r in refusals(stage)), 30, stage.logs())
    assert stage.status()["policy_version"] == 2
    stage.kill_agent()
    stage.start_agent()
    until(lambda: stage.status()["policy_version"] == 2, 30, "and after a restart")
