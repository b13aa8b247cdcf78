"""Posture: pass, fail, and unknown with its reason; never a guess (T-43)."""

import io
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.sensors.linux import posture_parsers as parsers
from schoolkeeper_agent.sensors.linux import posture_readers
from schoolkeeper_agent.sensors.linux.posture import PostureSensor
from schoolkeeper_proto.model import PostureResult
from schoolkeeper_proto.policy import PostureCheck, PostureSection
from schoolkeeper_proto.posture import Check
from support.core_playbook import bundle_of

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PASS, FAIL, UNKNOWN = PostureResult.PASS, PostureResult.FAIL, PostureResult.UNKNOWN


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("device", "uuids", "below", "expected"),
    [
        ("254:0", {"254:0": "CRYPT-LUKS2-abc-root"}, {}, PASS),
        ("254:1", {"254:1": "LVM-x", "254:0": "CRYPT-LUKS1-a"}, {"254:1": ("254:0",)}, PASS),
        ("254:1", {"254:1": "LVM-x", "254:0": "CRYPT-LUKS1-a"}, {"254:1": ("254:0", "8:3")}, FAIL),
        ("8:1", {}, {}, FAIL),
        ("254:1", {}, {"254:1": ("254:1",)}, FAIL),
        ("0:30", {}, {}, UNKNOWN),
        ("", {}, {}, UNKNOWN),
    ],
)
def test_disk_encryption(
    device: str, uuids: dict[str, str], below: dict[str, tuple[str, ...]], expected: PostureResult
) -> None:
    held, lying_on = lambda one: uuids.get(one, ""), lambda one: below.get(one, ())
    found = parsers.disk_encryption({"/": device}, held, lying_on)
    assert found.result is expected
    assert bool(found.because) == (expected is UNKNOWN)
    # One plain disk is enough, whatever else is encrypted or cannot be told.
    with_swap = parsers.disk_encryption({"/": device, "swap on /dev/sdb1": "8:17"}, held, lying_on)
    assert with_swap.result is FAIL
    assert "swap on /dev/sdb1" in with_swap.evidence


def header(built: datetime) -> bytes:
    return f"ClamAV-VDB:{built:%d %b %Y %H-%M +0000}:27812:2075000:90:x".encode().ljust(512)


def test_the_header_of_a_signature_file() -> None:
    built = datetime(2026, 11, 20, 7, 56, tzinfo=UTC)
    assert parsers.signature_time(header(built)) == built
    for wrong in (b"", b"ClamAV-VDB", b"ClamAV-VDB:yesterday:1:2", b"\xff" * 512):
        assert parsers.signature_time(wrong) is None


@pytest.mark.parametrize(
    ("age_days", "running", "installed", "expected"),
    [
        (2, True, True, PASS),
        (9, True, True, FAIL),
        (2, False, True, FAIL),
        (0, True, False, FAIL),
        (-5, True, True, UNKNOWN),
    ],
)
def test_antivirus(age_days: int, running: bool, installed: bool, expected: PostureResult) -> None:
    built = NOW - timedelta(days=age_days)
    found = parsers.antivirus(built, installed=installed, running=running, now=NOW, threshold_days=0)
    assert found.result is expected
    unread = parsers.antivirus(None, installed=True, running=True, now=NOW, threshold_days=0)
    assert (unread.result, bool(unread.because)) == (UNKNOWN, True)


UPGRADE = """Inst libc6 [2.36-9] (2.36-10 Debian-Security:12/stable-security [amd64])
Inst vim [1] (2 Debian:12.5/stable [amd64])
Conf libc6 (2.36-10 Debian-Security:12/stable-security [amd64])
"""


def test_updates() -> None:
    fresh, old = NOW - timedelta(days=1), NOW - timedelta(days=40)
    assert parsers.pending_security_updates(UPGRADE) == 1
    assert parsers.updates(UPGRADE, fresh, now=NOW, threshold_days=0).result is FAIL
    assert parsers.updates("", fresh, now=NOW, threshold_days=0).result is PASS
    # Old lists say nothing: no update is known is not no update.
    assert parsers.updates("", old, now=NOW, threshold_days=0).result is UNKNOWN
    assert parsers.updates(None, None, now=NOW, threshold_days=0).result is UNKNOWN


@pytest.mark.requirement("T-15")
@pytest.mark.parametrize(
    ("age_days", "threshold", "expected"),
    [(1, 0, PASS), (35, 0, PASS), (36, 0, FAIL), (8, 7, FAIL), (-3, 0, UNKNOWN)],
)
def test_the_lists_of_sites_are_as_old_as_the_policy(
    age_days: int, threshold: int, expected: PostureResult
) -> None:
    compiled = NOW - timedelta(days=age_days)
    found = parsers.site_lists(12, compiled, now=NOW, threshold_days=threshold)
    assert found.result is expected
    assert ("policy version 12" in found.evidence) == (expected is not UNKNOWN)
    assert parsers.site_lists(0, compiled, now=NOW, threshold_days=0).result is UNKNOWN


async def read(tmp_path: Path, check: str, root: Path) -> object:
    section = PostureSection(checks=(PostureCheck(check=check, every_seconds=60),))
    sensor = PostureSensor(Context(bundle=bundle_of(section), run_dir=tmp_path), root=root)
    return await sensor.read(section.checks[0])


@pytest.mark.anyio
async def test_the_readers_on_this_machine_answer_and_never_guess(tmp_path: Path) -> None:
    for check in (*Check, "of-tomorrow"):
        found = await read(tmp_path, check, Path("/"))
        assert bool(found.unknown_because) == (found.result is UNKNOWN), found  # type: ignore[attr-defined]


@pytest.mark.anyio
async def test_the_antivirus_reader_finds_the_newest_signatures(tmp_path: Path) -> None:
    folder = tmp_path / "root" / "var/lib/clamav"
    folder.mkdir(parents=True)
    with io.FileIO(folder / "daily.cvd", "w") as file:
        file.write(header(datetime.now(UTC) - timedelta(days=30)))
    found = await read(tmp_path, "antivirus", tmp_path / "root")
    assert found.result is FAIL  # type: ignore[attr-defined]
    assert "30 days old" in found.evidence  # type: ignore[attr-defined]


@pytest.mark.anyio
async def test_apt_is_asked_again_only_when_something_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, tools, asked = tmp_path / "root", tmp_path / "tools", tmp_path / "asked"
    lists, status = root / "var/lib/apt/lists", root / "var/lib/dpkg/status"
    for folder in (lists, status.parent, tools):
        folder.mkdir(parents=True)
    (lists / "deb_Release").touch()
    status.write_text("one")
    gently = tools / "setpriv"
    gently.write_text(f'#!/bin/sh\necho asked >> {asked}\nprintf "{UPGRADE}"\n')
    gently.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    section = PostureSection(checks=(PostureCheck(check="updates", every_seconds=60),))
    sensor = PostureSensor(Context(bundle=bundle_of(section), run_dir=tmp_path), root=root)

    async def times(expected: int) -> None:
        found = await sensor.read(section.checks[0])
        assert (found.result, found.evidence.split(";")[0]) == (FAIL, "1 security updates wait")
        assert asked.read_text().count("asked") == expected

    await times(1)
    await times(1)
    status.write_text("another")
    await times(2)
    (lists / "deb_Packages").touch()
    await times(3)
    await times(3)
    monkeypatch.setattr(posture_readers, "_ASK_AGAIN_S", 0.0)
    await times(4)


def test_a_costly_check_does_not_outlive_a_killed_agent() -> None:
    """Found under random kills: simulated upgrades of agents long dead were eating both cores."""
    program = (
        "import subprocess, time\n"
        "from schoolkeeper_agent.sensors.linux.posture_readers import _GENTLY\n"
        "child = subprocess.Popen([*_GENTLY, 'sleep', '60'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        child = Path("/proc") / agent.stdout.readline().strip()
        # Only once setpriv and nice have done their part: before that there is nothing yet that could be gone.
        ready = time.monotonic() + 90
        while (child / "comm").read_text().strip() != "sleep" and time.monotonic() < ready:
            time.sleep(0.02)
        agent.kill()
    deadline = time.monotonic() + 60
    while child.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not child.exists() or "\nState:\tZ" in (child / "status").read_text()
