"""What BlueZ's adapters do (org.bluez.Adapter(5)), as our enforcer counts on it, on a real D-Bus daemon.

The real bluetoothd needs a radio, or the kernel's emulation of one (/dev/vhci): here only the fake is asked.
"""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from fakes.bluez import ADAPTER, NAME, OBJECTS, PROPERTIES, FakeBluez
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import KeepBluetooth
from schoolkeeper_agent.enforcers.linux.bluetooth import BluetoothEnforcer
from schoolkeeper_agent.observations import PostureRead
from schoolkeeper_proto.model import PostureResult
from support.core_playbook import bundle_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
HCI0 = "/org/bluez/hci0"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def address() -> AsyncIterator[str]:
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon is not installed (`make lab` installs it)")
    # A short path: a socket's has 108 bytes.
    with tempfile.TemporaryDirectory(prefix="sk-bus-") as folder:
        command = [
            "dbus-daemon",
            "--session",
            "--nofork",
            "--print-address=1",
            f"--address=unix:path={folder}/bus",
        ]
        daemon = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert daemon.stdout is not None
            yield (await asyncio.to_thread(daemon.stdout.readline)).strip()
        finally:
            daemon.terminate()
            daemon.communicate()


@pytest.fixture
async def bluez(address: str) -> AsyncIterator[FakeBluez]:
    async with FakeBluez.serving(address, "hci0") as fake:
        yield fake


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[MessageBus]:
    bus = await MessageBus(bus_address=address).connect()
    try:
        yield bus
    finally:
        bus.disconnect()


async def call(
    bus: MessageBus, path: str, interface: str, member: str, signature: str, *body: object
) -> Message:
    return await bus.call(
        Message(
            destination=NAME, path=path, interface=interface, member=member, signature=signature, body=[*body]
        )
    )


async def somebody_switches(address: str, name: str, *, on: bool = True) -> None:
    async with connected(address) as bus:
        await call(bus, HCI0, PROPERTIES, "Set", "ssv", ADAPTER, name, Variant("b", on))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def keeping(address: str, folder: Path) -> AsyncIterator[tuple[BluetoothEnforcer, list[PostureRead]]]:
    said: list[PostureRead] = []
    context = Context(bundle=bundle_of(), run_dir=folder, has_root=True, system_bus=address)
    async with AsyncExitStack() as stack:
        enforcer = BluetoothEnforcer(context, said.append)  # type: ignore[arg-type]
        stack.push_async_callback(enforcer.close)
        yield enforcer, said


async def test_adapters_are_listed_with_their_switches_and_a_change_is_told(
    address: str, bluez: FakeBluez
) -> None:
    assert list(bluez.adapters) == [HCI0]
    async with connected(address) as bus:
        listed = (await call(bus, "/", OBJECTS, "GetManagedObjects", "")).body[0]
        assert listed[HCI0][ADAPTER]["Discoverable"].value is True
        changed: asyncio.Queue[Message] = asyncio.Queue()
        bus.add_message_handler(lambda m: changed.put_nowait(m) if m.member == "PropertiesChanged" else None)
        await bus.call(
            Message(
                destination="org.freedesktop.DBus", path="/org/freedesktop/DBus", interface="org.freedesktop.DBus",
                member="AddMatch", signature="s", body=[f"type='signal',sender='{NAME}'"],
            )
        )  # fmt: skip
        await somebody_switches(address, "Discoverable", on=False)
        told = await asyncio.wait_for(changed.get(), 30)
        assert (told.path, told.body[0], told.body[1]["Discoverable"].value) == (HCI0, ADAPTER, False)
        got = await call(bus, HCI0, PROPERTIES, "Get", "ss", ADAPTER, "Discoverable")
        assert got.body[0].value is False
        bluez.stubborn = frozenset({"Powered"})
        no = await call(bus, HCI0, PROPERTIES, "Set", "ssv", ADAPTER, "Powered", Variant("b", False))
        assert no.message_type is MessageType.ERROR


@pytest.mark.requirement("W-53")
async def test_it_is_hidden_and_hidden_again_when_somebody_shows_it(
    address: str, bluez: FakeBluez, tmp_path: Path
) -> None:
    async with keeping(address, tmp_path) as (enforcer, said):
        outcome = await enforcer.perform(KeepBluetooth(hidden=True))
        assert outcome.succeeded, outcome.detail
        hidden = {"Discoverable": False, "Pairable": False, "Powered": True}
        assert bluez.adapters[HCI0] == hidden
        assert (said[-1].result, said[-1].evidence) == (
            PostureResult.PASS,
            "hci0: not discoverable, not pairable",
        )
        for _ in range(2):
            await somebody_switches(address, "Discoverable")
            await until(lambda: bluez.adapters[HCI0] == hidden)
        bluez.plug("hci1")
        await until(lambda: bluez.adapters["/org/bluez/hci1"] == hidden)
        assert len(said) == 2, "somebody who does it again and again is written down once in ten minutes"
        assert "1 time" in said[1].evidence
        ended = await enforcer.perform(KeepBluetooth())
        assert ended.succeeded
        assert "1 time: undone each time" in said[-2].evidence
        assert said[-1].result is PostureResult.UNKNOWN
    assert bluez.adapters[HCI0] == {"Discoverable": False, "Pairable": True, "Powered": True}
    await somebody_switches(address, "Discoverable")
    await asyncio.sleep(0.3)
    assert bluez.adapters[HCI0]["Discoverable"], "after the lesson it is the person's again"


async def test_off_is_off_and_what_was_on_comes_back(address: str, bluez: FakeBluez, tmp_path: Path) -> None:
    async with keeping(address, tmp_path) as (enforcer, _):
        assert (await enforcer.perform(KeepBluetooth(off=True))).succeeded
        assert not bluez.adapters[HCI0]["Powered"]
        await somebody_switches(address, "Powered")
        await until(lambda: not bluez.adapters[HCI0]["Powered"])
    assert bluez.adapters[HCI0]["Powered"]


async def test_whoever_is_quick_is_undone_at_once_and_what_stays_on_is_a_failure(
    address: str, bluez: FakeBluez, tmp_path: Path
) -> None:
    async with keeping(address, tmp_path) as (enforcer, _):
        bluez.contrary = 2
        outcome = await enforcer.perform(KeepBluetooth(off=True))
        assert outcome.succeeded, outcome.detail
        assert (bluez.contrary, bluez.adapters[HCI0]["Powered"]) == (0, False)
    async with keeping(address, tmp_path) as (enforcer, _):
        bluez.contrary = 1_000
        outcome = await enforcer.perform(KeepBluetooth(off=True))
        assert outcome.detail == "still on after it was switched off: hci0 Powered"
        bluez.contrary = 0


async def test_what_bluez_refuses_is_a_failure(address: str, bluez: FakeBluez, tmp_path: Path) -> None:
    bluez.stubborn = frozenset({"Discoverable"})
    async with keeping(address, tmp_path) as (enforcer, said):
        outcome = await enforcer.perform(KeepBluetooth(hidden=True))
        assert not outcome.succeeded
        assert "Failed" in outcome.detail
        assert not said


async def test_bluez_that_starts_later_is_met_hidden(address: str, tmp_path: Path) -> None:
    async with keeping(address, tmp_path) as (enforcer, said):
        assert (await enforcer.perform(KeepBluetooth(hidden=True))).succeeded
        assert said[-1].evidence == "no Bluetooth adapter is there"
        async with FakeBluez.serving(address, "hci0") as late:
            await until(
                lambda: not late.adapters[HCI0]["Discoverable"] and not late.adapters[HCI0]["Pairable"]
            )
