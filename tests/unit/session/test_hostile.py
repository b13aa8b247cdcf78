"""A hostile program in a person's session, as a real process: it speaks as nobody else, and silences nobody unseen."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent.seams import Tell
from schoolkeeper_agent.session import silenced as silencing
from schoolkeeper_agent.session.lines import SOCKET_NAME
from schoolkeeper_agent.session.own import CGROUP, is_own
from schoolkeeper_agent.session.server import MAX_HELPERS_PER_USER, SessionServer
from schoolkeeper_agent.session.silenced import AGAIN_MS, CROWDED, ENDED, Silenced
from schoolkeeper_proto import model
from support.patience import eventually

pytestmark = pytest.mark.anyio
ME = os.getuid()
TELL = Tell(title="game is not allowed here", text="Ask Mr Lee.", user_id=ME)
LIAR = """
import json, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
print("here", flush=True)
for line in connection.makefile("rb"):
    connection.sendall(json.dumps({"number": json.loads(line)["number"], "shown": True}).encode() + b"\\n")
"""
CROWD = """
import socket, sys, time
held = [socket.socket(socket.AF_UNIX) for _ in range(int(sys.argv[2]))]
for one in held:
    one.connect(sys.argv[1])
print("here", flush=True)
time.sleep(600)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Stage:
    """The service's end; which process is the helper that systemd keeps is said by its id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own: set[int] = set()
        self.events: list[model.Body] = []
        self.here = {ME}
        self.now_ms = 0
        self.terminal = folder / "terminal"
        self.terminal.touch()
        self.silenced = Silenced(self.events.append, lambda user: user in self.here, lambda: self.now_ms)
        self.server = SessionServer(
            folder, terminals=lambda _: [self.terminal], answer_seconds=20,
            is_own=lambda process, user: process in self.own and user == ME, silenced=self.silenced,
        )  # fmt: skip

    @contextlib.contextmanager
    def program(self, code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, self.folder / SOCKET_NAME, *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    @contextlib.asynccontextmanager
    async def helper(self) -> AsyncIterator[subprocess.Popen[bytes]]:
        """The real helper, without a desktop; it is known before it connects, as its cgroup is."""
        code = (
            "import sys; sys.stdin.readline(); from schoolkeeper_agent.session.__main__ import main; main()"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, "--service-user", str(ME), "--socket", self.folder / SOCKET_NAME],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | {"DBUS_SESSION_BUS_ADDRESS": "", "XDG_RUNTIME_DIR": str(self.folder)},
        )  # fmt: skip
        self.own.add(process.pid)
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
        await eventually(lambda: process.pid in self.peers, "the helper is connected")
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    @property
    def peers(self) -> set[int]:
        return {one.process_id for one in self.server.peers}


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(silencing, "SETTLES_SECONDS", 0.05)
    made = Stage(tmp_path)
    await made.server.start()
    yield made
    await made.server.close()


async def connected(stage: Stage, process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == "here\n"


async def test_a_program_that_says_it_showed_everything_keeps_nobody_from_being_told(stage: Stage) -> None:
    with stage.program(LIAR) as liar:
        await connected(stage, liar)
        async with stage.helper() as helper:
            await stage.server.tell(TELL)
            assert "Ask Mr Lee." in stage.terminal.read_text(), "the helper has no desktop here, and said so"
            stage.terminal.write_text("")
            helper.send_signal(signal.SIGKILL)
            await eventually(lambda: helper.pid not in stage.peers, "it is gone")
            await stage.server.tell(TELL)
            assert "Ask Mr Lee." in stage.terminal.read_text(), "nor is the liar believed in its place"


async def test_a_killed_helper_is_seen_once_in_ten_minutes_with_how_often(stage: Stage) -> None:
    for _ in range(3):
        async with stage.helper() as helper:
            helper.send_signal(signal.SIGKILL)
            await eventually(lambda pid=helper.pid: pid not in stage.peers, "it is gone")  # type: ignore[misc]
    times = stage.silenced._times
    await eventually(lambda: times.get((silencing.HELPER, ME)) == 3, "each was counted")
    assert stage.events == [model.SensorFailed(sensor=silencing.HELPER, error=ENDED, restarts=1)]
    stage.now_ms = AGAIN_MS
    async with stage.helper() as helper:
        helper.send_signal(signal.SIGKILL)
        await eventually(lambda: len(stage.events) == 2, "said again")
    assert stage.events[1] == model.SensorFailed(sensor=silencing.HELPER, error=ENDED, restarts=4)


async def test_who_signs_out_takes_the_helper_along_and_nothing_is_said(stage: Stage) -> None:
    async with stage.helper() as helper:
        stage.here.clear()
        helper.send_signal(signal.SIGTERM)
        await eventually(lambda: helper.pid not in stage.peers, "it is gone")
        await asyncio.sleep(0.2)
    assert stage.events == []


async def test_a_crowd_of_connections_keeps_the_helper_out_no_moment_and_is_seen(stage: Stage) -> None:
    with stage.program(CROWD, str(MAX_HELPERS_PER_USER)) as crowd:
        await connected(stage, crowd)
        await eventually(lambda: len(stage.server.peers) == MAX_HELPERS_PER_USER, "all places are taken")
        async with stage.helper():
            reader, writer = await asyncio.open_unix_connection(stage.folder / SOCKET_NAME)
            async with asyncio.timeout(60):
                assert await reader.read() == b""
            writer.close()
    assert stage.events[0] == model.SensorFailed(sensor=silencing.SOCKET, error=CROWDED, restarts=1)


@pytest.mark.parametrize(
    ("listed", "own"),
    [
        ("0::{unit}\n", True),
        ("12:pids:/x\n1:name=systemd:{unit}\n0::{unit}\n", True),
        ("0::{unit}/deeper\n", False),
        ("0::/user.slice/user-{user}.slice/user@{user}.service{unit}\n", False),
        ("0::/user.slice/user-{user}.slice/user@{user}.service/app.slice\n", False),
        ("5:cpu:{unit}\n0::/user.slice\n", False),
        ("", False),
    ],
)
def test_only_the_systems_own_unit_is_the_helper(tmp_path: Path, listed: str, own: bool) -> None:
    folder = tmp_path / str(os.getpid())
    folder.mkdir()
    (folder / "cgroup").write_text(listed.format(unit=CGROUP.format(user_id=1000), user=1000))
    assert is_own(os.getpid(), 1000, tmp_path) is own
    assert not is_own(os.getpid(), 1001, tmp_path), "of another account"
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert not is_own(gone.pid, 1000, tmp_path)
