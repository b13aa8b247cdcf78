"""`make demo ARGS=--check` proves something only if it fails, and names the hop, when a hop is broken."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "packaging/demo/run.py"
PATIENCE = 240.0
HEARTBEAT = "its first heartbeat is in the collector"

# Each waits out the minute that the check grants an event.
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


class Check:
    """The check, in a folder and a network of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder / "demo", folder / "log"
        self.environment = {**os.environ, "SCHOOLKEEPER_DEMO_FOLDER": str(self.folder)}
        command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, sys.executable, RUN, "--check"], stdout=out, stderr=out, env=self.environment
            )

    def until(self, words: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while words not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.005)

    def child(self, name: str) -> int:
        return int(json.loads((self.folder / "children.json").read_text())[name][0])

    def block_uplink(self) -> None:
        words = Path(f"/proc/{self.child('collector')}/environ").read_bytes().decode().split("\0")
        listen = next(word for word in words if word.startswith("SCHOOLKEEPER_UPLINK_LISTEN="))
        rules = (
            "add table inet check; add chain inet check in { type filter hook input priority 0; };"
            f" add rule inet check in tcp dport {listen.rpartition(':')[2]} drop"
        )
        subprocess.run(["nsenter", "-t", str(self.process.pid), "-n", "nft", rules], check=True)

    def stop_agent(self) -> None:
        os.kill(self.child("agent"), signal.SIGSTOP)

    def clean(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        subprocess.run([sys.executable, RUN, "--clean"], env=self.environment, check=True)


@pytest.fixture
def check(tmp_path: Path) -> Iterator[Check]:
    if os.geteuid() != 0 or shutil.which("nft") is None:
        pytest.skip("needs root and nft for a network of its own: `make lab` installs it")
    running = Check(tmp_path)
    yield running
    running.clean()


@pytest.mark.parametrize("breaks", [Check.block_uplink, Check.stop_agent])
def test_a_broken_hop_fails_the_check_and_is_named(check: Check, breaks: Callable[[Check], None]) -> None:
    check.until(HEARTBEAT)
    breaks(check)
    assert check.process.wait(PATIENCE) == 1
    told = check.log.read_text()
    assert "demo: FAILED: not within 60 s: the event is in the collector's log" in told
    assert "demo: the event was last seen at: the program was started on this machine" in told
    assert "inclusion proof verified" not in told


def test_the_same_check_passes_where_nothing_is_broken(check: Check) -> None:
    assert check.process.wait(PATIENCE) == 0, check.log.read_text()
    assert "its inclusion proof verified" in check.log.read_text()
