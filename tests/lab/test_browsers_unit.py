"""Browsers' policies from inside the agent's hardened unit, under a real systemd: written, restored, and given back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support.lab.cache import REPOSITORY
from support.lab.nspawn import Laptop
from support.lab.product import write_agent_folder

pytestmark = [pytest.mark.lab, pytest.mark.timeout(150)]
UNIT = REPOSITORY / "packaging/linux/agent/schoolkeeper-agent.service"
PROGRAM = Path(__file__).parent / "programs/tell_browsers.py"
FILES = (
    "/etc/chromium/policies/managed/schoolkeeper.json /etc/opt/chrome/policies/managed/schoolkeeper.json "
    "/etc/opt/edge/policies/managed/schoolkeeper.json /etc/firefox/policies/policies.json"
)
BEFORE = '{"policies": {"DisablePocket": true}}'


@pytest.fixture
def unit(laptop: Laptop, tmp_path: Path) -> Laptop:
    """The package's own unit with another program, so that every line of its sandbox holds."""
    write_agent_folder(tmp_path / "agent")
    (tmp_path / "agent" / PROGRAM.name).write_bytes(PROGRAM.read_bytes())
    text = re.sub(r"(?m)^(ExecStart\w+|ExecStop\w*|WatchdogSec)=.*\n", "", UNIT.read_text())
    start = f"ExecStart=/usr/bin/env PYTHONPATH=/opt/agent /usr/bin/python3 /opt/agent/{PROGRAM.name}"
    text = re.sub(r"(?m)^ExecStart=.*$", start, text).replace("Type=notify", "Type=simple")
    (tmp_path / "unit").write_text(text)
    laptop.copy_in(tmp_path / "agent", "/opt/agent")
    laptop.copy_in(tmp_path / "unit", "/etc/systemd/system/schoolkeeper-agent.service")
    laptop.sh(
        f"mkdir -p /etc/firefox/policies && echo '{BEFORE}' > /etc/firefox/policies/policies.json"
    ).check()
    laptop.sh("systemctl daemon-reload && systemctl start schoolkeeper-agent").check()
    return laptop


def until(laptop: Laptop, command: str) -> str:
    """Waits inside for a command to succeed; the time only guards against hanging."""
    return laptop.sh(f"until {command}; do sleep 0.2; done", 60).check()


@pytest.mark.scenario(tier="session", name="browser policies are written, restored and given back")
def test_the_unit_writes_restores_keeps_over_a_restart_and_gives_back(unit: Laptop) -> None:
    said = "journalctl -u schoolkeeper-agent --no-pager -o cat"
    until(unit, f"{said} | grep -q '^applied True'")
    unit.sh(f"ls {FILES}").check()
    assert unit.sh(
        "stat -c %a /etc/firefox/policies/policies.json /etc/chromium/policies"
    ).check().split() == [
        "644",
        "755",
    ]
    held = json.loads(unit.sh("cat /etc/firefox/policies/policies.json").check())
    assert held["policies"] == {"DisablePocket": True, "DisablePrivateBrowsing": True}

    unit.sh("rm -r /etc/chromium/policies && echo {} > /etc/firefox/policies/policies.json").check()
    until(unit, f"test $({said} | grep -c '; restored') = 2")
    unit.sh(f"grep -q DisablePrivateBrowsing /etc/firefox/policies/policies.json && ls {FILES}").check()

    unit.sh("systemctl restart schoolkeeper-agent").check()
    until(unit, f"test $({said} | grep -c '^applied True') = 2")
    unit.sh("sleep 6").check()
    unit.sh(f"ls {FILES}").check()

    unit.sh("systemctl stop schoolkeeper-agent").check()
    unit.sh(f"ls {FILES}").check()
    until(unit, "! ls /etc/chromium/policies/managed/schoolkeeper.json 2>/dev/null")
    until(unit, "! grep -q schoolkeeper /etc/firefox/policies/policies.json")
    assert unit.sh("cat /etc/firefox/policies/policies.json").check().strip() == BEFORE
    assert unit.sh("find /etc/chromium /etc/opt -type f").check() == ""
