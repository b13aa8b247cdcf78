"""The guard does what it is asked by the service alone, by a closed list; what it decides outlives a service."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.linux import media_switch
from schoolkeeper_agent.guard import acts, door, requests
from schoolkeeper_agent.guard.requests import Decide, Limit, MayDecide, Watch
from schoolkeeper_agent.observations import GuardDown, GuardUp, MediumWritten, Missed
from schoolkeeper_agent.sensors.linux.fanotify_writes import WriteWatch
from schoolkeeper_agent.sensors.linux.media_writes import MediaWritesSensor
from schoolkeeper_proto.policy import MatchBy
from support.core_playbook import bundle_of
from support.exec_guard import guard_on, own_file_system, resident_mib, responder_of, rule
from support.guard_unit import GuardUnit, guard_unit
from support.loop import Loop, loop_device
from support.patience import eventually

pytestmark = pytest.mark.anyio
REFUSED = -1


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder() -> Iterator[Path]:
    with own_file_system() as mounted:
        yield mounted


@pytest.fixture
def unit() -> Iterator[GuardUnit]:
    if os.geteuid() != 0:
        pytest.skip("needs root: the guard answers root alone")
    with guard_unit() as running:
        yield running


@pytest.mark.parametrize(
    "request_",
    [Decide(None), Decide(("/a b", "/\udcff")), MayDecide(), Limit("sda", 7, read_only=True), Watch("/x")],
)
def test_what_is_written_is_read(request_: requests.Request) -> None:
    assert requests.read(requests.write(request_)) == request_


@pytest.mark.parametrize(
    "said",
    [
        b"", b"{", b"[]", b'{"ask": "Shell"}', b'{"ask": "MayDecide", "more": 1}', b'{"ask": ["Watch"], "mount": "/x"}',
        b'{"ask": "Decide"}', b'{"ask": "Decide", "mounts": "/"}', b'{"ask": "Decide", "mounts": ["usr"]}',
        b'{"ask": "Limit", "disk": "../sda", "sequence": 1, "read_only": true}',
        b'{"ask": "Limit", "disk": "", "sequence": 1, "read_only": true}',
        b'{"ask": "Limit", "disk": "sda", "sequence": true, "read_only": true}',
        b'{"ask": "Limit", "disk": "sda", "sequence": 1, "read_only": 1}',
        b'{"ask": "Watch", "mount": "/a\\u0000b"}', b'{"ask": "Watch", "mount": 7}',
    ],
)  # fmt: skip
def test_anything_else_is_refused(said: bytes) -> None:
    with pytest.raises(requests.RequestMistake):
        requests.read(said)


def test_the_guard_answers_the_service_alone_and_the_service_believes_the_guard_alone() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: the guard answers root alone")
    with guard_unit(only="/system.slice/schoolkeeper-agent.service") as unit:
        assert unit.door.ask(MayDecide()).error == "only the service may ask"
        stranger = door.Guard(path=unit.door.path, cgroup="/system.slice/another.service")
        assert "somebody else answered" in stranger.ask(MayDecide()).error
    assert "cannot be asked" in unit.door.ask(MayDecide()).error


def test_what_is_no_request_and_a_disk_that_is_no_medium_get_a_reason(unit: GuardUnit) -> None:
    assert unit.door.ask(Watch("no/path")).error == "a mount point is no absolute path"
    assert (
        unit.door.ask(Limit("no-such-disk", 0, read_only=True)).error == "no-such-disk is no removable medium"
    )
    assert "no removable medium is mounted at /" in unit.door.ask(Watch("/")).error
    assert unit.door.ask(MayDecide()).error == ""


async def test_the_guard_s_responder_decides_is_brought_back_and_is_no_child_of_the_service(
    unit: GuardUnit, folder: Path, tmp_path: Path
) -> None:
    async with guard_on(folder, tmp_path, unit.door) as guard:
        assert guard.enforcer.ability().able
        await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
        assert (await guard.execute("game"), await guard.execute("ok")) == (REFUSED, 0)
        await guard.decide_by(rule("r", MatchBy.FILE_NAME, "ok"))
        assert (await guard.execute("game"), await guard.execute("ok")) == (0, REFUSED)
        guardian = guard.enforcer.responder_pid
        assert guardian == unit.started[-1].pid
        assert resident_mib(responder_of(guardian)) <= 16
        os.kill(responder_of(guardian), signal.SIGKILL)
        (down,) = await guard.saw(GuardDown)
        assert isinstance(down, GuardDown)
        assert down.reason == "it was killed by signal 9"
        await guard.saw(GuardUp, 2)
        assert guard.enforcer.responder_pid not in (0, guardian)
        os.kill(guard.enforcer.responder_pid, signal.SIGKILL)
        await guard.saw(GuardDown, 2)
        await guard.saw(GuardUp, 3)
        assert await guard.execute("ok") == REFUSED
        await guard.decide_by()
        assert guard.enforcer.responder_pid == 0, "nothing is restricted: nothing needs to run"


async def test_it_goes_on_deciding_until_the_next_service_took_over_and_nothing_it_said_is_lost(
    unit: GuardUnit, folder: Path, tmp_path: Path
) -> None:
    """An upgrade: the old service ends in order, and between it and the next one no moment is undecided."""
    async with guard_on(folder, tmp_path, unit.door) as before:
        await before.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
        old = before.enforcer.responder_pid
        assert await before.execute("game") == REFUSED
    assert await before.execute("game") == REFUSED
    reported = len(before.seen)
    async with guard_on(folder, tmp_path, unit.door) as after:
        await after.decide_by(rule("r", MatchBy.FILE_NAME, "ok"))
        ended = next(one for one in unit.started if one.pid == old)
        await eventually(lambda: ended.poll() is not None, "the old responder ends once the new one decides")
        assert (await after.execute("ok"), await after.execute("game")) == (REFUSED, 0)
        (missed,) = await after.saw(Missed)
        assert isinstance(missed, Missed)
        judged = sum(type(one).__name__ == "ExecutionJudged" for one in before.seen)
        assert judged + missed.count == 2, "each refusal is reported or counted"
        assert len(before.seen) == reported


@pytest.fixture
def stick() -> Iterator[Loop]:
    with loop_device(32 << 20) as made:
        subprocess.run(["mkfs.ext4", "-q", "-F", made.image], check=True)
        yield made


@pytest.fixture
def sys_root(stick: Loop, tmp_path: Path) -> Path:
    """The loop device as sysfs would show it if it were a stick."""
    disk = tmp_path / "sys/block" / stick.name
    disk.mkdir(parents=True)
    number = Path(f"/sys/block/{stick.name}/dev").read_text().strip()
    (disk / "dev").write_text(number)
    (disk / "diskseq").write_text("41\n")
    (disk / "removable").write_text("1\n")
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block" / number).symlink_to(disk)
    return tmp_path / "sys"


def test_a_medium_is_made_read_only_and_writable_and_another_one_of_its_name_is_left_alone(
    stick: Loop, sys_root: Path, tmp_path: Path
) -> None:
    place = tmp_path / "stick"
    place.mkdir()
    subprocess.run(["mount", f"/dev/{stick.name}", place], check=True)
    try:
        with pytest.raises(acts.NotDone, match="another medium by now"):
            acts.limit(Limit(stick.name, 40, read_only=True), sys_root)
        (place / "before").touch()
        assert acts.limit(Limit(stick.name, 41, read_only=True), sys_root) == ""
        with pytest.raises(OSError, match="Read-only"):
            (place / "after").touch()
    finally:
        subprocess.run(["umount", place], check=True)
    assert acts.limit(Limit(stick.name, 41, read_only=False), sys_root) == ""
    assert Path(f"/sys/block/{stick.name}/ro").read_text() == "0\n"


async def test_writes_are_counted_by_a_descriptor_that_the_guard_made(
    stick: Loop, sys_root: Path, tmp_path: Path
) -> None:
    place, seen = tmp_path / "stick", list[object]()
    place.mkdir()

    class Here(door.Guard):
        def ask(self, request: requests.Request, seconds: float = 0) -> door.Answer:
            assert isinstance(request, Watch)
            return door.Answer(descriptor=acts.watch(request, sys_root))

    context = Context(bundle=bundle_of(), run_dir=tmp_path, sys_root=sys_root, guard=Here(path=tmp_path))
    sensor = MediaWritesSensor(context, window=0.05)
    running = asyncio.create_task(sensor.run(seen.append))
    subprocess.run(["mount", f"/dev/{stick.name}", place], check=True)
    try:
        await eventually(lambda: bool(sensor._watched), "the medium is watched")
        (place / "homework").write_bytes(b"x" * 5000)
        await eventually(lambda: bool(seen), "it is told")
        assert seen == [MediumWritten(kernel_name=stick.name, files=1, size=5000)]
    finally:
        await asyncio.to_thread(lambda: subprocess.run(["umount", "--lazy", place], check=True))
        running.cancel()
        await asyncio.wait([running])


def test_a_file_that_cannot_be_looked_at_leaves_no_descriptor_open(
    stick: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "stick"
    place.mkdir()
    subprocess.run(["mount", f"/dev/{stick.name}", place], check=True)
    try:
        watch = WriteWatch(str(place), media_switch.watch_writes(str(place)))
        for name in ("a", "b", "c"):
            (place / name).touch()
        held = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

        def gone(_: int) -> os.stat_result:
            raise OSError("the stick is gone")

        with monkeypatch.context() as patched:
            patched.setattr("schoolkeeper_agent.sensors.linux.fanotify_writes.os.fstat", gone)
            written, lost = watch.read()
        assert (written, lost) == ([], True)
        assert len(os.listdir("/proc/self/fd")) == held  # noqa: PTH208
        watch.close()
    finally:
        subprocess.run(["umount", place], check=True)
