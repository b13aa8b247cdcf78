"""What the service says reaches the person: over a real socket, a real bus, a real terminal."""

import asyncio
import contextlib
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent.seams import Tell
from schoolkeeper_agent.session import lines, show
from schoolkeeper_agent.session.lines import LineMistake, Words
from schoolkeeper_agent.session.server import SOCKET_NAME, SessionServer

pytestmark = pytest.mark.anyio
TELL = Tell(title="game is not allowed here", text="Ask Mr Lee.", session_id="c2")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SessionServer]:
    tmp_path.chmod(0o755)
    running = SessionServer(
        tmp_path, user_of=lambda session: {"c2": os.getuid()}.get(session, 4711), terminals=lambda _: []
    )
    await running.start()
    yield running
    await running.close()


@contextlib.contextmanager
def helper(
    folder: Path, *, bus: str = "", service_user: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A real helper process; without a bus it speaks on its standard output (it has no terminal)."""
    user = os.getuid() if service_user is None else service_user
    environment = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": bus, "XDG_RUNTIME_DIR": str(folder)}
    command = [sys.executable, "-m", "schoolkeeper_agent.session", "--service-user", str(user)]
    process = subprocess.Popen(
        [*command, "--socket", folder / SOCKET_NAME],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


async def joined(server: SessionServer, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while len(server.peers) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_words_reach_the_helper_of_the_session_and_no_other(
    server: SessionServer, tmp_path: Path
) -> None:
    with helper(tmp_path) as one:
        await joined(server)
        (peer,) = server.peers
        assert (peer.process_id, peer.user_id) == (one.pid, os.getuid())
        await server.tell(Tell(title="for somebody else", text="x", session_id="c9"))
        assert server.not_said == 1
        await server.tell(TELL)
        assert one.stdout is not None
        assert await asyncio.to_thread(one.stdout.readline) == "game is not allowed here\n"
        assert await asyncio.to_thread(one.stdout.readline) == "Ask Mr Lee.\n"


async def test_a_helper_comes_back_when_the_service_was_restarted(tmp_path: Path) -> None:
    with helper(tmp_path) as one:
        for title in ("first", "second"):
            server = SessionServer(tmp_path, terminals=lambda _: [])
            await server.start()
            await joined(server)
            await server.tell(Tell(title=title, text="-"))
            assert one.stdout is not None
            assert await asyncio.to_thread(one.stdout.readline) == f"{title}\n"
            await asyncio.to_thread(one.stdout.readline)
            await server.close()


async def test_a_helper_believes_only_the_services_own_account(server: SessionServer, tmp_path: Path) -> None:
    with helper(tmp_path, service_user=os.getuid() + 1) as one:
        assert one.stderr is not None
        assert "is not the school's service" in await asyncio.to_thread(one.stderr.readline)


async def test_a_flood_of_connections_and_one_that_does_not_read_harm_nobody(
    server: SessionServer, tmp_path: Path
) -> None:
    connections = [await asyncio.open_unix_connection(tmp_path / SOCKET_NAME) for _ in range(20)]
    await asyncio.sleep(0.1)
    assert len(server.peers) == 8
    connections[0][1].write(b"x" * 1_000_000)
    for _ in range(3000):  # nobody reads
        await server.tell(Tell(title="t" * 150, text="x" * 1000, session_id="c2"))
    assert server.not_said > 0, "what does not fit is counted"
    for _, writer in connections:
        writer.close()


@pytest.mark.skipif(
    shutil.which("dbus-daemon") is None, reason="dbus-daemon is not installed (`make lab` installs it)"
)
async def test_a_desktop_shows_it_as_a_notification(server: SessionServer, tmp_path: Path) -> None:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

    command = [
        "dbus-daemon",
        "--session",
        "--nofork",
        "--print-address",
        f"--address=unix:path={tmp_path}/bus",
    ]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert daemon.stdout is not None
        address = (await asyncio.to_thread(daemon.stdout.readline)).strip()
        desktop = await MessageBus(bus_address=address).connect()
        shown: asyncio.Queue[list[object]] = asyncio.Queue()

        def notify(message: Message) -> Message | None:
            if message.member != "Notify":
                return None
            shown.put_nowait(message.body)
            return Message.new_method_return(message, "u", [1])

        desktop.add_message_handler(notify)
        await desktop.request_name("org.freedesktop.Notifications")
        with helper(tmp_path, bus=address):
            await joined(server)
            await server.tell(TELL)
            body = await asyncio.wait_for(shown.get(), 10)
        assert body[3:5] == ["game is not allowed here", "Ask Mr Lee."]
        desktop.disconnect()
    finally:
        daemon.terminate()
        daemon.communicate()


async def test_without_a_helper_the_persons_terminal_gets_it(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        server = SessionServer(tmp_path, terminals=lambda _: [Path(os.ttyname(theirs))])
        await server.tell(Tell(title="Hello\x1b[2J", text="there"))
        said = os.read(ours, 4096)
        assert b"Schoolkeeper: Hello" in said
        assert b"\x1b" not in said, "nobody's words move the cursor"
        assert server.not_said == 0
        assert Path(os.ttyname(theirs)) in show.terminals_of(os.getuid())
    finally:
        os.close(ours)
        os.close(theirs)


def test_lines_are_bounded_and_what_is_none_is_refused() -> None:
    line = lines.write(Words(title="t" * 9999, text="é\n" * 9999))
    assert line.count(b"\n") == 1
    assert len(line) < lines.MAX_LINE * 2
    assert lines.read(line).title.endswith("…")
    for wrong in (b"", b"{}", b"[]", b'{"title": 1, "text": ""}', b"\xff", b"[" * 100_000):
        with pytest.raises(LineMistake):
            lines.read(wrong)
