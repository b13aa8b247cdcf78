"""Programs as they start: real events with root, an honest look now and then without."""

import asyncio
import contextlib
import os
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.observations import Missed, ProcessEnded, ProcessStarted
from schoolkeeper_agent.sensors.linux import proc_connector, process_table, processes
from schoolkeeper_agent.sensors.linux.processes import ProcessSensor
from support.core_playbook import bundle_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextlib.asynccontextmanager
async def running(sensor: ProcessSensor) -> AsyncIterator[list[object]]:
    seen: list[object] = []
    task = asyncio.create_task(sensor.run(seen.append))
    await asyncio.sleep(0.1)
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def started(seen: list[object], process_id: int, path: str = "") -> ProcessStarted:
    async with asyncio.timeout(60):
        while True:
            for one in seen:
                if (
                    isinstance(one, ProcessStarted)
                    and one.process_id == process_id
                    and (not path or one.path == path)
                ):
                    return one
            await asyncio.sleep(0.01)


async def ended(seen: list[object], process_id: int) -> None:
    async with asyncio.timeout(60):
        while ProcessEnded(process_id=process_id) not in seen:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the kernel's process events")
async def test_every_start_and_end_is_told_by_the_kernel(tmp_path: Path) -> None:
    sleep = os.path.realpath("/bin/sleep")
    async with running(ProcessSensor(Context(bundle=bundle_of(), run_dir=tmp_path))) as seen:
        child = subprocess.Popen(["/bin/sleep", "2"])
        one = await started(seen, child.pid, sleep)
        assert (one.parent_process_id, one.user_id, one.account) == (os.getpid(), 0, "root")
        assert not one.already_running
        await asyncio.to_thread(child.wait)
        await ended(seen, child.pid)
        assert (await started(seen, os.getpid())).already_running, "what ran before is told as such"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the kernel's process events")
async def test_what_ended_and_started_while_the_kernel_dropped_events_is_found_by_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop stands still, and the socket holds next to nothing: a program that ends then must not run for ever."""
    monkeypatch.setattr(proc_connector, "RECEIVE_BUFFER", 1)
    async with running(ProcessSensor(Context(bundle=bundle_of(), run_dir=tmp_path))) as seen:
        gone, other = subprocess.Popen(["/bin/sleep", "600"]), None
        try:
            await started(seen, gone.pid, os.path.realpath("/bin/sleep"))
            for _ in range(200):
                subprocess.run(["/bin/true"], check=True)
            gone.kill()
            gone.wait()
            other = subprocess.Popen(["/bin/sleep", "600"])
            await ended(seen, gone.pid)
            assert (await started(seen, other.pid, os.path.realpath("/bin/sleep"))).already_running
            assert [one for one in seen if isinstance(one, Missed)]
            assert [type(one) for one in seen if getattr(one, "process_id", 0) == gone.pid][
                -1
            ] is ProcessEnded
        finally:
            for child in (gone, other):
                if child is not None:
                    child.kill()
                    child.wait()


async def test_without_root_its_own_tree_is_looked_at_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "POLL_S", 0.05)
    context = Context(bundle=bundle_of(), run_dir=tmp_path, has_root=False, root_pid=os.getpid())
    sensor = ProcessSensor(context)
    assert "short ones are missed" in sensor.ability().because
    async with running(sensor) as seen:
        child = subprocess.Popen(["/bin/sleep", "30"])
        try:
            await started(seen, child.pid, os.path.realpath("/bin/sleep"))
        finally:
            child.kill()
            child.wait()
        await ended(seen, child.pid)
        assert not [one for one in seen if isinstance(one, ProcessStarted) and one.process_id == 1]


def packet(what: int, thread: int, process: int, index: int = 1) -> bytes:
    return (
        bytes(16)
        + struct.pack("=IIIIHH", index, 1, 0, 0, 40, 0)
        + struct.pack("=IIQii", what, 0, 0, thread, process)
    )


def test_only_whole_processes_and_only_starts_and_ends_are_read() -> None:
    assert proc_connector.parse(packet(2, 7, 7)) == proc_connector.ProcessEvent(what=2, process_id=7)
    assert proc_connector.parse(packet(2, 8, 7)) is None
    assert proc_connector.parse(packet(1, 7, 7)) is None
    assert proc_connector.parse(packet(2, 7, 7, index=9)) is None
    assert proc_connector.parse(b"short") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the kernel's process events")
async def test_what_nobody_wants_does_not_wake_the_agent() -> None:
    """A fork and its end, threads, a new name: the kernel tells of all that, and only ends reach us."""
    program = (
        "import ctypes, os, threading\n"
        "for _ in range(50):\n"
        "    thread = threading.Thread(target=int); thread.start(); thread.join()\n"
        "    ctypes.CDLL(None).prctl(15, b'named', 0, 0, 0)\n"
    )
    with proc_connector.listen() as connector:
        child = subprocess.run([sys.executable, "-c", program], check=True)
        packets: list[tuple[int, int]] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data = connector.recv(4096)
                what, _, _, thread, process = struct.unpack_from("=IIQii", data, 36)
                packets.append((what, thread - process))
    assert child.returncode == 0
    assert {what for what, _ in packets} == {proc_connector.EXEC, proc_connector.EXIT}
    assert all(difference == 0 for _, difference in packets), "threads came through"


def test_a_process_that_is_gone_and_the_kernels_own_are_left_out() -> None:
    assert process_table.look_up(Path("/proc"), 2**22 - 1) is None
    assert process_table.look_up(Path("/proc"), 2) is None
    assert os.getpid() in process_table.descendants(Path("/proc"), os.getpid())
