"""A lid that is shut while the machine goes on, a key that is pulled out, a stick at a locked screen: real parts."""

from pathlib import Path

import pytest

from support.lab.desktop import Desktop, sign_in
from support.lab.media import install_rule, plain_stick
from support.lab.product import PYTHON, bring_agent
from support.lab.screens import said, start, unlock, until_said
from support.lab.seat import mount
from support.lab.virtual_laptop import VirtualLaptop

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(400)]
LID = Path(__file__).parent / "programs/lid.py"
TABLET = "0627:0001"
"""QEMU's tablet: any USB device with a serial number can be named as a key."""


def signed_in(laptop: VirtualLaptop, folder: Path, **section: object) -> Desktop:
    bring_agent(laptop, folder)
    desktop = sign_in(laptop)
    # An emulated processor is slow: a lock may take longer than on a laptop.
    start(laptop, 3600, lock_takes_s=60, python=f"PYTHONDONTWRITEBYTECODE=1 {PYTHON}", **section)
    return desktop


@pytest.mark.scenario(
    tier="laptop", name="the lid is shut on a machine that goes on: locked, and usable at its dock"
)
def test_a_lid_that_is_shut_locks_though_the_machine_goes_on(
    virtual_laptop: VirtualLaptop, tmp_path: Path
) -> None:
    never = (
        "[Login]\nHandleLidSwitch=ignore\nHandleLidSwitchDocked=ignore\nHandleLidSwitchExternalPower=ignore\n"
    )
    virtual_laptop.put("/etc/systemd/logind.conf.d/lid.conf", never.encode())
    virtual_laptop.put("/run/lid.py", LID.read_bytes())
    virtual_laptop.sh(
        "modprobe uinput; (python3 /run/lid.py /run/lid >/run/lid.said 2>&1 </dev/null &)"
    ).check()
    virtual_laptop.wait_for("grep -q 'Lid Switch' /proc/bus/input/devices")
    virtual_laptop.sh("udevadm settle; systemctl restart systemd-logind").check()
    desktop = signed_in(virtual_laptop, tmp_path, lock_on_lid=True)
    virtual_laptop.sh("echo 1 >/run/lid").check()
    heard = until_said(virtual_laptop, "record session.locked")
    assert f"record session.locked normal {desktop.session} lid" in heard
    desktop.wait_for("LockedHint", "yes")
    desktop.wait_for_grab()


@pytest.mark.scenario(tier="laptop", name="a security key is pulled out: locked, and a password opens it")
def test_a_key_that_is_pulled_out_locks_every_screen(virtual_laptop: VirtualLaptop, tmp_path: Path) -> None:
    for serial in ("KEY1", "KEY2"):
        virtual_laptop.qmp.run("device_add", driver="usb-tablet", id=serial, bus="usb.0", serial=serial)
        virtual_laptop.wait_for(f"grep -q {serial} /sys/bus/usb/devices/*/serial")
    named = [{"vendor_product": TABLET, "serial": "KEY1"}]
    desktop = signed_in(virtual_laptop, tmp_path, tokens=named)
    for serial in ("KEY2", "KEY1"):
        assert "enforce" not in said(virtual_laptop), "nobody named that one"
        virtual_laptop.qmp.run("device_del", id=serial)
        virtual_laptop.qmp.wait_for_event("DEVICE_DELETED", device=serial)
        virtual_laptop.wait_for(f"! grep -q {serial} /sys/bus/usb/devices/*/serial")
    heard = until_said(virtual_laptop, "record session.locked")
    assert f"record session.locked normal {desktop.session} token" in heard
    desktop.wait_for("LockedHint", "yes")
    desktop.wait_for_grab()


@pytest.mark.scenario(
    tier="laptop", name="a stick that comes while the screen is locked waits until it is unlocked"
)
def test_a_stick_at_a_locked_screen_waits_until_somebody_unlocks_it(
    virtual_laptop: VirtualLaptop, tmp_path: Path
) -> None:
    install_rule(virtual_laptop)
    desktop = signed_in(virtual_laptop, tmp_path, hold_media=True)
    until_said(virtual_laptop, "enforce HoldMedia")
    virtual_laptop.sh(f"loginctl lock-session {desktop.session}").check()
    until_said(virtual_laptop, "record session.locked")
    desktop.wait_for_grab()
    plugged = virtual_laptop.plug_stick(plain_stick(tmp_path / "stick.img"), serial="LOCKED1")
    until_said(virtual_laptop, "record media.attached")
    assert "Not authorized" in mount(virtual_laptop, plugged.device).out
    assert "enforce LimitMedium" not in said(virtual_laptop)
    unlock(desktop)
    until_said(virtual_laptop, "enforce LimitMedium")
    virtual_laptop.wait_for(f"[ $(stat -c %G {plugged.device}) = disk ]")
    assert "Mounted" in mount(virtual_laptop, plugged.device).out
