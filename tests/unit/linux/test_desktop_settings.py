"""Desktops' own lock settings: what GNOME and KDE then say, what nobody can change, and what was there before."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import HoldDesktops
from schoolkeeper_agent.enforcers.linux import desktop_files as files
from schoolkeeper_agent.enforcers.linux.desktop import DesktopEnforcer
from schoolkeeper_agent.observations import Noted
from schoolkeeper_proto import model
from support.core_playbook import bundle_of
from support.lab.available import need
from support.patience import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.lab]
THEIRS = {
    files.PROFILE: "user-db:user\nsystem-db:county\n",
    files.KDE: "[Greeter]\nTheme=county\n[Daemon]\nTimeout=60\n",
}
AS_PUPIL = """
set -e
mount -t tmpfs made-for-this-test /mnt
mkdir /mnt/upper /mnt/work /mnt/home
mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work made-for-this-test /etc
mkdir -p /etc/dconf
cp -a "$1"/dconf/. /etc/dconf/
chown 65534:65534 /mnt/home
cd /
exec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/mnt/home XDG_RUNTIME_DIR=/mnt/home \
    dbus-run-session -- sh -c "$2" 2>&1
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    need(tools=("dconf", "gsettings", "kreadconfig5", "kwriteconfig5"))
    folder = tmp_path / "etc"
    (folder / "xdg").mkdir(parents=True)
    return folder


def as_pupil(etc: Path, script: str) -> list[str]:
    """What a person's own programs say, on a machine that has these files; lines."""
    command = ["unshare", "--mount", "sh", "-c", AS_PUPIL, "sh", str(etc), script]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.requirement("W-72")
def test_gnome_locks_after_the_rules_time_and_the_person_cannot_set_another(etc: Path) -> None:
    files.apply(etc, 300)
    idle, free = "org.gnome.desktop.session idle-delay", "org.gnome.desktop.interface font-name"
    said = as_pupil(
        etc,
        f"gsettings get {idle}; gsettings writable {idle}; gsettings set {idle} 0; gsettings get {idle};"
        f"gsettings get org.gnome.desktop.screensaver lock-enabled; gsettings writable {free}",
    )
    assert said == ["uint32 300", "false", "The key is not writable", "uint32 300", "true", "true"]


def test_every_key_is_one_that_the_desktops_have(etc: Path) -> None:
    """Of GNOME's here: a key that its schema does not know would be held, and heeded by nobody."""
    for path, values in files.settings(300).items():
        if path.startswith("org/gnome/"):
            listed = as_pupil(etc_with(etc), f"gsettings list-keys {path.replace('/', '.')}")
            assert set(values) <= set(listed), path


def etc_with(etc: Path) -> Path:
    (etc / "dconf").mkdir(exist_ok=True)
    return etc


@pytest.mark.requirement("W-72")
def test_kde_locks_after_the_rules_time_and_the_person_cannot_set_another(etc: Path, tmp_path: Path) -> None:
    files.apply(etc, 330)
    own = tmp_path / "home"
    own.mkdir()
    (own / "kscreenlockerrc").write_text("[Daemon]\nAutolock=false\nTimeout=600\n[Greeter]\nTheme=mine\n")
    paths = {
        "HOME": str(own),
        "XDG_CONFIG_HOME": str(own),
        "XDG_CONFIG_DIRS": str(etc / "xdg"),
        "PATH": "/usr/bin:/bin",
    }

    def says(group: str, key: str) -> str:
        command = ["kreadconfig5", "--file", "kscreenlockerrc", "--group", group, "--key", key]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=paths).stdout.strip()

    assert [says("Daemon", key) for key in ("Autolock", "Timeout", "LockGrace")] == ["true", "5", "0"]
    write = ["kwriteconfig5", "--file", "kscreenlockerrc", "--group", "Daemon", "--key", "Timeout", "900"]
    subprocess.run(write, check=False, env=paths, capture_output=True)
    assert says("Daemon", "Timeout") == "5"
    assert says("Greeter", "Theme") == "mine", "nothing else is taken from the person"


def test_what_others_wrote_is_taken_along_and_comes_back(etc: Path) -> None:
    for name, text in THEIRS.items():
        (etc / name).parent.mkdir(parents=True, exist_ok=True)
        (etc / name).write_text(text)
    before = {path: path.read_bytes() for path in etc.rglob("*") if path.is_file()}
    assert len(files.apply(etc, 300)) == 4
    assert files.apply(etc, 300) == []
    profile = (etc / files.PROFILE).read_text().splitlines()
    assert profile[1:] == ["user-db:user", "system-db:schoolkeeper", "system-db:county"]
    assert "Theme=county" in (etc / files.KDE).read_text()
    files.apply(etc, 600)
    assert (etc / files.KDE).read_text().endswith("Timeout=10\n")
    files.give_back(etc)
    assert {path: path.read_bytes() for path in etc.rglob("*") if path.is_file()} == before
    files.give_back(etc)


@pytest.fixture
async def held(etc: Path, tmp_path: Path) -> AsyncIterator[tuple[DesktopEnforcer, list[object]]]:
    seen: list[object] = []
    context = Context(bundle=bundle_of(), run_dir=tmp_path, browser_root=etc)
    enforcer = DesktopEnforcer(context, seen.append)
    done = await enforcer.perform(HoldDesktops(idle_lock_seconds=300))
    assert done.succeeded, done.detail
    yield enforcer, seen
    await enforcer.close()


async def test_a_setting_that_somebody_changes_is_restored_and_told(
    etc: Path, held: tuple[DesktopEnforcer, list[object]]
) -> None:
    enforcer, seen = held
    (etc / files.KDE).write_text("[Daemon]\nAutolock=false\n")
    await eventually(lambda: bool(seen), "the change is told")
    (noted,) = seen
    assert isinstance(noted, Noted)
    assert isinstance(noted.body, model.AgentTampered)
    assert noted.body.what == "desktop settings"
    assert "kscreenlockerrc: changed; restored" in noted.body.detail
    assert (etc / files.KDE).read_bytes() == files.files(etc, 300)[etc / files.KDE]
    gone = await enforcer.perform(HoldDesktops(idle_lock_seconds=0))
    assert gone.succeeded
    await asyncio.sleep(0)
    assert not (etc / files.KEYS).exists()
    assert not (etc / "dconf").exists()


async def test_a_folder_that_cannot_be_written_is_a_failure_with_its_name(etc: Path, tmp_path: Path) -> None:
    (etc / "dconf").write_text("in the way")
    context = Context(bundle=bundle_of(), run_dir=tmp_path, browser_root=etc)
    done = await DesktopEnforcer(context, lambda _: None).perform(HoldDesktops(idle_lock_seconds=300))
    assert not done.succeeded
    assert "dconf" in done.detail
