"""Technician manages policy: a new rule, two officers' signatures, published, and in force on a connected device."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from schoolkeeper_proto import model
from support import warm
from support.school_stage import BIN, Stage, until

GROUP = "ks2-laptops"
NEW_RULE = """
  - id: games.minefield
    description: Minefield does not start in lessons.
    why: It was played through three mathematics lessons.
    resolution: Ask your teacher if you need it for a lesson.
    severity: low
    decision: block
    match:
      - {file-name: gnome-mines}
    identity: Minefield
"""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    try:
        made.init()
        made.start_collector()
        made.enrol()
        made.start_agent()
        until(lambda: "policy.applied" in made.kinds(), 30, made.logs())
        yield made
    finally:
        made.close()


def pack_with_a_new_rule(folder: Path) -> Path:
    """The default pack as a technician would change it: a copy with one rule more."""
    pack = folder / "our-pack"
    shutil.copytree(str(files("schoolkeeper_policies") / "packs" / "default"), pack)
    rules = pack / "applications.yaml"
    text = rules.read_text()
    assert text.startswith("applications:\n")
    rules.write_text(text.replace("applications:\n", "applications:" + NEW_RULE, 1))
    return pack


def sign(staged: str, key: Path) -> subprocess.CompletedProcess[str]:
    command = [BIN / "schoolkeeper-officer", "sign", staged, "--key", key, "--yes"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.timeout(240)
def test_a_rule_needs_two_people_and_reaches_the_device_in_seconds(stage: Stage, tmp_path: Path) -> None:
    pack = pack_with_a_new_rule(tmp_path)
    checked = subprocess.run(
        [BIN / "schoolkeeper-policy", "check", pack], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    said = stage.collect("stage", "--group", GROUP, "--pack", str(pack))
    staged = next(word.rstrip(".") for word in said.split() if word.startswith(str(stage.collector_state)))
    offline = stage.collector_state / "offline"

    # One person alone, and two of the same duty, publish nothing.
    assert sign(staged, offline / "technician" / "technician.key").returncode == 0
    refused = publish(stage)
    assert refused.returncode != 0
    assert sign(staged, offline / "second-technician" / "second-technician.key").returncode == 0
    refused = publish(stage)
    assert refused.returncode != 0, refused.stdout
    assert "safeguarding" in refused.stdout + refused.stderr
    assert in_force(stage) == 1

    assert sign(staged, offline / "dsl" / "dsl.key").returncode == 0
    published = publish(stage)
    assert published.returncode == 0, published.stdout + published.stderr
    until(lambda: in_force(stage) == 2, 30, f"the device applies version 2\n{stage.logs()}")
    assert "Minefield does not start in lessons." in stage.tell_agent("policy").stdout
    until(lambda: applied_versions(stage) == {1, 2}, 20, "the collector knows what is in force")

    # It stays in force without the collector, and after a restart of the device.
    stage.stop_collector()
    stage.stop_agent()
    stage.start_agent()
    until(lambda: in_force(stage) == 2, 20, stage.logs())
    stage.collect("fsck")


def publish(stage: Stage) -> subprocess.CompletedProcess[str]:
    return warm.run("schoolkeeper-collector", "publish", env=stage.collector_environment)


def in_force(stage: Stage) -> int:
    return int(str(stage.status()["policy_version"]))


def applied_versions(stage: Stage) -> set[int]:
    bodies = [item.event.body for item in stage.stored()]
    return {body.bundle_version for body in bodies if isinstance(body, model.PolicyApplied)}
