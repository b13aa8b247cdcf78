"""The exported policies in a real Firefox, as `about:policies` shows them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schoolkeeper_policies.targets.common import Platform
from schoolkeeper_policies.targets.exporters import export
from support.exports import rich_policy
from support.lab.available import need
from support.vendor_schemas import FIREFOX

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
ASK = Path(__file__).parent / "programs/ask_firefox.py"
CONFIG = Path("/etc/firefox")


def ask(folder: Path, policies: dict[str, Any], address: str) -> dict[str, Any]:
    """Firefox with these policies, in namespaces of its own: this machine's settings and its network stay apart."""
    (folder / "policies").mkdir()
    (folder / "policies/policies.json").write_text(json.dumps({"policies": policies}))
    script = (
        f"mount --make-rprivate / && mount --bind {folder} {CONFIG} && ip link set lo up && "
        f"exec {sys.executable} {ASK} {FIREFOX} {folder}/profile {address}"
    )
    there_already = CONFIG.is_dir()
    CONFIG.mkdir(exist_ok=True)
    try:
        asked = subprocess.run(
            ["unshare", "-m", "-n", "sh", "-c", script],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    finally:
        if not there_already:
            with contextlib.suppress(OSError):  # another test of this machine uses it as well
                CONFIG.rmdir()
    assert asked.returncode == 0, asked.stderr
    found: dict[str, Any] = json.loads(asked.stdout)
    return found


def test_firefox_takes_every_policy_that_is_exported(tmp_path: Path) -> None:
    need(tools=("firefox-esr", "unshare", "ip"))
    (found,) = export(rich_policy(), [Platform.LINUX])
    file = next(file for file in found.files if file.name == "firefox/policies/policies.json")
    asked_for = json.loads(file.data)["policies"]
    del asked_for["DisableDeveloperTools"]  # it closes the remote control that this test asks by
    # One that Firefox does not know beside ours: the errors that are shown are its own, and only that one.
    said = ask(tmp_path, {**asked_for, "NoSuchPolicy": True}, "http://games.example/play")
    assert said["active"] is True
    assert [line for line in said["errors"] if "NoSuchPolicy" not in line] == []
    assert len(said["errors"]) == 1
    assert set(said["policies"]) == set(asked_for)
    assert "blockedByPolicy" in said["refused"]
