"""The agent's media part in a virtual laptop: its udev rule, and ``media_script.py``, which says what it does."""

import subprocess
import time
from pathlib import Path

from support.lab.cache import REPOSITORY
from support.lab.commands import run_tool
from support.lab.product import PYTHON, bring_agent
from support.lab.virtual_laptop import VirtualLaptop

MIB = 1 << 20
FLAG = "/etc/schoolkeeper/hold-media"
RULE = "99-schoolkeeper-media.rules"
_SCRIPT = REPOSITORY / "tests" / "support" / "lab" / "media_script.py"


def plain_stick(image: Path, size: int = 32 * MIB, label: str = "PLAIN") -> Path:
    with image.open("wb") as blank:
        blank.truncate(size)
    run_tool(["mkfs.vfat", "-n", label, image])
    return image


def luks_stick(image: Path, passphrase: bytes = b"correct horse") -> Path:
    with image.open("wb") as blank:
        blank.truncate(32 * MIB)
    quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file=-"]
    subprocess.run(["cryptsetup", "luksFormat", "-q", *quick, image], input=passphrase, check=True)
    return image


def install_rule(laptop: VirtualLaptop) -> None:
    """As the package does."""
    source = REPOSITORY / "packaging/linux/agent" / RULE
    laptop.put(f"/usr/lib/udev/rules.d/{RULE}", source.read_bytes())
    laptop.sh("mkdir -p /etc/schoolkeeper && udevadm control --reload").check()


def start(laptop: VirtualLaptop, folder: Path, access: str) -> None:
    bring_agent(laptop, folder)
    laptop.put("/run/media_script.py", _SCRIPT.read_bytes())
    laptop.sh(
        f"(PYTHONDONTWRITEBYTECODE=1 {PYTHON} /run/media_script.py {access} >/run/said 2>&1 </dev/null &)"
    ).check()
    until(laptop, "ready")


def until(laptop: VirtualLaptop, words: str, timeout: float = 90, *, times: int = 1) -> float:
    """Waits for so many lines with these words; returns the laptop's time since boot at which the last was said."""
    deadline = time.monotonic() + timeout
    while True:
        said = laptop.sh("cat /run/said").out
        found = [line for line in said.splitlines() if words in line]
        if len(found) >= times:
            return float(found[times - 1].split()[0])
        assert time.monotonic() < deadline, f"{words!r} was not said {times} times: {said}"
        time.sleep(0.2)
