"""A real file system on a loop device: what is written to it is counted, by number and size and nothing else (T-44)."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent import core
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.observations import MediumArrived, MediumWritten, Missed
from schoolkeeper_agent.seams import Record
from schoolkeeper_agent.sensors.linux import media_writes
from schoolkeeper_agent.sensors.linux.fanotify_writes import WriteWatch, Written
from schoolkeeper_agent.sensors.linux.media_writes import MediaWritesSensor
from schoolkeeper_proto import model
from support.core_playbook import MONDAY_10, bundle_of
from support.loop import Loop, loop_device

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def loop() -> Iterator[Loop]:
    with loop_device(64 << 20) as made:
        subprocess.run(["mkfs.ext4", "-q", "-F", "-N", "4096", made.image], check=True)
        yield made


@contextlib.asynccontextmanager
async def mounted(loop: Loop, folder: Path, sensor: MediaWritesSensor) -> AsyncIterator[Path]:
    """Once the sensor has seen it: what is written in the moment before is not counted."""
    place = folder / "stick"
    place.mkdir()
    subprocess.run(["mount", f"/dev/{loop.name}", place], check=True)
    try:
        async with asyncio.timeout(60):
            while not sensor._watched:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)


@contextlib.asynccontextmanager
async def running(
    loop: Loop, folder: Path, window: float = 60.0
) -> AsyncIterator[tuple[list[object], MediaWritesSensor]]:
    seen: list[object] = []
    context = Context(bundle=bundle_of(), run_dir=folder)
    sensor = MediaWritesSensor(context, include=frozenset({loop.name}), window=window)
    task = asyncio.create_task(sensor.run(seen.append))
    await asyncio.sleep(0.05)
    try:
        yield seen, sensor
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.requirement("T-44")
async def test_two_thousand_files_at_once_are_all_counted_when_the_stick_is_taken_out(
    loop: Loop, tmp_path: Path
) -> None:
    async with running(loop, tmp_path) as (seen, sensor):
        async with mounted(loop, tmp_path, sensor) as place:

            def copy() -> None:
                for number in range(2000):
                    (place / f"photo{number}").write_bytes(b"x" * 100)
                (place / "photo1").write_bytes(b"saved again")  # the same file counts once

            await asyncio.to_thread(copy)
            assert not [one for one in seen if isinstance(one, MediumWritten)], (
                "not before its minute is over"
            )
            await asyncio.sleep(0.1)
            await asyncio.to_thread(subprocess.run, ["umount", place], check=True)
        async with asyncio.timeout(60):
            while not seen:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    (told,) = [one for one in seen if isinstance(one, MediumWritten)]
    assert (told.kernel_name, told.files) == (loop.name, 2000)
    assert "photo" not in str(seen)


async def test_a_window_ends_by_itself_and_reading_is_not_writing(loop: Loop, tmp_path: Path) -> None:
    async with (
        running(loop, tmp_path, window=0.2) as (seen, sensor),
        mounted(loop, tmp_path, sensor) as place,
    ):
        (place / "homework").write_bytes(b"x" * 5000)
        (place / "homework").read_bytes()
        async with asyncio.timeout(60):
            while not seen:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert seen[0] == MediumWritten(kernel_name=loop.name, files=1, size=5000)


async def test_another_file_system_is_none_of_its_business(loop: Loop, tmp_path: Path) -> None:
    async with (
        running(loop, tmp_path, window=0.05) as (seen, sensor),
        mounted(loop, tmp_path, sensor) as place,
    ):
        (tmp_path / "elsewhere").write_bytes(b"x")
        (place / "here").write_bytes(b"x")
        async with asyncio.timeout(60):
            while not seen:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
    assert seen == [MediumWritten(kernel_name=loop.name, files=1, size=1)]


async def test_what_the_kernel_could_not_keep_is_said_as_lost(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue of the kernel is the administrator's to size: here what overflow looks like is handed in."""
    real = WriteWatch.read

    def overflowed(self: WriteWatch) -> tuple[list[Written], bool]:
        written, _ = real(self)
        return written, bool(written)

    monkeypatch.setattr(media_writes.WriteWatch, "read", overflowed)
    async with (
        running(loop, tmp_path, window=0.05) as (seen, sensor),
        mounted(loop, tmp_path, sensor) as place,
    ):
        (place / "a").write_bytes(b"x")
        async with asyncio.timeout(60):
            while len(seen) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    (missed,) = [one for one in seen if isinstance(one, Missed)]
    assert not missed.count_known


def test_it_becomes_an_event_with_a_count_and_a_class_of_size() -> None:
    state = core.initial(bundle_of(), run_id=b"r", place=model.Place.ON_SITE)
    medium = model.Medium(kernel_name="sdb", serial="S1", bus="usb")
    state, _ = core.handle(state, MediumArrived(medium=medium, account="ann", user_id=1001), MONDAY_10)
    state, effects = core.handle(state, MediumWritten(kernel_name="sdb", files=3, size=2 << 20), MONDAY_10)
    (told,) = [one for one in effects if isinstance(one, Record)]
    assert told.body == model.MediumCopy(medium=medium, files=3, size_class=model.SizeClass.UNDER_100_MIB)
