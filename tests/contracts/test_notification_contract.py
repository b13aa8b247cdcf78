"""What a notification daemon does (Desktop Notifications Specification 1.2): a fake one; dunst on a real X server."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from fakes.notification_daemon import NAME, PATH, NotificationDaemon
from schoolkeeper_agent.session.desktop import Desktop
from schoolkeeper_agent.session.lines import Words

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["fake", pytest.param("dunst", marks=pytest.mark.lab)])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The address of a session bus on which notifications are served."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon is not installed (`make lab` installs it)")
    if request.param == "dunst" and not (shutil.which("dunst") and shutil.which("Xvfb")):
        pytest.skip("dunst or Xvfb is not installed (`make lab` installs them)")
    async with AsyncExitStack() as stack:
        # A short path: a socket's has 108 bytes.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sk-bus-")))
        daemon = _started(stack, ["dbus-daemon", "--session", "--nofork", "--print-address=1",
                                  f"--address=unix:path={folder}/bus"])  # fmt: skip
        assert daemon.stdout is not None
        address = (await asyncio.to_thread(daemon.stdout.readline)).strip()
        if request.param == "fake":
            await stack.enter_async_context(NotificationDaemon.serving(address))
        else:
            await _dunst(stack, folder, address)
        yield address


def _started(
    stack: AsyncExitStack, command: list[str], *, hand_over: tuple[int, ...] = (), **environment: str
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | environment, pass_fds=hand_over
    )
    stack.callback(process.communicate)
    stack.callback(process.terminate)
    return process


async def _dunst(stack: AsyncExitStack, folder: Path, address: str) -> None:
    ours, theirs = os.pipe()
    command = ["Xvfb", "-displayfd", str(theirs), "-nolisten", "tcp", "-screen", "0", "640x480x24"]
    _started(stack, command, hand_over=(theirs,))
    os.close(theirs)
    with os.fdopen(ours) as said:
        display = (await asyncio.to_thread(said.readline)).strip()
    _started(
        stack, ["dunst"], DISPLAY=f":{display}", DBUS_SESSION_BUS_ADDRESS=address, XDG_CONFIG_HOME=str(folder)
    )
    watching = await stack.enter_async_context(_connected(address))
    async with asyncio.timeout(60):
        while not await _owned(watching):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@asynccontextmanager
async def _connected(address: str) -> AsyncIterator[MessageBus]:
    bus = await MessageBus(bus_address=address).connect()
    try:
        yield bus
    finally:
        bus.disconnect()


async def _owned(bus: MessageBus) -> bool:
    answer = await bus.call(
        Message(
            destination="org.freedesktop.DBus",
            path="/org/freedesktop/DBus",
            interface="org.freedesktop.DBus",
            member="NameHasOwner",
            signature="s",
            body=[NAME],
        )
    )
    return bool(answer.body[0])


async def _call(bus: MessageBus, member: str, signature: str = "", *body: object) -> Message:
    return await bus.call(
        Message(destination=NAME, path=PATH, interface=NAME, member=member, signature=signature, body=[*body])
    )


async def _notify(bus: MessageBus, title: str, replaces: int = 0) -> int:
    hints = {"urgency": Variant("y", 2)}
    answer = await _call(bus, "Notify", "susssasa{sv}i", "tests", replaces, "", title, "text", [], hints, 0)
    assert answer.message_type is MessageType.METHOD_RETURN, answer.body
    return int(answer.body[0])


async def test_each_notification_has_a_number_and_replacing_keeps_it(bus: str) -> None:
    async with _connected(bus) as client:
        first, second = await _notify(client, "one"), await _notify(client, "two")
        assert 0 < first != second > 0
        assert await _notify(client, "one again", replaces=first) == first


async def test_it_says_who_it_is_and_what_it_can(bus: str) -> None:
    async with _connected(bus) as client:
        said = (await _call(client, "GetServerInformation")).body
        assert len(said) == 4
        assert said[3] == "1.2"
        assert "body" in (await _call(client, "GetCapabilities")).body[0]


async def test_closing_one_is_told_to_all(bus: str) -> None:
    async with _connected(bus) as client:
        closed: asyncio.Queue[int] = asyncio.Queue()

        def hear(message: Message) -> None:
            if message.member == "NotificationClosed":
                closed.put_nowait(message.body[0])

        client.add_message_handler(hear)
        await client.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=[f"interface='{NAME}'"],
            )
        )
        number = await _notify(client, "soon gone")
        await _call(client, "CloseNotification", "u", number)
        assert await asyncio.wait_for(closed.get(), 30) == number


async def test_a_button_that_is_pressed_is_told_with_its_number_and_key(bus: str) -> None:
    """By whoever owns the name, once for each press."""
    pressed: asyncio.Queue[str] = asyncio.Queue()
    desktop = Desktop(bus, pressed.put_nowait)
    assert await desktop.show(Words(title="game is not allowed here", text="Ask Mr Lee.", ask="games"))
    async with _connected(bus) as hand:
        await _press_newest(hand)
        assert await asyncio.wait_for(pressed.get(), 30) == "games"
        await _press_newest(hand)
        await asyncio.sleep(0.2)
        assert pressed.empty()
    desktop.close()


async def _press_newest(hand: MessageBus) -> None:
    """The fake and dunst have a way of their own to be pressed by a program."""
    for name, path, member in (
        ("org.dunstproject.cmd0", "/org/freedesktop/Notifications", "NotificationAction"),
        (f"{NAME}.Hand", PATH, "Press"),
    ):
        signature, body = ("u", [0]) if member == "NotificationAction" else ("", [])
        await hand.call(
            Message(
                destination=NAME, path=path, interface=name, member=member, signature=signature, body=body
            )
        )


async def test_what_the_helper_sends_is_taken(bus: str) -> None:
    desktop = Desktop(bus, lambda _: None)
    assert await desktop.show(Words(title="game is not allowed here", text="Ask Mr Lee."))
    assert await desktop.show(Words(title="game is not allowed here", text="Ask Mr Lee.", ask="games"))
    desktop.close()
