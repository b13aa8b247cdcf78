"""Telephones and cameras in a tree as sysfs makes it: told apart by interface, withheld by their own switch."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from schoolkeeper_agent import core
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import WithholdInterface
from schoolkeeper_agent.enforcers.linux.peripherals import PeripheralEnforcer
from schoolkeeper_agent.observations import ActionDone, Observation, PeripheralArrived, PeripheralLeft
from schoolkeeper_agent.seams import Enforce, Record
from schoolkeeper_agent.sensors.linux.media import MediaSensor
from schoolkeeper_agent.sensors.linux.uevents import DeviceEvent
from schoolkeeper_agent.sensors.linux.usb_interfaces import UsbInterfaces
from schoolkeeper_proto import policy
from schoolkeeper_proto.model import DecisionKind
from support.core_playbook import MONDAY_10, bundle_of

pytestmark = pytest.mark.anyio
LEE = ("lee", 1001, frozenset({"staff"}))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Tree:
    """``/sys`` with USB devices; files that the kernel answers are plain files here."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bus = root / "bus" / "usb"
        (self.bus / "devices").mkdir(parents=True)
        (self.bus / "drivers_probe").write_text("")

    def plug(self, name: str, *interfaces: str, vendor: str = "18d1", removable: str = "removable") -> None:
        """Interfaces as ``class/subclass/protocol`` and the name that one gives itself, after a space."""
        device = self.root / "devices" / "usb1" / name
        device.mkdir(parents=True)
        for file, text in {
            "idVendor": vendor,
            "idProduct": "4ee1",
            "serial": "X1",
            "removable": removable,
        }.items():
            (device / file).write_text(f"{text}\n")
        for number, said in enumerate(interfaces):
            folder = device / f"{name}:1.{number}"
            folder.mkdir()
            marks, _, own = said.partition(" ")
            for file, text in zip(
                ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol"), marks.split("/"), strict=True
            ):
                (folder / file).write_text(f"{text}\n")
            (folder / "authorized").write_text("1\n")
            if own:
                (folder / "interface").write_text(f"{own}\n")
            (self.bus / "devices" / folder.name).symlink_to(folder)

    def authorized(self, name: str) -> str:
        return (self.bus / "devices" / name / "authorized").read_text().strip()

    def context(self) -> Context:
        return Context(
            bundle=bundle_of(),
            run_dir=self.root,
            has_root=True,
            sys_root=self.root,
            state_dir=self.root / "state",
        )

    def watching(self) -> tuple[UsbInterfaces, list[object]]:
        seen: list[object] = []
        watch = UsbInterfaces(self.context(), lambda: LEE)
        watch.start(seen.append)
        return watch, seen


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize(
    ("interface", "vendor", "kinds", "speaks"),
    [
        ("06/01/01 MTP", "18d1", ("phone", "external-camera"), "mtp"),
        ("ff/ff/00 MTP", "04e8", ("phone",), "mtp"),
        ("ff/42/01", "18d1", ("phone",), "adb"),
        ("06/01/01", "05ac", ("phone",), "ptp"),
        ("ff/fe/02", "05ac", ("phone",), "usbmux"),
        ("06/01/01", "04a9", ("external-camera",), "ptp"),
        ("0e/01/00", "046d", ("external-camera",), "uvc"),
    ],
)
def test_what_gives_out_pictures_is_told_by_its_interface(
    tree: Tree, interface: str, vendor: str, kinds: tuple[str, ...], speaks: str
) -> None:
    tree.plug("1-2", interface, vendor=vendor)
    _, (seen,) = tree.watching()
    assert isinstance(seen, PeripheralArrived)
    assert (seen.kinds, seen.medium.file_system, seen.medium.serial) == (kinds, speaks, "X1")
    assert (seen.account, seen.user_id) == ("lee", 1001)


def test_keyboards_sticks_printers_sound_and_tethering_are_left_alone(tree: Tree) -> None:
    tree.plug("1-3", "03/01/01", "08/06/50", "07/01/02", "01/01/00", "e0/01/03", "ff/ff/00 diagnostics")
    assert tree.watching()[1] == []


@pytest.mark.parametrize(
    ("removable", "kinds"),
    [
        ("fixed", ("camera",)),
        ("removable", ("external-camera",)),
        ("unknown", ("camera", "external-camera")),
    ],
)
def test_a_built_in_camera_is_one_whose_port_cannot_be_reached(
    tree: Tree, removable: str, kinds: tuple[str, ...]
) -> None:
    tree.plug("1-4", "0e/01/00", removable=removable)
    _, (seen,) = tree.watching()
    assert isinstance(seen, PeripheralArrived)
    assert seen.kinds == kinds


def test_what_comes_and_goes_later_is_heard_and_a_name_that_comes_late_is_read_at_the_bind(
    tree: Tree,
) -> None:
    watch, seen = tree.watching()
    tree.plug("1-2", "ff/ff/00", "03/01/01")

    def hear(action: str, path: str, kind: str) -> None:
        watch.heard(DeviceEvent(action=action, device_path=path, properties={"DEVTYPE": kind}), seen.append)

    hear("add", "/devices/usb1/1-2/1-2:1.0", "usb_interface")
    assert seen == []
    (tree.bus / "devices" / "1-2:1.0" / "interface").write_text("MTP\n")
    hear("bind", "/devices/usb1/1-2", "usb_device")
    hear("change", "/devices/usb1/1-2/1-2:1.0", "usb_interface")
    assert len(seen) == 1
    hear("remove", "/devices/usb1/1-2/1-2:1.0", "usb_interface")
    hear("remove", "/devices/usb1/1-2/1-2:1.1", "usb_interface")
    assert seen[1:] == [PeripheralLeft(kernel_name="1-2:1.0")]


@pytest.mark.requirement("T-46")
async def test_only_the_interface_is_withheld_and_charging_and_keys_go_on(tree: Tree) -> None:
    tree.plug("1-2", "06/01/01 MTP", "03/01/01")
    enforcer = PeripheralEnforcer(tree.context())
    outcome = await enforcer.perform(WithholdInterface(kernel_name="1-2:1.0"))
    assert outcome.succeeded, outcome.detail
    assert (tree.authorized("1-2:1.0"), tree.authorized("1-2:1.1")) == ("0", "1")
    await enforcer.close()
    assert tree.authorized("1-2:1.0") == "1"


async def test_what_a_killed_run_took_is_given_back_and_what_others_took_is_not(tree: Tree) -> None:
    (tree.root / "state").mkdir()
    (tree.root / "state" / "withheld-interfaces").write_text("1-2:1.7\n")  # of a device that was there before
    tree.plug("1-2", "0e/01/00", "0e/02/00")
    tree.plug("1-5", "06/01/01")
    (tree.bus / "devices" / "1-5:1.0" / "authorized").write_text("0")
    killed = PeripheralEnforcer(tree.context())
    for name in ("1-2:1.0", "1-2:1.1", "1-5:1.0"):
        assert (await killed.perform(WithholdInterface(kernel_name=name))).succeeded
    _, seen = tree.watching()
    assert [one.withheld for one in seen if isinstance(one, PeripheralArrived)] == [True, True, True]

    enforcer = PeripheralEnforcer(tree.context())
    assert (await enforcer.perform(WithholdInterface(kernel_name="1-2:1.0", withheld=False))).succeeded
    probe = tree.bus / "drivers_probe"
    assert probe.read_text() == "", "a webcam's driver needs all of its interfaces"
    assert (await enforcer.perform(WithholdInterface(kernel_name="1-2:1.1", withheld=False))).succeeded
    assert probe.read_text() == "1-2:1.1"
    assert (await enforcer.perform(WithholdInterface(kernel_name="1-5:1.0", withheld=False))).succeeded
    assert [tree.authorized(name) for name in ("1-2:1.0", "1-2:1.1", "1-5:1.0")] == ["1", "1", "0"]


@pytest.mark.parametrize("name", ["1-2", "../../../etc:1.0", "1-2:1.0/../x", ""])
async def test_what_is_no_interface_is_refused(tree: Tree, name: str) -> None:
    outcome = await PeripheralEnforcer(tree.context()).perform(WithholdInterface(kernel_name=name))
    assert not outcome.succeeded
    assert "no name of a USB interface" in outcome.detail


def _with_rule(tree: Tree, *rules: policy.PeripheralRule) -> Context:
    (tree.root / "block").mkdir()
    return replace(tree.context(), bundle=bundle_of(policy.PeripheralsSection(rules=rules)))


@pytest.mark.requirement("T-46")
async def test_a_phone_that_was_there_before_the_agent_is_refused_to_staff_from_sensor_to_switch(
    tree: Tree,
) -> None:
    """The real sensor, core and enforcer; only the tree is made."""
    tree.plug("1-2", "06/01/01 MTP", "03/01/01")
    rule = policy.PeripheralRule(
        text=policy.RuleText(rule_id="images.phone", mode=policy.RuleMode.ENFORCE),
        kind=policy.PeripheralKind.PHONE,
        decision=DecisionKind.BLOCK,
        when=policy.Applicability(user_groups=("staff",)),
    )
    context = _with_rule(tree, rule)
    enforcer = PeripheralEnforcer(context)
    state = core.initial(context.bundle, run_id=b"r", able=frozenset({"peripherals"}))
    seen: asyncio.Queue[Observation] = asyncio.Queue()
    sensor = asyncio.create_task(MediaSensor(context, person=lambda: LEE).run(seen.put_nowait))  # type: ignore[arg-type]
    try:
        state, effects = core.handle(state, await asyncio.wait_for(seen.get(), 30), MONDAY_10)
        (asked,) = (effect for effect in effects if isinstance(effect, Enforce))
        outcome = await enforcer.perform(asked.action)
        state, effects = core.handle(state, ActionDone(outcome=outcome), MONDAY_10)
    finally:
        sensor.cancel()
        await asyncio.gather(sensor, return_exceptions=True)
    assert (tree.authorized("1-2:1.0"), tree.authorized("1-2:1.1")) == ("0", "1")
    assert [effect.body.KIND for effect in effects if isinstance(effect, Record)] == ["media.refused"]


async def test_without_a_rule_nobody_looks(tree: Tree) -> None:
    tree.plug("1-2", "06/01/01 MTP")
    seen: list[object] = []
    sensor = asyncio.create_task(MediaSensor(_with_rule(tree), person=lambda: LEE).run(seen.append))
    await asyncio.sleep(0.1)
    sensor.cancel()
    await asyncio.gather(sensor, return_exceptions=True)
    assert seen == []
