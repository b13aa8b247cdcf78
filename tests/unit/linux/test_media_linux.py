"""A real loop device stands for a stick: seen, recognised, made read-only, mounted, unplugged (T-44)."""

import asyncio
import contextlib
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import LimitMedium
from schoolkeeper_agent.enforcers.linux.media import MediaEnforcer
from schoolkeeper_agent.observations import MediumArrived, MediumInUse, MediumLeft
from schoolkeeper_agent.sensors.linux import uevents
from schoolkeeper_agent.sensors.linux.block_device import is_removable, usb_interface
from schoolkeeper_agent.sensors.linux.media import MediaSensor
from schoolkeeper_agent.sensors.linux.mounted import mounted_disks
from schoolkeeper_proto.model import MediumEncryption
from schoolkeeper_proto.policy import MediaAccess
from support.core_playbook import bundle_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def stick() -> Iterator[str]:
    """The kernel's name of a loop device with an ext4 on it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes a loop device")
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", file.name], check=True)
        made = subprocess.run(
            ["losetup", "--find", "--show", file.name], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            pytest.skip(f"no loop device: {made.stderr.strip()}")
        device = made.stdout.strip()
        try:
            yield device.removeprefix("/dev/")
        finally:
            # The flag outlives the file behind the device: whoever gets this loop device next could not write.
            subprocess.run(["blockdev", "--setrw", device], check=False)
            subprocess.run(["losetup", "--detach", device], check=False)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(bundle=bundle_of(), run_dir=tmp_path)


@contextlib.asynccontextmanager
async def running(sensor: MediaSensor) -> AsyncIterator[list[object]]:
    seen: list[object] = []
    task = asyncio.create_task(sensor.run(seen.append))
    await asyncio.sleep(0.05)
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(seen: list[object], kind: type) -> object:
    async with asyncio.timeout(60):
        while not (found := [one for one in seen if isinstance(one, kind)]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found[-1]


@pytest.mark.requirement("T-44", "W-69")
async def test_a_plain_medium_is_seen_and_becomes_read_only(stick: str, context: Context) -> None:
    async with running(MediaSensor(context, include=frozenset({stick}))) as seen:
        arrived = await until(seen, MediumArrived)
        assert isinstance(arrived, MediumArrived)
        assert (arrived.medium.kernel_name, arrived.medium.file_system) == (stick, "ext4")
        assert (arrived.medium.encryption, arrived.medium.size_bytes) == (MediumEncryption.NONE, 16 << 20)
    action = LimitMedium(kernel_name=stick, access=MediaAccess.READ_ONLY)
    outcome = await MediaEnforcer(context).perform(action)
    assert outcome.succeeded, outcome.detail
    with Path(f"/dev/{stick}").open("r+b", buffering=0) as device, pytest.raises(PermissionError):
        device.write(b"x" * 512)


async def test_a_medium_that_is_mounted_for_writing_is_remounted(
    stick: str, context: Context, tmp_path: Path
) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    subprocess.run(["mount", f"/dev/{stick}", place], check=True)
    limit = LimitMedium(kernel_name=stick, access=MediaAccess.READ_ONLY)
    try:
        with (place / "open").open("w"):  # somebody is writing just now: that cannot be undone, and is said
            busy = await MediaEnforcer(context).perform(limit)
            assert not busy.succeeded
            assert f"in use for writing at {place}" in busy.detail
        outcome = await MediaEnforcer(context).perform(limit)
        assert outcome.succeeded, outcome.detail
        with pytest.raises(OSError, match="Read-only file system"):
            (place / "homework").write_bytes(b"x")
    finally:
        subprocess.run(["umount", "--lazy", place], check=False)


async def test_a_mount_is_seen_with_whether_it_can_be_written(
    stick: str, context: Context, tmp_path: Path
) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    async with running(MediaSensor(context, include=frozenset({stick}))) as seen:
        await until(seen, MediumArrived)
        subprocess.run(["mount", "-o", "ro", f"/dev/{stick}", place], check=True)
        try:
            used = await until(seen, MediumInUse)
            assert used == MediumInUse(kernel_name=stick, read_only=True)
        finally:
            subprocess.run(["umount", place], check=True)


async def test_what_cannot_be_done_is_an_outcome_with_the_reason(stick: str, context: Context) -> None:
    enforcer = MediaEnforcer(context)
    gone = await enforcer.perform(LimitMedium(kernel_name="sdzz", access=MediaAccess.BLOCK))
    assert "no medium 'sdzz'" in gone.detail
    path = await enforcer.perform(LimitMedium(kernel_name="../x", access=MediaAccess.BLOCK))
    assert not path.succeeded
    # A loop device has no switch to remove it: it is made read-only, and that is not called blocked.
    blocked = await enforcer.perform(LimitMedium(kernel_name=stick, access=MediaAccess.BLOCK))
    assert not blocked.succeeded
    assert "only be made read-only" in blocked.detail
    other = await enforcer.perform("nonsense")
    assert not other.succeeded


async def test_the_kernels_events_reach_the_sensor(stick: str, context: Context) -> None:
    """'change' of the device itself, sent by the kernel: what plugging in sends as 'add'."""
    sensor = MediaSensor(context, include=frozenset({stick}))
    async with running(sensor) as seen:
        await until(seen, MediumArrived)
        seen.clear()
        # Somebody formats the stick that was judged: a 'change' of another content is told, one of the same is not.
        Path(f"/sys/block/{stick}/uevent").write_text("change")
        subprocess.run(["mkfs.vfat", f"/dev/{stick}"], check=True, capture_output=True)
        Path(f"/sys/block/{stick}/uevent").write_text("change")
        arrived = await until(seen, MediumArrived)
        assert isinstance(arrived, MediumArrived)
        assert arrived.medium.file_system == "vfat"
        assert [type(one) for one in seen] == [MediumArrived]
        Path(f"/sys/block/{stick}/uevent").write_text("remove")
        left = await until(seen, MediumLeft)
        assert left == MediumLeft(kernel_name=stick)


async def test_a_stick_that_is_swapped_for_another_is_judged_as_another(
    stick: str, context: Context, tmp_path: Path
) -> None:
    """Under the same name, faster than anybody looks: the kernel's number of it tells them apart."""
    other = tmp_path / "other.img"
    with other.open("wb") as blank:
        blank.truncate(16 << 20)
    subprocess.run(["mkfs.vfat", other], check=True, capture_output=True)
    async with running(MediaSensor(context, include=frozenset({stick}))) as seen:
        first = await until(seen, MediumArrived)
        subprocess.run(["losetup", "--detach", f"/dev/{stick}"], check=True)
        subprocess.run(["losetup", f"/dev/{stick}", other], check=True)
        await until(seen, MediumLeft)
        async with asyncio.timeout(60):
            while (second := await until(seen, MediumArrived)) is first:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert isinstance(first, MediumArrived)
    assert isinstance(second, MediumArrived)
    assert (first.medium.file_system, second.medium.file_system) == ("ext4", "vfat")
    assert first.sequence != second.sequence
    # What was decided about the first is not done to the second, and that is no failure.
    late = LimitMedium(kernel_name=stick, access=MediaAccess.READ_ONLY, sequence=first.sequence)
    outcome = await MediaEnforcer(context).perform(late)
    assert outcome.gone
    assert Path(f"/sys/block/{stick}/ro").read_text().strip() == "0"


async def test_what_was_made_read_only_is_given_back_when_a_new_policy_allows_it(
    stick: str, context: Context
) -> None:
    enforcer = MediaEnforcer(context)
    for access, flag in ((MediaAccess.READ_ONLY, "1"), (MediaAccess.ALLOW, "0")):
        outcome = await enforcer.perform(LimitMedium(kernel_name=stick, access=access))
        assert outcome.succeeded, outcome.detail
        assert Path(f"/sys/block/{stick}/ro").read_text().strip() == flag


def made_disk(root: Path, name: str, interface: str = "1-1:1.0") -> Path:
    """As sysfs shows one disk of a USB device, with a keyboard as its second interface."""
    usb = root / "devices/usb1/1-1"
    for number, folder in enumerate(("1-1:1.0", "1-1:1.1")):
        (usb / folder).mkdir(parents=True, exist_ok=True)
        (usb / folder / "bInterfaceNumber").write_text(f"{number:02}\n")
        (usb / folder / "authorized").write_text("1\n")
    for file, text in (("idVendor", "0951"), ("authorized", "1"), ("removable", "removable")):
        (usb / file).write_text(f"{text}\n")
    disk = usb / interface / "host0" / "block" / name
    disk.mkdir(parents=True)
    (disk / "size").write_text("65536\n")
    (root / "block").mkdir(exist_ok=True)
    (root / "block" / name).symlink_to(disk)
    return root / "block" / name


def test_a_disk_is_told_from_the_other_parts_of_its_device(tmp_path: Path) -> None:
    """The real thing, a keyboard that claims a disk, is the virtual laptop's to show."""
    disk = made_disk(tmp_path, "sdx")
    interface = usb_interface(disk)
    assert interface is not None
    assert interface.name == "1-1:1.0"
    other_slot = made_disk(tmp_path, "sdy")
    assert usb_interface(other_slot) == interface
    assert is_removable(disk)


def test_without_root_it_watches_and_says_what_it_cannot(tmp_path: Path) -> None:
    context = Context(bundle=bundle_of(), run_dir=tmp_path, has_root=False)
    assert "unknown" in MediaSensor(context).ability().because
    assert not MediaEnforcer(context).ability().able


PACKET = b"add@/devices/x/block/sdb\0ACTION=add\0SUBSYSTEM=block\0DEVNAME=sdb\0DEVTYPE=disk\0"


def test_packets_of_the_kernel_and_of_others() -> None:
    event = uevents.parse(PACKET)
    assert event is not None
    assert (event.action, event.properties["DEVNAME"]) == ("add", "sdb")
    for wrong in (b"", b"libudev\0\xfe\xed", b"@", b"add@", b"add@x\0", b"\xff@/\0"):
        assert uevents.parse(wrong) is None


def test_lines_of_the_mount_table_that_are_none_are_left_out() -> None:
    assert mounted_disks("nonsense\n1 2 3\n\n36 35 98:0 / /mnt rw - ext4", Path("/nowhere")) == []


def test_what_has_no_block_device_is_not_looked_for(tmp_path: Path) -> None:
    """Most of a mount table: the kernel's numbers 0:N belong to no device, whatever a path of that name leads to."""
    (tmp_path / "devices/sdz").mkdir(parents=True)
    (tmp_path / "devices/sdz/dev").touch()
    (tmp_path / "dev/block").mkdir(parents=True)
    for number in ("0:98", "8:98"):
        (tmp_path / "dev/block" / number).symlink_to(tmp_path / "devices/sdz")
    table = "36 35 {} / /mnt rw - ext4 /dev/sdz rw"
    assert mounted_disks(table.format("8:98"), tmp_path) == [("sdz", False)]
    assert mounted_disks(table.format("0:98"), tmp_path) == []
