"""The exports in the hands of the real programs that read them: Chromium, dconf and GSettings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from schoolkeeper_policies.targets.common import Platform
from schoolkeeper_policies.targets.exporters import export
from support.browser import CHROMIUM
from support.exports import rich_policy

pytestmark = pytest.mark.lab
ROOT_ONLY = "needs root: a mount namespace of its own, so that this machine's own settings stay untouched"

# What chrome://policy says of each policy: its name, and an error where Chromium does not take it.
_ASK_CHROMIUM = """
import json, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as driver:
    # A profile of its own: without one the driver opens private windows, which the policy forbids.
    browser = driver.chromium.launch_persistent_context(
        sys.argv[2], executable_path=sys.argv[1], args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
    )
    page = browser.pages[0]
    page.goto("chrome://policy")
    page.locator("policy-row").first.wait_for(state="attached")
    page.wait_for_timeout(500)
    print(json.dumps(page.locator("policy-row").evaluate_all('''rows => rows.map(row =>
        [".name", ".messages"].map(part => row.shadowRoot.querySelector(part).innerText.trim()))''')))
    try:
        page.goto("http://games.example/play", wait_until="commit")
    except Exception as error:
        print(json.dumps(str(error)))
    browser.close()
"""


def files(platform: Platform) -> dict[str, bytes]:
    (found,) = export(rich_policy(), [platform])
    return {file.name: file.data for file in found.files}


@pytest.mark.skipif(os.geteuid() != 0, reason=ROOT_ONLY)
@pytest.mark.timeout(300)
def test_chromium_takes_every_policy_that_is_exported(tmp_path: Path) -> None:
    if not CHROMIUM.exists():
        pytest.skip("there is no /usr/bin/chromium: make lab installs it")
    pytest.importorskip("playwright", reason="playwright is missing: make test installs it")
    managed = tmp_path / "policies" / "managed"
    managed.mkdir(parents=True)
    asked_for = json.loads(files(Platform.LINUX)["chromium/policies/managed/schoolkeeper.json"])
    del asked_for["DeveloperToolsAvailability"]  # the driver of this test is one of them
    (managed / "schoolkeeper.json").write_text(json.dumps(asked_for))
    (tmp_path / "ask.py").write_text(_ASK_CHROMIUM)
    script = (
        "mount --make-rprivate / && mkdir -p /etc/chromium/policies && "
        f"mount --bind {tmp_path}/policies /etc/chromium/policies && "
        f"exec {sys.executable} {tmp_path}/ask.py {CHROMIUM} {tmp_path}/profile"
    )
    asked = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert asked.returncode == 0, asked.stderr
    rows, refused = (json.loads(line) for line in asked.stdout.splitlines())
    said = dict(rows)
    assert {name: said.get(name) for name in asked_for} == dict.fromkeys(asked_for, "OK")
    assert "ERR_BLOCKED_BY_ADMINISTRATOR" in refused


@pytest.mark.skipif(os.geteuid() != 0, reason=ROOT_ONLY)
def test_gnome_reads_the_exported_keys_and_the_person_cannot_change_them(tmp_path: Path) -> None:
    for tool in ("dconf", "gsettings", "dbus-run-session"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}: make lab installs it")
    for name, data in files(Platform.LINUX).items():
        if name.startswith("dconf/"):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    home = tmp_path / "home"
    home.mkdir()
    inside = "; ".join(
        f"echo {schema} {key} $(gsettings get {schema} {key}) $(gsettings writable {schema} {key})"
        for schema, key in _exported_keys(tmp_path)
    )
    script = (
        "mount --make-rprivate / && mkdir -p /etc/dconf && "
        f"mount --bind {tmp_path}/dconf /etc/dconf && dconf update && "
        f"HOME={home} XDG_RUNTIME_DIR={home} GSETTINGS_BACKEND=dconf dbus-run-session -- sh -c '{inside}'"
    )
    asked = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert asked.returncode == 0, asked.stderr
    found = {" ".join(line.split()[:2]): line.split()[2:] for line in asked.stdout.splitlines()}
    assert found["org.gnome.desktop.session idle-delay"] == ["uint32", "450", "false"]
    assert found["org.gnome.desktop.media-handling automount"] == ["false", "false"]
    assert {words[-1] for words in found.values()} == {"false"}, "a key is not locked, or not known"


def _exported_keys(folder: Path) -> list[tuple[str, str]]:
    locks = (folder / "dconf/db/schoolkeeper.d/locks/schoolkeeper").read_text().split()
    return [(path.rpartition("/")[0][1:].replace("/", "."), path.rpartition("/")[2]) for path in locks]
