"""The agent leaves a device: its reason is written down first, delivered if it can be, and only then it is removed."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fakes.memory_spool import MemorySpool
from fakes.silent_teller import SilentTeller
from schoolkeeper_agent import core
from schoolkeeper_agent.budget import BudgetWatch
from schoolkeeper_agent.cli import main
from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.effects import Heart, Stamp
from schoolkeeper_agent.following import Follower
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.removing import command
from schoolkeeper_agent.removing.command import Heard, NotHeard, tell, unfit, uninstall_main
from schoolkeeper_agent.removing.door import SAID_MS, RemovalDoor
from schoolkeeper_agent.removing.lines import MAX_LINE, MOST_REASON, NAME
from schoolkeeper_agent.seams import Record
from schoolkeeper_agent.spool.contract import Appended, Settlement, Spool, SpoolUnwritable, Wanted
from schoolkeeper_agent.spool.writer import FrameWriter, Hooks
from schoolkeeper_proto import model
from schoolkeeper_proto.wire import Lane
from support.core_playbook import MONDAY_10, bundle_of
from support.patience import eventually
from support.spools import OWNER, TARGET

pytestmark = pytest.mark.anyio
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root removes packages")
needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="there is no dpkg here")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Disk(MemorySpool):
    full = False

    def append(self, lane: Lane, events: object, now: Moment) -> Appended:
        if self.full:
            raise SpoolUnwritable("the disk is full")
        return super().append(lane, events, now)  # type: ignore[arg-type]


class Bench:
    """Real door, heart, core, writer and socket; a spool in memory and a clock that the test moves."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.skipped_ms = 0
        self.spool = Disk(OWNER, TARGET)
        self.events: list[model.Body] = []
        self.parts = Parts(
            settings=cast(Any, SimpleNamespace(run_dir=run_dir)),
            clock=cast(Any, SimpleNamespace(now=self.now)),
            identity=cast(Any, None),
            trust=cast(Any, None),
            policy=cast(Any, None),
            platform="linux",
            chance=lambda: 0.5,
        )
        self.parts.writer = FrameWriter(lambda *_: self.spool, self.now, Hooks())
        self.parts.heart = Heart(
            state=core.initial(bundle_of(), run_id=b"run"),
            writer=self.parts.writer,
            stamp=Stamp(now=self.now, boot_id=bytes(16), skew_ms=lambda _: 0),
            enforcers={},
            teller=SilentTeller(),
            budget=BudgetWatch(1, 1),
            recorded=self._recorded,
        )
        self.follower = Follower(self.parts)
        self.door = RemovalDoor(self.parts, self.follower)

    def now(self) -> Moment:
        ms = time.monotonic_ns() // 1_000_000 + self.skipped_ms
        return Moment(wall_ms=MONDAY_10 + ms, monotonic_ms=ms)

    def _recorded(self, event: Record) -> None:
        self.events.append(event.body)
        self.follower.recorded(event)

    async def say(self, **said: Any) -> Heard:
        request: dict[str, Any] = {"state": "begun", "by": "command", "reason": "", "wait": 0} | said
        return await asyncio.to_thread(lambda: tell(self.run_dir, **request))

    async def deliver(self) -> None:
        """What an uplink does once the collector proved that it holds everything."""

        def settle(spool: Spool) -> None:
            reading = spool.read(Wanted(max_bytes=1 << 20, max_frames=100))
            if reading is not None:
                spool.settle(Settlement(delivered=tuple(f.number for f in reading.frames)), self.now())

        await asyncio.wrap_future(self.parts.writer.call(settle))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    made.parts.writer.start()
    heart = asyncio.create_task(made.parts.heart.run())
    await made.door.start()
    yield made
    heart.cancel()
    await made.door.close()
    await asyncio.to_thread(made.parts.writer.stop)


@pytest.mark.requirement("T-12")
async def test_a_reason_is_on_the_disk_before_the_command_goes_on(bench: Bench) -> None:
    heard = await bench.say(reason="sold, serial 4711")
    assert heard == Heard(delivered=False, pending=1)
    assert bench.events == [model.AgentRemoval(state="begun", by="command", reason="sold, serial 4711")]
    assert bench.spool.usage().pending_events == 1


async def test_it_is_delivered_within_the_time_that_it_may_take(bench: Bench) -> None:
    waiting = asyncio.create_task(bench.say(reason="sold", wait=60))
    await eventually(lambda: bench.spool.usage().pending_events > 0, "it is on the disk")
    await bench.deliver()
    assert await waiting == Heard(delivered=True, pending=0)


async def test_the_package_manager_s_own_knock_says_nothing_new_for_ten_minutes(bench: Bench) -> None:
    await bench.say(reason="sold")
    assert (await bench.say(by="package manager")).known
    assert len(bench.events) == 1
    bench.skipped_ms = SAID_MS + 1
    assert not (await bench.say(by="package manager")).known
    assert bench.events[1] == model.AgentRemoval(state="begun", by="package manager")


async def test_a_removal_that_failed_is_taken_back(bench: Bench) -> None:
    await bench.say(reason="sold")
    await bench.say(reason="sold", state="failed")
    assert [cast(model.AgentRemoval, body).state for body in bench.events] == ["begun", "failed"]
    await bench.say(by="package manager")
    assert len(bench.events) == 3, "a later removal without a reason is no part of the one that failed"


async def test_what_the_disk_does_not_take_is_not_said_to_be_kept(bench: Bench) -> None:
    bench.spool.full = True
    with pytest.raises(NotHeard, match=r"could not write it down: .*full"):
        await bench.say(reason="sold")


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"{}\n",
        b'{"state": "done", "by": "command", "reason": "", "wait": 0}\n',
        b'{"state": "begun", "by": "someone", "reason": "", "wait": 0}\n',
        b'{"state": "begun", "by": "command", "reason": 4, "wait": 0}\n',
        b'{"state": "begun", "by": "command", "reason": "", "wait": "long"}\n',
        b'{"state": "begun", "by": "command", "wait": 0, "reason": "' + b"x" * 301 + b'"}\n',
        b"x" * (MAX_LINE + 10),
    ],
)
async def test_nonsense_is_not_written_down(bench: Bench, line: bytes) -> None:
    def speak() -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.connect(str(bench.run_dir / NAME))
            asking.sendall(line)
            asking.shutdown(socket.SHUT_WR)
            try:
                return asking.recv(100)
            except ConnectionResetError:
                return b""

    assert await asyncio.to_thread(speak) == b""
    assert bench.events == []
    assert (await bench.say(reason="ŵ" * MOST_REASON)).pending == 1, "the next is heard, and the longest fits"


async def test_only_root_may_open_the_socket(bench: Bench) -> None:
    assert (bench.run_dir / NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("reason", "fault"),
    [("", "needs a reason"), ("no", "needs a reason"), ("x" * 301, "301 characters"), ("a\nb c", "one line")],
)
def test_what_is_no_reason_is_refused_before_anything_happens(
    tmp_path: Path, reason: str, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert uninstall_main(tmp_path, tmp_path, reason=reason, wait=0, even_unrecorded=False) == 2
    assert fault in capsys.readouterr().err
    assert unfit("sold, serial 4711") == ""


def test_the_command_needs_a_reason() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["uninstall"])
    assert ended.value.code == 2


def test_a_person_without_rights_is_sent_to_an_administrator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert uninstall_main(tmp_path, tmp_path, reason="it annoys me", wait=0, even_unrecorded=False) == 1
    assert "sudo" in capsys.readouterr().err


def test_the_package_manager_is_not_held_up_where_no_agent_runs(tmp_path: Path) -> None:
    assert command.seen_by_package_manager(tmp_path) == 0


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root of dpkg's own with an empty package of the agent's name: returns its one file."""
    root, tree = tmp_path / "root", tmp_path / "tree"
    for folder in ("info", "updates"):
        (root / "var/lib/dpkg" / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "agent").write_text("here")
    (tree / "DEBIAN/control").write_text(
        "Package: schoolkeeper-agent\nVersion: 1\nArchitecture: all\nMaintainer: t <t@t.invalid>\nDescription: t\n"
    )
    monkeypatch.setenv("DPKG_ROOT", str(root))
    subprocess.run(["dpkg-deb", "--build", tree, tmp_path / "a.deb"], check=True, capture_output=True)
    subprocess.run(["dpkg", "--install", tmp_path / "a.deb"], check=True, capture_output=True)
    return root / "agent"


@needs_root
@needs_dpkg
async def test_it_is_removed_once_the_reason_is_kept(
    bench: Bench, installed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_is_enrolled", lambda _: True)
    done = asyncio.to_thread(
        uninstall_main, bench.run_dir, Path("/state"), reason="sold", wait=0, even_unrecorded=False
    )
    assert await done == 0
    assert not installed.exists()
    said = capfd.readouterr().out
    assert "does NOT have the reason: it waits with 1 undelivered events in /state/spool" in said
    assert "apt purge" in said
    assert bench.events == [model.AgentRemoval(state="begun", by="command", reason="sold")]


@needs_root
@needs_dpkg
async def test_a_removal_that_dpkg_refuses_is_said_to_have_failed(
    bench: Bench, installed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_is_enrolled", lambda _: True)
    prerm = Path(os.environ["DPKG_ROOT"]) / "var/lib/dpkg/info/schoolkeeper-agent.prerm"
    prerm.write_text("#!/bin/sh\nexit 9\n")
    prerm.chmod(0o755)
    done = asyncio.to_thread(
        uninstall_main, bench.run_dir, Path("/state"), reason="sold", wait=0, even_unrecorded=False
    )
    assert await done == 1
    assert installed.exists()
    assert "dpkg did not remove it" in capfd.readouterr().err
    assert [cast(model.AgentRemoval, body).state for body in bench.events] == ["begun", "failed"]


@needs_root
@needs_dpkg
def test_without_a_running_agent_nothing_is_removed_unless_it_is_wanted_all_the_same(
    tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_is_enrolled", lambda _: True)
    assert uninstall_main(tmp_path, tmp_path, reason="sold", wait=0, even_unrecorded=False) == 1
    said = capfd.readouterr().err
    assert "systemctl start schoolkeeper-agent" in said
    assert "--even-unrecorded" in said
    assert installed.exists()
    assert uninstall_main(tmp_path, tmp_path, reason="sold", wait=0, even_unrecorded=True) == 0
    assert "not recorded" in capfd.readouterr().err
    assert not installed.exists()


@needs_root
@needs_dpkg
def test_a_device_of_no_school_has_nobody_to_tell(
    tmp_path: Path, installed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert uninstall_main(tmp_path, tmp_path / "none", reason="sold", wait=0, even_unrecorded=False) == 0
    assert "no school to tell" in capfd.readouterr().out
    assert not installed.exists()


@needs_root
@needs_dpkg
def test_what_was_not_installed_as_a_package_is_not_removed_as_one(
    tmp_path: Path, installed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["dpkg", "--purge", "schoolkeeper-agent"], check=True, capture_output=True)
    assert uninstall_main(tmp_path, tmp_path, reason="sold", wait=0, even_unrecorded=False) == 1
    assert "no package schoolkeeper-agent is installed" in capfd.readouterr().err
