"""The agent's package where the kernel is Debian 12's own and USB is real: its closed unit is open enough."""

import subprocess
from pathlib import Path

import pytest

from support.lab.cache import REPOSITORY
from support.lab.commands import run_tool
from support.lab.virtual_laptop import VirtualLaptop
from support.packages import (
    AGENT_PYTHON,
    AGENT_UNIT,
    GUARD_SOCKET,
    GUARD_UNIT,
    agent_unit_with,
    capabilities_of,
    debian_package,
    prepare_probe,
    probe_rights,
)
from support.school_stage import until

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(400)]
SCRIPT = REPOSITORY / "tests/support/lab/media_script.py"
SECONDS = 120


@pytest.fixture
def laptop(virtual_laptop: VirtualLaptop, tmp_path: Path) -> VirtualLaptop:
    """With the package's files in place; dpkg itself is tested where the processor is not emulated."""
    tree, image = tmp_path / "tree", tmp_path / "package.img"
    subprocess.run(["dpkg-deb", "--extract", debian_package("agent"), tree], check=True)
    run_tool(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-d", tree, image, "256M"])
    disk = virtual_laptop.attach_disk(image, serial="PACKAGE", read_only=True)
    virtual_laptop.sh(
        f"mkdir -p /opt/package /usr/lib/schoolkeeper-agent && mount -o ro {disk.device} /opt/package"
        " && mount --bind /opt/package/usr/lib/schoolkeeper-agent /usr/lib/schoolkeeper-agent"
    ).check()
    return virtual_laptop


def test_each_right_that_the_unit_leaves_is_needed(laptop: VirtualLaptop) -> None:
    prepare_probe(laptop)
    for unit, more in ((AGENT_UNIT, {"use a network"}), (GUARD_UNIT, set())):
        capabilities = capabilities_of(unit)
        worked = probe_rights(laptop, unit, capabilities)
        assert {name for name, it_did in worked.items() if it_did} == set(capabilities) | more
    capabilities = [name for name in capabilities_of(AGENT_UNIT) if name != "CAP_NET_ADMIN"]
    assert probe_rights(laptop, AGENT_UNIT, capabilities)["CAP_NET_ADMIN"] is False


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    image = tmp_path / "stick.img"
    with image.open("wb") as blank:
        blank.truncate(32 << 20)
    run_tool(["mkfs.vfat", image])
    return image


@pytest.mark.requirement("T-44", "W-69")
@pytest.mark.scenario(tier="laptop", name="a stick that is mounted already becomes read-only, by the package")
def test_a_stick_that_is_mounted_already_is_made_read_only_from_inside_the_unit(
    laptop: VirtualLaptop, stick: Path
) -> None:
    plugged = laptop.plug_stick(stick, serial="UNIT1")
    laptop.sh(f"mkdir /mnt/stick && mount {plugged.device} /mnt/stick && touch /mnt/stick/before").check()
    _start(laptop, "read-only")
    until(lambda: "media.made_read_only" in laptop.sh("cat /run/said").out, SECONDS, "it is made read-only")
    assert laptop.sh("touch /mnt/stick/after").rc != 0


@pytest.mark.requirement("T-44", "W-69")
@pytest.mark.scenario(tier="laptop", name="a stick is blocked, by the package")
def test_a_stick_is_blocked_from_inside_the_unit(laptop: VirtualLaptop, stick: Path) -> None:
    laptop.plug_stick(stick, serial="UNIT1")
    _start(laptop, "block")
    until(lambda: "media.refused" in laptop.sh("cat /run/said").out, SECONDS, "it is blocked")
    assert laptop.sh("ls /dev/sd*").rc != 0


@pytest.mark.requirement("T-44")
def test_what_is_written_to_a_stick_is_counted_from_inside_the_unit(
    laptop: VirtualLaptop, stick: Path
) -> None:
    _start(laptop, "allow")
    plugged = laptop.plug_stick(stick, serial="UNIT1")
    laptop.sh(f"mkdir /mnt/stick && mount {plugged.device} /mnt/stick").check()

    def counted() -> bool:
        """What is written before the guard has marked it is not; so it is written again."""
        laptop.sh("date >/mnt/stick/homework").check()
        return "media.copy" in laptop.sh("cat /run/said").out

    until(counted, SECONDS, "the writes are counted")


def _start(laptop: VirtualLaptop, access: str) -> None:
    """The media sensors and enforcer in the agent's unit, its guard beside it."""
    laptop.put("/srv/media_script.py", SCRIPT.read_bytes())
    program = f"{AGENT_PYTHON} -I -u /srv/media_script.py {access}"
    unit = agent_unit_with(program, capabilities=capabilities_of(AGENT_UNIT), type_="exec")
    for name, text in (
        (AGENT_UNIT.name, unit.encode()),
        (GUARD_UNIT.name, GUARD_UNIT.read_bytes()),
        (GUARD_SOCKET.name, GUARD_SOCKET.read_bytes()),
    ):
        laptop.put(f"/etc/systemd/system/{name}", text)
    laptop.sh("systemctl daemon-reload && systemctl start schoolkeeper-agent", 120).check()
    until(lambda: "ready" in laptop.sh("cat /run/said").out, SECONDS, "the sensor listens")
