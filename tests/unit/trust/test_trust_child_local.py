"""A device that cannot write its own files says so, and does not blame what the school signed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_a_disk_that_takes_nothing_is_this_device_s_own_fault(tmp_path: Path) -> None:
    in_the_way = tmp_path / "state"
    in_the_way.write_text("a file where a folder should be")
    request = {"work": "update", "state_dir": str(in_the_way / "trust"), "now_ms": 1_795_000_000_000}
    done = subprocess.run(
        [sys.executable, "-I", "-m", "schoolkeeper_agent.trust_child"],
        input=json.dumps(request).encode() + b"\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["refused"] == "local", answer
    assert str(in_the_way) in answer["message"]
