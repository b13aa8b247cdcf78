"""The collector as a process on a disk that is full, and on one that fails to sync, while a device delivers.

Nothing acknowledged is lost, nothing is stored twice, and the process goes on once the disk does.
"""

import asyncio
import os
import random
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from schoolkeeper_collector.store import tables
from schoolkeeper_proto import model, wire
from support.collector_process import CollectorProcess
from support.device import SimulatedDevice, started

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]
_LIMIT_S = 240
"""For what takes seconds on an idle machine."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB on ``tmp_path / "state"``."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts a small file system")
    disk = tmp_path / "state"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m,mode=700", "schoolkeeper-test", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[CollectorProcess]:
    collector = CollectorProcess(tmp_path)
    yield collector
    collector.close()


@pytest.fixture
def on_small_disk(small_disk: Path) -> Iterator[CollectorProcess]:
    collector = CollectorProcess(small_disk.parent)
    yield collector
    collector.close()


def rows(collector: CollectorProcess) -> int:
    with collector.store.read() as connection:
        return int(connection.execute(select(func.count()).select_from(tables.events)).scalar_one())


def failures(collector: CollectorProcess) -> float:
    """Group commits that failed so far, as /metrics says."""
    status, words = collector.health("/metrics")
    assert status == 200
    (line,) = [x for x in words.splitlines() if x.startswith("schoolkeeper_commit_failures_total ")]
    return float(line.split()[1])


async def until_failures(collector: CollectorProcess, least: int) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while await asyncio.to_thread(failures, collector) < least:
        assert time.monotonic() < deadline, "no commit failed: the fault did not reach the collector"
        await asyncio.sleep(0.1)


async def until_health(collector: CollectorProcess, status: int, words: str) -> None:
    deadline = time.monotonic() + _LIMIT_S
    while (said := await asyncio.to_thread(collector.health))[0] != status or words not in said[1]:
        assert time.monotonic() < deadline, said
        await asyncio.sleep(0.1)


async def until_told(device: SimulatedDevice, words: str) -> None:
    """The collector counts a failure before its answer has reached the device."""
    deadline = time.monotonic() + _LIMIT_S
    while not any(words in reason for reason in device.reasons):
        assert time.monotonic() < deadline, device.reasons
        await asyncio.sleep(0.05)


@asynccontextmanager
async def delivering(collector: CollectorProcess, device: SimulatedDevice) -> AsyncIterator[None]:
    """Sends what waits, over and over where it is told to, while the body runs; afterwards until all is settled."""
    async with collector.uplink(device) as uplink:
        await uplink.connect()
        sending = asyncio.create_task(uplink.deliver(window=2, max_frames=4))
        try:
            yield
            async with asyncio.timeout(_LIMIT_S):
                await sending
        finally:
            sending.cancel()


async def sound(collector: CollectorProcess, device: SimulatedDevice) -> None:
    """Everything recorded is stored once, by the device's own proofs, by the tables and by fsck."""
    assert (device.stored + device.duplicate, device.refused) == (device.recorded, 0)
    assert rows(collector) == device.recorded
    assert await asyncio.to_thread(collector.stop) == 0
    checked = await asyncio.to_thread(collector.command, "fsck")
    assert (checked.returncode, checked.stdout[:5]) == (0, "sound"), checked.stdout + checked.stderr


@pytest.mark.seeds(short=1, long=10)
async def test_on_a_full_disk_it_acknowledges_nothing_and_goes_on_when_there_is_room(
    on_small_disk: CollectorProcess, seed: int
) -> None:
    """The disk fills up, once or again and again, at some point of a delivery."""
    chance = random.Random(seed)
    collector = on_small_disk
    collector.start()
    device = collector.device()
    ballast = collector.state / "ballast"
    for turn in range(1 if seed == 0 else chance.randint(1, 3)):
        # Hexadecimal of random bytes: what is stored is as large as half of it.
        for _ in range(160 if turn == 0 else 80):
            bodies = [model.AgentStopped(reason=os.urandom(15_000).hex()) for _ in range(2)]
            device.record(bodies, chance.choice(wire.LANES))
        fill(ballast, leave=chance.randint(0, 2 << 20))
        before, stored = await asyncio.to_thread(failures, collector), device.stored
        async with delivering(collector, device):
            await until_failures(collector, int(before) + 2)
            assert device.stored < device.recorded
            assert rows(collector) >= device.stored >= stored
            await until_told(device, "storage failed")
            await until_health(collector, 503, "commits have failed since")
            assert collector.process is not None
            assert collector.process.poll() is None
            ballast.unlink()
        await until_health(collector, 200, "true")
        make_room(collector)
    await sound(collector, device)


def make_room(collector: CollectorProcess) -> None:
    """What was delivered stays: the disk grows for the next turn."""
    subprocess.run(["mount", "-o", f"remount,size={96 << 20}", collector.state], check=True)


@pytest.mark.seeds(short=1, long=6)
async def test_started_on_a_full_disk_it_says_so_and_starts_again_with_room(
    on_small_disk: CollectorProcess, seed: int
) -> None:
    chance = random.Random(seed)
    collector = on_small_disk
    collector.start()
    device = collector.device()
    device.record([started()] * chance.randint(1, 40))
    async with delivering(collector, device):
        pass
    await asyncio.to_thread(collector.kill)
    ballast = collector.state / "ballast"
    fill(ballast, leave=0)
    refused = await asyncio.to_thread(collector.command, "run")
    assert refused.returncode == 2, refused.stderr
    assert refused.stderr.startswith("error: a database cannot be used: database or disk is full. Look at")
    ballast.unlink()
    collector.start()
    device.record([started()] * chance.randint(1, 40))
    async with delivering(collector, device):
        pass
    await sound(collector, device)


@pytest.mark.seeds(short=1, long=12)
async def test_syncs_that_fail_are_told_to_nobody_as_stored(collector: CollectorProcess, seed: int) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace: `make lab` installs it")
    chance = random.Random(seed)
    collector.start()
    assert collector.process is not None
    device = collector.device()
    for _ in range(240):
        device.record([started()] * 3, chance.choice(wire.LANES))
    # Two of them fail within the first eleven syncs: the delivery takes more than that, however commits are grouped.
    fault = f"inject=fsync,fdatasync:error=EIO:when={chance.randint(2, 6)}+{chance.randint(2, 5)}"
    arguments = ["strace", "-f", "--quiet=all", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", fault]
    tracer = subprocess.Popen(
        [*arguments, "-p", str(collector.process.pid)], stderr=subprocess.PIPE, text=True
    )
    try:
        await attached(tracer, collector.process.pid)
        async with delivering(collector, device):
            await until_failures(collector, 2)
            tracer.terminate()
    finally:
        tracer.terminate()
        tracer.wait()
    await sound(collector, device)


async def attached(tracer: subprocess.Popen[str], pid: int) -> None:
    """Until the process is traced; skips where that is not allowed."""
    for _ in range(1200):
        if f"TracerPid:\t{tracer.pid}\n" in Path(f"/proc/{pid}/status").read_text():
            return
        if tracer.poll() is not None:
            assert tracer.stderr is not None
            pytest.skip(f"strace may not attach here: {tracer.stderr.read().strip()}")
        await asyncio.sleep(0.05)
    raise AssertionError("strace did not attach within a minute")


def fill(ballast: Path, *, leave: int) -> None:
    """All of the disk's room but so many bytes."""
    free = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - leave)
