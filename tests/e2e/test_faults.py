"""The fault suite with processes on both ends: bad links, clones, a collector restored from an older backup.

After each: what the device kept is stored once, or counted as set aside, and `fsck` is clean. A few seeds here, many
by `make chaos` (see tests/support/faults.py); kills are in test_heartbeat.py, disks in the units' own fault tests.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import open_store
from support.bad_link import BadLink
from support.chaos import Chaos, number_of
from support.school_stage import Stage, until

pytestmark = pytest.mark.timeout(900)
SECOND_MACHINE = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/machine-id && exec "$@"')
"""Runs a command where the machine's id is another file's content."""


@pytest.fixture
def make_stage(tmp_path: Path) -> Iterator[Callable[[str], Stage]]:
    stages: list[Stage] = []

    def make(name: str) -> Stage:
        (tmp_path / name).mkdir()
        stages.append(Stage(tmp_path / name))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()


def ready(stage: Stage) -> None:
    stage.init()
    stage.start_collector()
    stage.enrol()


def facts(stage: Stage) -> set[str]:
    """What the collector found out by itself."""
    state = stage.collector_state
    store = open_store(f"sqlite:///{state}/collector.db", f"sqlite:///{state}/keystore.db")
    try:
        with store.read() as connection:
            return set(connection.execute(select(tables.collector_facts.c.kind)).scalars())
    finally:
        store.close()


def keeps(chaos: Chaos, more: int) -> None:
    """Until the device has kept so many events more."""
    before = len(chaos.journalled("kept"))
    until(lambda: len(chaos.journalled("kept")) >= before + more, 60, "events are kept")


def ends_sound(stage: Stage) -> None:
    stage.stop_agent()
    stage.stop_collector()
    stage.collect("fsck")


@pytest.mark.seeds(short=1, long=10)
def test_slow_half_open_cut_and_intercepted_links_lose_nothing(
    make_stage: Callable[[str], Stage], tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    link = BadLink(tmp_path, chance)
    try:
        stage = make_stage("school")
        stage.uplink_listens = link.target = stage.uplink_port
        stage.uplink_port = link.port
        ready(stage)
        chaos = Chaos(stage, chance, most=10)
        chaos.start_agent()
        keeps(chaos, 10)
        deadline = time.monotonic() + 180
        while len(link.fates) < 4 and time.monotonic() < deadline:
            time.sleep(chance.uniform(0.5, 4))
            link.drop_all()
        link.mend()
        chaos.settle(600)
        kept, stored = chaos.account()
        print(f"{kept} kept, {stored} stored, connections {dict(link.fates)}")
        assert len(link.fates - Counter(good=link.fates["good"])) >= 3, "the link was hardly bad"
        ends_sound(stage)
    finally:
        link.close()


@pytest.mark.seeds(short=1, long=10)
def test_a_clone_is_found_and_neither_loses_anything_uncounted(
    make_stage: Callable[[str], Stage], tmp_path: Path, seed: int
) -> None:
    """A copy of the device's disk, in another machine (even seeds) or in the same one; both run at once."""
    if not seed % 2 and os.geteuid() != 0:
        pytest.skip("needs root: gives the copy another machine's id")
    chance = random.Random(seed)
    stage, copy = make_stage("school"), make_stage("copy")
    ready(stage)
    chaos, twin = Chaos(stage, chance, most=5), Chaos(copy, chance, most=5)
    chaos.start_agent()
    keeps(chaos, chance.randint(5, 100))
    if chance.random() < 0.5:
        stage.stop_agent()
    else:
        stage.kill_agent()
    shutil.copytree(stage.state, copy.state)
    if not seed % 2:
        other = tmp_path / "machine-id"
        other.write_text(f"{chance.getrandbits(128):032x}\n")
        copy.prefix = (*SECOND_MACHINE, str(other))
    twin.journal.write_text("try 1000000\n")
    chaos.start_agent()
    twin.start_agent()
    for one in (chaos, twin):
        keeps(one, chance.randint(50, 200))
    chaos.settle(600)
    twin.settle(600)
    assert facts(stage) & {"clone.seen", "conflict"}, "nobody noticed"

    stored = Counter(n for item in stage.stored() if (n := number_of(item.event.body)) is not None)
    assert max(stored.values()) == 1, "stored twice"
    kept = chaos.journalled("kept") | twin.journalled("kept")
    missing = kept - set(stored)
    aside = set_aside(stage) + set_aside(copy)
    print(f"{len(kept)} kept, {len(stored)} stored, {len(missing)} of {aside} set aside")
    assert len(missing) <= aside, f"lost: {sorted(missing)[:10]}"
    copy.stop_agent()
    ends_sound(stage)


def set_aside(stage: Stage) -> int:
    spool = stage.status()["spool"]
    assert isinstance(spool, dict)
    return int(spool["set_aside_events"])


@pytest.mark.seeds(short=1, long=8)
def test_a_collector_restored_from_an_older_backup_gets_again_what_it_lost(
    make_stage: Callable[[str], Stage], seed: int
) -> None:
    chance = random.Random(seed)
    stage = make_stage("school")
    ready(stage)
    chaos = Chaos(stage, chance, most=3)
    chaos.start_agent()
    for _ in range(1 if seed == 0 else chance.randint(1, 2)):
        keeps(chaos, chance.randint(5, 60))
        until(lambda: verified(stage) > 0, 60, "the first events are proved")
        backup(stage, stage.folder / "backup")
        known = verified(stage)
        keeps(chaos, chance.randint(40, 120))
        # Only what was proved to the device can be missed by it: what was not, it sends again unasked.
        until(lambda known=known: verified(stage) > known + 5, 60, "more was proved after the backup")
        if chance.random() < 0.5:
            stage.stop_collector()
        else:
            stage.kill_collector()
        restore(stage, stage.folder / "backup")
        stage.start_collector()
        until(lambda: "ledger.history_lost" in facts(stage), 90, f"the loss is noticed\n{stage.logs()}")
        keeps(chaos, chance.randint(1, 30))
        stage.stop_collector()
        recover(stage)
        stage.start_collector()
        # A device that was told to wait for the officers asks again after minutes: this one is switched off and on.
        stage.stop_agent()
        chaos.start_agent()
    chaos.settle(600)
    kept, stored = chaos.account()
    print(f"{kept} kept, {stored} stored")
    ends_sound(stage)


def verified(stage: Stage) -> int:
    """How many entries of the ledger the device has had proved."""
    return int(str(stage.status()["ledger_size"]))


def backup(stage: Stage, folder: Path) -> None:
    """Of a collector that runs, by SQLite's own means."""
    folder.mkdir(exist_ok=True)
    for name in ("collector.db", "keystore.db"):
        (folder / name).unlink(missing_ok=True)
        source, target = (
            sqlite3.connect(stage.collector_state / name, timeout=60),
            sqlite3.connect(folder / name),
        )
        source.backup(target)
        source.close()
        target.close()


def restore(stage: Stage, folder: Path) -> None:
    """As new files: the console's process may live on for a moment, with the old ones open."""
    for name in ("collector.db", "keystore.db"):
        for tail in ("", "-wal", "-shm"):
            (stage.collector_state / f"{name}{tail}").unlink(missing_ok=True)
        shutil.copy(folder / name, stage.collector_state / name)


def recover(stage: Stage) -> None:
    """Two officers open a new generation of the ledger."""
    keys = sorted((stage.collector_state / "offline").rglob("*.key"))
    officers = [next(k for k in keys if k.stem.startswith(name)) for name in ("dsl", "technician")]
    arguments = [f"--officer-key={path}" for path in officers]
    assert "is open" in stage.collect("recover", "--reason", "the disk died", *arguments)
