"""A refused stick is encrypted where it is, by whoever plugged it in: real USB, cryptsetup, systemd (T-45)."""

import subprocess
import time
from pathlib import Path

import pytest

from support.lab.cache import REPOSITORY
from support.lab.media import MIB, install_rule, plain_stick, start, until
from support.lab.seat import as_person
from support.lab.virtual_laptop import LaptopsInTurn, VirtualLaptop

pytestmark = [pytest.mark.laptop, pytest.mark.timeout(600)]
UNITS = REPOSITORY / "packaging/linux/agent"
PASSPHRASE = "three or four words"
PYTHON = "/usr/bin/env PYTHONPATH=/opt/agent PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3"
ENCRYPT = "/run/encrypt-it"
_SCRIPT = f"""#!/bin/sh
printf '{PASSPHRASE}\\n' | {PYTHON} -c '
import sys
from schoolkeeper_agent.cli import main
sys.exit(main())' encrypt --lose-everything --passphrase-fd 0
"""


def stick_with_homework(image: Path, size: int) -> Path:
    plain_stick(image, size)
    subprocess.run(["mcopy", "-i", image, "-", "::homework.txt"], input=b"a child's homework", check=True)
    return image


def begin(laptop: VirtualLaptop, folder: Path) -> None:
    """The agent's media part, and the units of the package with this checkout's code."""
    install_rule(laptop)
    start(laptop, folder, "encrypted-only")
    laptop.put(ENCRYPT, _SCRIPT.encode(), 0o755)
    laptop.put(
        "/etc/systemd/system/schoolkeeper-encrypt.socket",
        (UNITS / "schoolkeeper-encrypt.socket").read_bytes(),
    )
    unit = (UNITS / "schoolkeeper-encrypt@.service").read_text()
    unit = unit.replace("/usr/lib/schoolkeeper-agent/bin/python3 -I", PYTHON)
    laptop.put("/etc/systemd/system/schoolkeeper-encrypt@.service", unit.encode())
    laptop.sh("systemctl daemon-reload && systemctl start schoolkeeper-encrypt.socket").check()


@pytest.mark.requirement("T-45")
@pytest.mark.scenario(tier="laptop", name="a plain stick refused, encrypted on the spot, then writable")
def test_a_plain_stick_is_encrypted_on_the_spot_and_may_then_be_written_to(
    virtual_laptop: VirtualLaptop, tmp_path: Path
) -> None:
    image = stick_with_homework(tmp_path / "stick.img", 48 * MIB)
    begin(virtual_laptop, tmp_path)
    stick = virtual_laptop.plug_stick(image, serial="PLAIN2")
    until(virtual_laptop, "media.made_read_only PLAIN2")

    said = as_person(virtual_laptop, ENCRYPT, timeout=300)

    assert said.rc == 0, (
        said.out + virtual_laptop.sh("journalctl -b --no-pager | tail -30; cat /run/said").out
    )
    assert "EVERYTHING ON THIS MEDIUM WILL BE LOST" in said.out
    until(virtual_laptop, "media.attached PLAIN2 usb luks2")
    virtual_laptop.sh("udevadm settle; sleep 1; udevadm settle").check()
    virtual_laptop.put("/run/passphrase", PASSPHRASE.encode())
    unlock = f"udisksctl unlock --no-user-interaction -b {stick.device} --key-file /run/passphrase"
    assert "Unlocked" in as_person(virtual_laptop, unlock, timeout=120).out
    inside = virtual_laptop.sh("ls /dev/mapper/luks-*").check().split()[0]
    assert "Mounted" in as_person(virtual_laptop, f"udisksctl mount -b {inside}").out
    virtual_laptop.sh(
        "echo kept >/media/pupil/ENCRYPTED/new && sync && umount /media/pupil/ENCRYPTED"
    ).check()

    virtual_laptop.unplug(stick)
    left = image.read_bytes()
    assert b"a child's homework" not in left
    key = next(line.strip() for line in said.out.splitlines() if line.count("-") == 7)
    command = ["cryptsetup", "open", "--test-passphrase", "--key-file=-", image]
    assert subprocess.run(command, input=key.encode(), check=False).returncode == 0


@pytest.mark.requirement("T-45")
@pytest.mark.scenario(tier="laptop", name="power cut during encryption")
def test_when_the_power_goes_half_way_the_stick_says_so_at_its_next_visit(
    virtual_laptop: VirtualLaptop, laptops: LaptopsInTurn, tmp_path: Path
) -> None:
    image = stick_with_homework(tmp_path / "stick.img", 1024 * MIB)
    begin(virtual_laptop, tmp_path)
    virtual_laptop.plug_stick(image, serial="HALF1")
    until(virtual_laptop, "media.made_read_only HALF1")
    virtual_laptop.sh(f"(systemd-run --uid=pupil --quiet {ENCRYPT}) >/dev/null 2>&1 &").check()
    deadline = time.monotonic() + 120
    while b"not encrypted to the end" not in image.open("rb").read(512):
        assert time.monotonic() < deadline, virtual_laptop.sh("cat /run/said; journalctl -b | tail -20").out
        time.sleep(0.05)
    virtual_laptop.cut_power()

    (tmp_path / "after").mkdir()
    after = laptops.start()
    install_rule(after)
    start(after, tmp_path / "after", "encrypted-only")
    after.plug_stick(image, serial="HALF1")
    until(after, "media.attached HALF1 usb none unfinished")
    until(after, "tell This medium was not encrypted to the end")
