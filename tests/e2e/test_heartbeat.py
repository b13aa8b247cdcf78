"""One heartbeat through frame, spool, stream, ledger, proof and ack; then what must hold when processes die."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from schoolkeeper_proto import model
from support.chaos import Chaos
from support.school_stage import Stage, until


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    try:
        made.init()
        made.start_collector()
        made.enrol()
        yield made
    finally:
        made.close()


def delivered(stage: Stage, *kinds: str) -> bool:
    return set(kinds) <= set(stage.kinds())


@pytest.mark.requirement("T-18")
def test_a_heartbeat_reaches_the_ledger_and_the_proof_comes_back(stage: Stage) -> None:
    key = stage.state / "identity" / "device.key"
    key.chmod(0o644)
    stage.start_agent()
    until(lambda: delivered(stage, "heartbeat", "agent.started", "policy.applied"), 120, stage.logs())
    assert key.stat().st_mode & 0o777 == 0o600, "a device that refused its key would go dark"
    (told,) = [one.event.body for one in stage.stored() if isinstance(one.event.body, model.AgentTampered)]
    assert (told.what, str(key) in told.detail) == ("who may read the device's key", True)
    until(lambda: stage.pending() == 0, 120, "delivered with a proof")
    status = stage.status()
    assert status["connected"] is True
    said = json.loads(stage.tell_agent("status", "--json").stdout)
    assert said["ledger_size"] >= int(str(status["ledger_size"])), "the program says the same"
    assert status["proof_failure"] == ""
    assert int(str(status["ledger_size"])) >= 1
    assert "verified up to entry" in stage.tell_agent("status").stdout
    stage.stop_collector()
    stage.collect("fsck")


@pytest.mark.requirement("T-12")
def test_an_agent_that_was_killed_says_so_and_one_that_was_stopped_does_not(stage: Stage) -> None:
    stage.start_agent()
    until(lambda: delivered(stage, "heartbeat"), 120, stage.logs())
    assert stage.stop_agent() == 0
    stage.start_agent()
    until(lambda: delivered(stage, "agent.stopped"), 120, stage.logs())
    until(lambda: stage.pending() == 0, 120, "delivered")
    assert "agent.killed" not in stage.kinds()
    stage.kill_agent()
    assert "NOT running" in stage.tell_agent("status").stdout
    stage.start_agent()
    until(lambda: delivered(stage, "agent.killed"), 120, stage.logs())


@pytest.mark.timeout(3600)
@pytest.mark.seeds(short=1, long=10)
def test_twenty_kills_at_random_points_lose_nothing_and_store_nothing_twice(stage: Stage, seed: int) -> None:
    """Agent, collector, or both; ten times twenty in the long run."""
    rounds = 20
    chaos = Chaos(stage, random.Random(seed))
    chaos.start_agent()
    until(lambda: bool(chaos.journalled("kept")), 120, "the first events are kept")
    for _ in range(rounds):
        chaos.round()
    chaos.settle()
    kept, stored = chaos.account()
    print(f"{kept} kept, {stored} stored, kills {dict(chaos.kills)}")
    assert kept > rounds
    assert sum(chaos.kills.values()) == rounds
    stage.stop_agent()
    stage.stop_collector()
    stage.collect("fsck")


@pytest.mark.timeout(900)
@pytest.mark.seeds(short=1, long=8)
def test_a_restored_copy_of_the_spool_opens_a_new_epoch_and_loses_nothing(stage: Stage, seed: int) -> None:
    chance = random.Random(seed)
    chaos = Chaos(stage, chance, most=5)
    chaos.start_agent()
    first, second = chance.randint(20, 80), chance.randint(90, 200)
    until(lambda: len(chaos.journalled("kept")) > first, 180, "events are kept")
    stage.stop_agent()
    copy = stage.folder / "copy"
    shutil.copytree(stage.state / "spool", copy)
    chaos.start_agent()
    until(lambda: len(chaos.journalled("kept")) > second, 180, "more events are kept")
    chaos.settle()
    stage.stop_agent()
    before = epoch_count(stage.state / "spool" / "spool.db")
    shutil.rmtree(stage.state / "spool")
    shutil.copytree(copy, stage.state / "spool")
    chaos.start_agent()
    kept = len(chaos.journalled("kept"))
    until(lambda: len(chaos.journalled("kept")) > kept + 20, 180, "the restored device goes on")
    chaos.settle()
    stage.stop_agent()
    assert epoch_count(stage.state / "spool" / "spool.db") > before
    tried, held = chaos.journalled("try"), set(_numbers(stage))
    assert chaos.journalled("kept") - held <= set_aside(stage), "what is missing was set aside and counted"
    assert held <= tried


def _numbers(stage: Stage) -> list[int]:
    from support.chaos import number_of

    return [n for item in stage.stored() if (n := number_of(item.event.body)) is not None]


def epoch_count(path: Path) -> int:
    with sqlite3.connect(path) as database:
        return int(database.execute("SELECT max(epoch_no) FROM epochs").fetchone()[0])


def set_aside(stage: Stage) -> set[int]:
    """Nothing tells which numbers lie in a frame set aside: at most as many as are counted."""
    spool = stage.status()["spool"]
    assert isinstance(spool, dict)
    missing = stage.folder / "journal"
    assert missing.exists()
    kept = {int(line.split()[1]) for line in missing.read_text().splitlines() if line.startswith("kept ")}
    gone = kept - set(_numbers(stage))
    assert len(gone) <= int(spool["set_aside_events"])
    return gone
