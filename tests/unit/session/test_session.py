"""What the service says reaches the person: over a real socket, a real bus, a real terminal."""

import asyncio
import contextlib
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from dbus_fast.aio import MessageBus

from fakes.notification_daemon import NotificationDaemon
from schoolkeeper_agent.seams import Tell
from schoolkeeper_agent.session import lines, show
from schoolkeeper_agent.session.lines import (
    SOCKET_NAME,
    Answer,
    Ask,
    AskLately,
    Because,
    LineMistake,
    Outcome,
    Reply,
    Words,
)
from schoolkeeper_agent.session.server import (
    MAX_STRANGERS,
    PAUSE_SECONDS,
    Peer,
    SessionServer,
    _Helper,
)

pytestmark = pytest.mark.anyio
TELL = Tell(title="game is not allowed here", text="Ask Mr Lee.", session_id="c2")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SessionServer]:
    tmp_path.chmod(0o755)
    running = SessionServer(
        tmp_path,
        user_of=lambda session: {"c2": os.getuid()}.get(session, 4711),
        terminals=lambda _: [],
        answer_seconds=20,
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


async def joined(server: SessionServer, count: int = 1, *, limit: float = 60) -> None:
    async with asyncio.timeout(limit):
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
        assert (
            await asyncio.to_thread(one.stdout.readline)
            == "could not be shown here: game is not allowed here\n"
        )
        assert await asyncio.to_thread(one.stdout.readline) == "Ask Mr Lee.\n"


async def test_a_helper_comes_back_when_the_service_was_restarted(tmp_path: Path) -> None:
    with helper(tmp_path) as one:
        for title in ("first", "second"):
            server = SessionServer(tmp_path, terminals=lambda _: [])
            await server.start()
            await joined(server, limit=120)
            await server.tell(Tell(title=title, text="-"))
            assert one.stdout is not None
            assert await asyncio.to_thread(one.stdout.readline) == f"could not be shown here: {title}\n"
            await asyncio.to_thread(one.stdout.readline)
            await server.close()


async def test_a_helper_believes_only_the_services_own_account(server: SessionServer, tmp_path: Path) -> None:
    with helper(tmp_path, service_user=os.getuid() + 1) as one:
        assert one.stderr is not None
        assert "is not the school's service" in await asyncio.to_thread(one.stderr.readline)


async def test_a_flood_of_connections_and_one_that_does_not_read_harm_nobody(tmp_path: Path) -> None:
    server = SessionServer(tmp_path, terminals=lambda _: [], answer_seconds=0.2)
    await server.start()
    connections = [await asyncio.open_unix_connection(tmp_path / SOCKET_NAME) for _ in range(20)]
    await joined(server, 8)
    for reader, _ in connections[8:]:
        assert await asyncio.wait_for(reader.read(), 30) == b"", (
            "more than eight of one account are turned away"
        )
    assert len(server.peers) == 8
    for _ in range(3000):  # nobody reads, nobody answers
        await server.tell(Tell(title="t" * 150, text="x" * 1000))
    assert server.not_said == 3000, "what nobody showed is counted"
    connections[0][1].write(b"x" * 1_000_000)
    async with asyncio.timeout(30):
        while len(server.peers) > 7:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for _, writer in connections:
        writer.close()
    await server.close()


@contextlib.asynccontextmanager
async def session_bus(folder: Path) -> AsyncIterator[str]:
    """A real session bus of this test's own; yields its address."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon is not installed (`make lab` installs it)")
    command = ["dbus-daemon", "--session", "--nofork", "--print-address", f"--address=unix:path={folder}/bus"]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert daemon.stdout is not None
        yield (await asyncio.to_thread(daemon.stdout.readline)).strip()
    finally:
        daemon.terminate()
        daemon.communicate()


async def test_a_desktop_shows_it_as_a_notification(server: SessionServer, tmp_path: Path) -> None:
    async with session_bus(tmp_path) as bus, NotificationDaemon.serving(bus) as desktop:
        with helper(tmp_path, bus=bus):
            await joined(server)
            await server.tell(TELL)
        (shown,) = desktop.shown
        assert (shown.title, shown.text) == ("game is not allowed here", "Ask Mr Lee.")
        assert server.not_said == 0


class Counter:
    """A desk that notes who asks for what, and replies."""

    def __init__(self) -> None:
        self.asked_for: list[tuple[int, Ask | AskLately]] = []

    async def asked(self, user_id: int, request: Ask | AskLately) -> Reply:
        self.asked_for.append((user_id, request))
        return Reply(outcome=Outcome.KEPT, text="It is kept.")


async def _shown(desktop: NotificationDaemon, count: int) -> None:
    async with asyncio.timeout(60):
        while len(desktop.shown) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_button_below_a_refusal_asks_once_and_for_that_rule(tmp_path: Path) -> None:
    desk = Counter()
    server = SessionServer(tmp_path, user_of=lambda _: os.getuid(), terminals=lambda _: [], desk=desk)
    await server.start()
    refused = replace(TELL, rule_id="games", askable=True)
    async with session_bus(tmp_path) as bus, NotificationDaemon.serving(bus) as desktop:
        with helper(tmp_path, bus=bus):
            await joined(server)
            for tell in (refused, replace(TELL, rule_id="games")):
                await server.tell(tell)
            assert [one.actions for one in desktop.shown] == [("ask", "Ask for an exception"), ()]
            assert desktop.shown[0].text == "Ask Mr Lee.", "with a button, nobody needs a command"
            desktop.press(desktop.shown[1].number)
            desktop.press(desktop.shown[0].number, "another")
            async with await_bus(bus) as stranger:  # any program of the session may send signals
                stranger.press(desktop.shown[0].number)
                await server.tell(TELL)
                assert desk.asked_for == []
            desktop.press(desktop.shown[0].number)
            desktop.press(desktop.shown[0].number)
            await _shown(desktop, 4)
            assert (desktop.shown[3].title, desktop.shown[3].text) == ("Your request", "It is kept.")
            await asyncio.sleep(2 * PAUSE_SECONDS)
            assert desk.asked_for == [(os.getuid(), Ask(rule_id="games", because=Because.OTHER))]

            await server.close()
            await asyncio.sleep(0.1)
            desktop.press(desktop.shown[0].number)
            assert len(desktop.shown) == 4


@contextlib.asynccontextmanager
async def await_bus(address: str) -> AsyncIterator[NotificationDaemon]:
    """Another program on the bus, which shows nothing and signals as if it had."""
    connection = await MessageBus(bus_address=address).connect()
    try:
        yield NotificationDaemon(connection)
    finally:
        connection.disconnect()


async def test_without_buttons_the_command_is_named(tmp_path: Path) -> None:
    """On a desktop that shows none, and on a terminal."""
    ours, theirs = pty.openpty()
    server = SessionServer(
        tmp_path,
        user_of=lambda _: os.getuid(),
        terminals=lambda _: [Path(os.ttyname(theirs))],
        answer_seconds=20,
    )
    await server.start()
    refused = replace(TELL, rule_id="games", askable=True)
    await server.tell(refused)
    assert b"schoolkeeper-agent ask games" in os.read(ours, 4096)
    await server.tell(replace(refused, askable=False))
    assert b"schoolkeeper-agent ask" not in os.read(ours, 4096), (
        "nothing was refused: there is nothing to ask for"
    )
    async with session_bus(tmp_path) as bus, NotificationDaemon.serving(bus) as desktop:
        desktop.capabilities = ("body",)
        with helper(tmp_path, bus=bus):
            await joined(server)
            await server.tell(refused)
        (shown,) = desktop.shown
        assert shown.actions == ()
        assert shown.text == "Ask Mr Lee.\nTo ask for an exception: schoolkeeper-agent ask games"
    await server.close()
    os.close(ours)
    os.close(theirs)


async def test_a_message_to_an_account_reaches_that_account_alone(tmp_path: Path) -> None:
    told: list[int] = []

    def terminals(user_id: int) -> list[Path]:
        told.append(user_id)
        return []

    server = SessionServer(tmp_path, terminals=terminals)
    await server.start()
    with helper(tmp_path) as one:
        await joined(server)
        await server.tell(Tell(title="not for this one", text="x", user_id=os.getuid() + 1))
        await server.tell(Tell(title="for this one", text="x", user_id=os.getuid()))
        assert one.stdout is not None
        assert await asyncio.to_thread(one.stdout.readline) == "could not be shown here: for this one\n"
    assert told == [os.getuid() + 1, os.getuid()]
    await server.close()


async def test_user_ids_without_a_session_take_no_place_of_those_who_have_one(tmp_path: Path) -> None:
    """Here everybody has the same user id: first a stranger's, and then it is signed in."""
    signed_in: set[int] = set()
    server = SessionServer(tmp_path, terminals=lambda _: [], known=lambda user: user in signed_in)
    nowhere = cast(asyncio.StreamWriter, None)
    strangers = [
        _Helper(peer=Peer(process_id=1, user_id=3_000_000 + n), writer=nowhere) for n in range(MAX_STRANGERS)
    ]
    server._helpers += strangers
    await server.start()
    turned_away, _ = await asyncio.open_unix_connection(tmp_path / SOCKET_NAME)
    assert await asyncio.wait_for(turned_away.read(), 30) == b""
    signed_in.add(os.getuid())
    _, writer = await asyncio.open_unix_connection(tmp_path / SOCKET_NAME)
    await joined(server, MAX_STRANGERS + 1)
    writer.close()
    for one in strangers:
        server._helpers.remove(one)
    await server.close()


@pytest.mark.parametrize("desktop", ["none", "refuses", "hangs"])
async def test_a_desktop_that_shows_nothing_is_not_taken_for_one_that_does(
    tmp_path: Path, desktop: str
) -> None:
    """The helper is there and its bus is there, and still nobody would have seen it: the terminal gets it."""
    tmp_path.chmod(0o755)
    ours, theirs = pty.openpty()
    places = {os.getuid(): [Path(os.ttyname(theirs))]}
    server = SessionServer(
        tmp_path,
        user_of=lambda session: os.getuid() if session else -1,
        terminals=lambda user: places.get(user, []),
        answer_seconds=20,
    )
    await server.start()
    try:
        async with contextlib.AsyncExitStack() as stack:
            bus = await stack.enter_async_context(session_bus(tmp_path))
            if desktop != "none":
                daemon = await stack.enter_async_context(NotificationDaemon.serving(bus))
                daemon.behaviour = desktop
            stack.enter_context(helper(tmp_path, bus=bus))
            await joined(server)
            for tell in (TELL, replace(TELL, session_id="")):
                await server.tell(tell)
                assert b"game is not allowed here" in os.read(ours, 4096)
            assert server.not_said == 0
            places.clear()
            await server.tell(TELL)
            assert server.not_said == 1, "no desktop, no terminal: nobody was told, and that is said"
    finally:
        await server.close()
        os.close(ours)
        os.close(theirs)


async def test_a_helper_that_does_not_answer_is_waited_for_once_and_again_when_it_does(
    tmp_path: Path,
) -> None:
    server = SessionServer(tmp_path, terminals=lambda _: [], answer_seconds=0.3)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET_NAME)
    await joined(server)
    await server.tell(TELL)
    server._answer_seconds = 3_600  # it is not waited for again
    await server.tell(TELL)
    assert server.not_said == 2
    numbers = [words_of(await reader.readline()).number for _ in range(2)]
    writer.write(lines.write_answer(Answer(number=numbers[0], shown=True)))

    async def answer_all() -> None:
        while line := await reader.readline():
            writer.write(lines.write_answer(Answer(number=words_of(line).number, shown=True)))

    answering = asyncio.create_task(answer_all())
    await _until_told(server)
    answering.cancel()
    await asyncio.wait([answering])
    writer.write(lines.write_answer(Answer(number=999, shown=True)))
    assert await asyncio.wait_for(reader.read(), 30) == b"", "an answer to nothing ends the connection"
    await server.close()


def words_of(line: bytes) -> Words:
    said = lines.read(line)
    assert isinstance(said, Words)
    return said


async def _until_told(server: SessionServer) -> None:
    """Tells until a message reaches somebody."""
    async with asyncio.timeout(30):
        while True:
            before = server.not_said
            await server.tell(TELL)
            if server.not_said == before:
                return


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
    assert words_of(line).title.endswith("…")
    assert lines.read_peer(lines.write_answer(Answer(number=7, shown=False))) == Answer(number=7, shown=False)
    for wrong in (
        b"",
        b"[]",
        b'{"number": 1}',
        b'{"number": true, "shown": true}',
        b'{"number": -1, "shown": true}',
    ):
        with pytest.raises(LineMistake):
            lines.read_peer(wrong)
    for wrong in (
        b"",
        b"{}",
        b"[]",
        b'{"outcome": "won", "text": ""}',
        b'{"title": 1, "text": ""}',
        b"\xff",
        b"[" * 100_000,
    ):
        with pytest.raises(LineMistake):
            lines.read(wrong)
