"""Security keys that the policy names: each is known by its serial number as it comes, and missed when it goes."""

import asyncio
from pathlib import Path

import pytest

from schoolkeeper_agent.observations import TokenMoved
from schoolkeeper_agent.sensors.linux import uevents
from schoolkeeper_agent.sensors.linux.tokens import TokenWatch
from schoolkeeper_agent.sensors.linux.uevents import DeviceEvent
from schoolkeeper_proto.policy import SecurityToken

KEY = SecurityToken(vendor_product="1050:0407", serial="77")
ANY = SecurityToken(vendor_product="08e6:4433")
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def plug(sys_root: Path, name: str, product: str, serial: str = "") -> Path:
    device = sys_root / "bus/usb/devices" / name
    device.mkdir(parents=True)
    for file, text in zip(("idVendor", "idProduct"), product.split(":"), strict=True):
        (device / file).write_text(text + "\n")
    if serial:
        (device / "serial").write_text(serial + "\n")
    return device


def event(action: str, name: str, *, kind: str = "usb_device") -> DeviceEvent:
    path = f"/devices/pci0000:00/usb1/{name}"
    return DeviceEvent(action=action, device_path=path, properties={"SUBSYSTEM": "usb", "DEVTYPE": kind})


async def test_only_what_the_policy_names_is_told_once_for_each_coming_and_going(tmp_path: Path) -> None:
    told: list[object] = []
    plug(tmp_path, "1-1", "1050:0407", "77")
    plug(tmp_path, "1-2", "1050:0407", "78")
    watch = TokenWatch(tmp_path, (KEY, ANY), told.append)
    try:
        for name in ("1-1", "1-1", "1-2"):
            watch.heard(event("remove", name))
        assert told == [TokenMoved(product="1050:0407", removed=True)]
        watch.heard(event("remove", "1-1", kind="usb_interface"))
        plug(tmp_path, "1-3", "08e6:4433")
        watch.heard(event("add", "1-3"))
        watch.heard(event("bind", "1-3"))
        watch.heard(event("remove", "1-3"))
        reader = [TokenMoved(product="08e6:4433", removed=gone) for gone in (False, True)]
        assert told[1:] == reader
    finally:
        watch.close()


async def test_what_went_while_events_were_lost_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says that some were lost; what is there is looked at anew."""
    told: asyncio.Queue[object] = asyncio.Queue()
    device = plug(tmp_path, "1-1", "1050:0407", "77")
    watch = TokenWatch(tmp_path, (KEY,), told.put_nowait)
    try:
        for file in device.iterdir():
            file.unlink()
        answers = iter((OSError(105, "No buffer space available"), BlockingIOError()))

        def lost(_: object) -> None:
            raise next(answers)

        monkeypatch.setattr(uevents, "receive", lost)
        watch._drain()
        assert told.get_nowait() == TokenMoved(product="1050:0407", removed=True)
    finally:
        watch.close()
