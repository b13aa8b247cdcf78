"""The collector as a process: killed in the middle of commits, stopped, asked by its commands."""

import asyncio
import json
import random
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest
from sqlalchemy import func, select

from schoolkeeper_collector.store import tables
from schoolkeeper_proto import checkpoint, verify, wire
from schoolkeeper_proto.wire import Lane
from support.collector_process import SCHOOL, CollectorProcess
from support.device import ProofFailed, SimulatedDevice, started
from support.patience import eventually

pytestmark = pytest.mark.anyio
KILLS = 4


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[CollectorProcess]:
    collector = CollectorProcess(tmp_path)
    yield collector
    collector.close()


async def deliver_until_dead(collector: CollectorProcess, device: SimulatedDevice) -> int:
    """Sends what waits; a broken stream leaves what was not answered waiting again. Returns batches under way."""
    try:
        async with collector.uplink(device) as uplink:
            await uplink.connect()
            await uplink.deliver(max_frames=3)
    except (grpc.RpcError, ConnectionError, asyncio.CancelledError, asyncio.InvalidStateError):
        pass
    under_way = len(device.flying)
    device.lost()
    return under_way


def answers(devices: list[SimulatedDevice]) -> int:
    """Events that the collector said it has."""
    return sum(device.stored + device.duplicate for device in devices)


def under_way(devices: list[SimulatedDevice], answered: int) -> bool:
    """Whether so many are answered, and more were sent."""
    return answers(devices) >= answered and any(device.flying for device in devices)


@pytest.mark.timeout(600)
@pytest.mark.seeds(short=1, long=8)
async def test_killed_in_the_middle_of_commits_nothing_is_lost_or_stored_twice(
    collector: CollectorProcess, seed: int
) -> None:
    devices = [collector.device() for _ in range(3)]
    chance = random.Random(seed)
    interrupted = 0
    for _ in range(KILLS):
        collector.start()
        for device in devices:
            for _ in range(150):
                device.record([started()] * 10, chance.choice(wire.LANES))
        point = partial(under_way, devices, answers(devices) + chance.randrange(3_000))
        sending = asyncio.gather(*(deliver_until_dead(collector, device) for device in devices))
        await eventually(point, "some of the 4,500 events are answered, and more are under way", 60)
        await asyncio.to_thread(collector.kill)
        interrupted += sum(await sending)
    assert interrupted, "no kill fell into a delivery"
    collector.start()
    for device in devices:
        async with collector.uplink(device) as uplink:
            await uplink.connect()
            await uplink.deliver()
    assert await asyncio.to_thread(collector.stop) == 0
    with collector.store.read() as connection:
        rows = connection.execute(select(func.count()).select_from(tables.events)).scalar()
    assert rows == sum(device.recorded for device in devices)
    assert all(device.stored + device.duplicate == device.recorded for device in devices)
    checked = await asyncio.to_thread(collector.command, "fsck")
    assert (checked.returncode, checked.stdout[:5]) == (0, "sound"), checked.stdout + checked.stderr


async def test_its_commands_say_what_is_so(collector: CollectorProcess) -> None:
    collector.start()
    device = collector.device()
    async with collector.uplink(device) as uplink:
        await uplink.connect()
        device.record([started()] * 3, Lane.CRITICAL)
        await uplink.deliver()
    status, metrics = await asyncio.to_thread(collector.health, "/metrics")
    assert status == 200
    assert "schoolkeeper_events_total 3.0" in metrics
    assert device.identity.device_id.hex() not in metrics
    second = await asyncio.to_thread(collector.command, "run")
    assert second.returncode == 2
    assert "only one may run" in second.stderr
    assert await asyncio.to_thread(collector.stop) == 0

    shown = collector.command("export-proof", "2", "--out", str(collector.folder / "proof.json"))
    assert shown.returncode == 0, shown.stderr
    assert json.loads((collector.folder / "proof.json").read_text())["sequence"] == 1
    command = shown.stdout.partition("check it with schoolkeeper-verify ")[2]
    assert verify.main(command.split()) == 0, "the command that was printed is whole"
    missing = collector.command("export-proof", "99")
    assert (missing.returncode, missing.stderr) == (
        2,
        "error: there is no event 99: it was never stored, or its time is over\n",
    )

    with sqlite3.connect(collector.state / "collector.db") as database:
        database.execute("UPDATE events SET severity = 5 WHERE event_no = 2")
    checked = collector.command("fsck")
    assert checked.returncode == 1
    assert "events: event 2 does not say what its record holds" in checked.stdout
    log = (collector.folder / "log").read_text()
    assert '"event": "collector stops"' in log
    assert device.identity.device_id.hex() not in log


@pytest.mark.timeout(600)
async def test_restored_from_a_backup_it_waits_for_two_officers(collector: CollectorProcess) -> None:
    collector.start()
    device = collector.device()
    async with collector.uplink(device) as uplink:
        await uplink.connect()
        device.record([started()])
        await uplink.deliver()
        with (
            sqlite3.connect(collector.state / "collector.db") as source,
            sqlite3.connect(collector.folder / "backup.db") as target,
        ):
            source.backup(target)
        device.record([started()])
        await uplink.deliver()
    await asyncio.to_thread(collector.stop)
    for name in ("collector.db-wal", "collector.db-shm"):
        (collector.state / name).unlink(missing_ok=True)
    (collector.folder / "backup.db").replace(collector.state / "collector.db")

    collector.start()
    async with collector.uplink(device) as uplink:
        goodbye = await uplink.connect()
        assert isinstance(goodbye, wire.Goodbye)
        assert "schoolkeeper-collector recover" in goodbye.remedy
    status, words = await asyncio.to_thread(collector.health)
    assert (status, "restored from an older backup" in words) == (503, True)
    await asyncio.to_thread(collector.stop)

    officers = sorted((collector.state / "offline").rglob("*.key"))
    dsl, technician = (
        next(path for path in officers if path.stem.startswith(n)) for n in ("dsl", "technician")
    )
    statement = collector.folder / "recovery"
    assert collector.command("recover", "--write", str(statement)).returncode == 2
    drafted = collector.command("recover", "--reason", "the disk died", "--write", str(statement))
    assert drafted.returncode == 0, drafted.stderr
    assert "1 of 2 officers" in _signed_by(collector, statement, dsl)
    assert "generation 2 is open" in _signed_by(collector, statement, technician)

    collector.start()
    async with collector.uplink(device) as uplink:
        try:
            welcome = await uplink.connect()
        except ProofFailed:
            raise AssertionError("another generation needs no proof of consistency") from None
        assert isinstance(welcome, wire.Welcome)
        assert welcome.recovery_entry
        point = checkpoint.parse(welcome.checkpoint)
        assert point.origin == checkpoint.origin_of(SCHOOL, 2)
        device.record([started()])
        await uplink.deliver()
    await asyncio.to_thread(collector.stop)
    assert collector.command("fsck").returncode == 0


def _signed_by(collector: CollectorProcess, statement: Path, key: Path) -> str:
    signed = collector.command("recover-sign", str(statement), "--officer-key", str(key))
    assert signed.returncode == 0, signed.stderr
    opened = collector.command("recover", "--signed", str(statement))
    return opened.stdout + opened.stderr
