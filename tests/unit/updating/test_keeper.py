"""A package that was verified is installed, watched and kept or put back, wherever it is cut off."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from schoolkeeper_agent.updating import keeper
from schoolkeeper_agent.updating.keeper import Keeper, sha256
from support.small_packages import SmallDpkg, unable

pytestmark = pytest.mark.skipif(bool(unable()), reason=unable())
RUNS, FAILED = "active", "failed"


@dataclass
class Device:
    """dpkg is real; ``systemctl`` is a file that says what the service does."""

    dpkg: SmallDpkg
    folder: Path
    programs: Path

    def want(self, package: Path, version: str) -> None:
        (self.folder / keeper.NEW).write_bytes(package.read_bytes())
        self.write(keeper.WANTED, {"version": version, "sha256": sha256(package)})

    def write(self, name: str, value: object) -> None:
        (self.folder / name).write_text(value if isinstance(value, str) else json.dumps(value))

    def service(self, state: str) -> None:
        program = self.programs / "systemctl"
        program.write_text(f"#!/bin/sh\necho {state}\n")
        program.chmod(0o755)

    def starts_and_reports(self, version: str, *, reports: bool = True) -> str:
        """A postinst of a package whose agent runs, and whose events are acknowledged."""
        said = f"echo {version} >{self.folder}/{keeper.STARTED}"
        return said + (f"; echo {version} >{self.folder}/{keeper.REPORTED}" if reports else "")

    def run(self, seconds: float = 0.0) -> None:
        Keeper(self.folder, seconds, look_s=0.01).run()

    def outcome(self) -> dict[str, Any]:
        found = json.loads((self.folder / keeper.OUTCOME).read_text())
        assert isinstance(found, dict)
        return found

    def is_at_rest(self) -> bool:
        left = {path.name for path in self.folder.iterdir()}
        return not left & {keeper.WANTED, keeper.STATE, keeper.NEW, "repacking"}


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device(SmallDpkg(tmp_path / "dpkg").make(), tmp_path / "state/updates", tmp_path / "programs")
    made.folder.mkdir(parents=True)
    made.programs.mkdir()
    for name, value in made.dpkg.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{made.programs}:{os.environ['PATH']}")
    made.service(RUNS)
    made.dpkg.install(made.dpkg.build("1.0", conffile="pristine\n"))
    return made


@pytest.fixture
def collector(device: Device) -> Iterator[str]:
    """Something that answers at the address of the school's server."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        trust = device.folder.parent / "trust"
        trust.mkdir()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (trust / "addresses.json").write_text(json.dumps({"uplink": [address]}))
        thread = threading.Thread(target=lambda: _accept(server), daemon=True)
        thread.start()
        yield address


def _accept(server: socket.socket) -> None:
    try:
        while True:
            server.accept()[0].close()
    except OSError:
        return


def test_an_agent_that_reports_is_kept_and_is_the_next_one_s_way_back(device: Device) -> None:
    new = device.dpkg.build("2.0", postinst=device.starts_and_reports("2.0"))
    device.want(new, "2.0")
    device.run()
    assert device.dpkg.status() == "installed 2.0"
    assert device.outcome()["state"] == "succeeded"
    assert (device.outcome()["from"], device.outcome()["to"]) == ("1.0", "2.0")
    assert device.is_at_rest()
    assert (device.folder / keeper.FORMER).read_bytes() == new.read_bytes()


def test_an_agent_that_does_not_start_is_put_back(device: Device) -> None:
    device.want(device.dpkg.build("2.0"), "2.0")
    device.run()
    assert device.dpkg.status() == "installed 1.0"
    assert device.dpkg.agent == "1.0"
    assert (device.dpkg.root / "usr/link").readlink() == Path("agent")
    assert device.outcome()["state"] == "rolled-back"
    assert device.outcome()["why"] == "it did not start"
    assert device.is_at_rest()


def test_an_agent_that_runs_and_does_not_report_to_a_server_that_answers_is_put_back(
    device: Device, collector: str
) -> None:
    assert collector
    device.want(device.dpkg.build("2.0", postinst=device.starts_and_reports("2.0", reports=False)), "2.0")
    device.run()
    assert device.dpkg.status() == "installed 1.0"
    assert "did not report" in device.outcome()["why"]


def test_an_agent_that_ended_is_put_back_also_where_there_is_no_network(device: Device) -> None:
    device.service(FAILED)
    device.want(device.dpkg.build("2.0", postinst=device.starts_and_reports("2.0", reports=False)), "2.0")
    device.run()
    assert device.dpkg.status() == "installed 1.0"
    assert device.outcome()["why"] == "it does not run"


def test_without_a_network_an_agent_that_runs_has_longer_and_is_kept_once_it_reports(device: Device) -> None:
    device.want(device.dpkg.build("2.0", postinst=device.starts_and_reports("2.0", reports=False)), "2.0")
    asked = device.folder / "asked"
    (device.programs / "systemctl").write_text(
        f"#!/bin/sh\necho x >>{asked}\necho {RUNS}\n"
        f"[ $(wc -l <{asked}) -lt 4 ] || echo 2.0 >{device.folder}/{keeper.REPORTED}\n"
    )
    device.run()
    assert device.outcome()["state"] == "succeeded"
    assert len(asked.read_text().split()) == 4, "at each look it was sound, and nobody could be reached"


def test_a_package_whose_script_fails_is_put_back(device: Device) -> None:
    device.want(device.dpkg.build("2.0", postinst="exit 7"), "2.0")
    device.run()
    assert device.dpkg.status() == "installed 1.0"
    assert device.outcome()["state"] == "rolled-back"
    assert "dpkg ended with" in device.outcome()["why"]


def test_what_an_administrator_wrote_into_the_settings_is_kept_both_ways(device: Device) -> None:
    settings = device.dpkg.root / "etc/agent.toml"
    settings.write_text("mine\n")
    device.want(device.dpkg.build("2.0", conffile="newer\n"), "2.0")
    device.run()
    assert device.dpkg.status() == "installed 1.0"
    assert settings.read_text() == "mine\n"


@pytest.mark.parametrize("version", ["1.0", "0.9"])
def test_what_is_not_newer_is_refused(device: Device, version: str) -> None:
    device.want(device.dpkg.build(version), version)
    device.run()
    assert device.outcome()["state"] == "refused"
    assert "not newer" in device.outcome()["why"]
    assert device.dpkg.agent == "1.0"
    assert device.is_at_rest()


def test_another_version_another_machine_s_and_another_file_are_refused(device: Device) -> None:
    new = device.dpkg.build("2.0")
    device.want(new, "3.0")
    device.run()
    assert device.outcome()["why"] == "the package is schoolkeeper-agent 2.0"
    foreign = device.dpkg.build("2.0", architecture="s390x")
    device.want(foreign, "2.0")
    device.run()
    assert device.outcome()["why"] == "the package is for s390x"
    device.want(new, "2.0")
    with (device.folder / keeper.NEW).open("ab") as file:
        file.write(b"\x00")
    device.run()
    assert "not the one that was verified" in device.outcome()["why"]
    device.write(keeper.WANTED, "{")
    device.run()
    assert "cannot be read" in device.outcome()["why"]
    assert device.dpkg.status() == "installed 1.0"
    assert device.is_at_rest()


def test_a_full_disk_refuses_before_anything_is_touched(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "ROOM", 1 << 40)
    device.want(device.dpkg.build("2.0"), "2.0")
    device.run()
    assert device.outcome()["state"] == "put-off"
    assert not (device.folder / keeper.FAILED).exists(), "tried again when there is room"
    assert device.is_at_rest()
    assert "the disk has" in device.outcome()["why"]
    assert device.dpkg.agent == "1.0"


def test_a_folder_that_the_system_made_a_link_of_is_a_folder_of_the_package(device: Device) -> None:
    """As /lib on Debian: the package put back has its file there, and no link in the place of the folder."""
    root = device.dpkg.root
    device.dpkg.install(device.dpkg.build("1.1", files={"lib/unit": "one"}))
    (root / "lib").rename(root / "usr/lib")
    (root / "lib").symlink_to("usr/lib")
    device.want(device.dpkg.build("2.0", files={"lib/unit": "two"}), "2.0")
    device.run()
    assert device.dpkg.status() == "installed 1.1"
    assert (root / "lib").readlink() == Path("usr/lib")
    assert (root / "usr/lib/unit").read_text() == "one"


def test_what_failed_is_remembered_by_its_hash(device: Device) -> None:
    new = device.dpkg.build("2.0")
    device.want(new, "2.0")
    device.run()
    assert json.loads((device.folder / keeper.FAILED).read_text())["sha256"] == [sha256(new)]


def test_a_note_that_cannot_be_read_ends_the_update(device: Device) -> None:
    device.write(keeper.STATE, "not json")
    device.run()
    assert device.outcome()["state"] == "refused"
    assert device.is_at_rest()


def test_no_update_is_nothing_to_do(device: Device) -> None:
    device.run()
    assert not (device.folder / keeper.OUTCOME).exists()


_DPKG = """#!/bin/sh
n=$(($(cat {count} 2>/dev/null || echo 0) + 1))
echo $n >{count}
[ $n != {at} ] || [ {when} != before ] || {{ kill -9 $PPID; exit 1; }}
/usr/bin/{name} "$@"
code=$?
[ $n != {at} ] || {{ kill -9 $PPID; exit 1; }}
exit $code
"""
CALLS = 60
"""More than there are of dpkg's programs in one update, the way back and dpkg's own calls included."""
PROGRAMS = ("dpkg", "dpkg-deb", "dpkg-query")


@pytest.mark.chaos
@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step_it_comes_to_the_same_end(device: Device, when: str, good: bool) -> None:
    reached = next(at for at in range(1, CALLS) if not _comes_to_its_end(device, at, when, good))
    assert reached > 10


@pytest.mark.parametrize(
    ("at", "when", "good"), [(9, "before", True), (12, "after", True), (16, "after", False)]
)
def test_killed_while_it_installs_it_comes_to_the_same_end(
    device: Device, at: int, when: str, good: bool
) -> None:
    assert _comes_to_its_end(device, at, when, good)


def _comes_to_its_end(device: Device, at: int, when: str, good: bool) -> bool:
    """Whoever makes the n-th call of a program of dpkg's (the keeper, or dpkg) is killed without a word, before it
    or after; then the keeper is started again, as at a boot. False: there were fewer calls."""
    for path in device.folder.iterdir():
        if path.is_file():
            path.unlink()
    device.dpkg.install(device.dpkg.build("1.0", conffile="pristine\n"))
    device.want(device.dpkg.build("2.0", postinst=device.starts_and_reports("2.0") if good else ""), "2.0")
    count = device.programs / "count"
    count.write_text("0")
    for name in PROGRAMS:
        program = device.programs / name
        program.write_text(_DPKG.format(name=name, count=count, at=at, when=when))
        program.chmod(0o755)
    ended = _in_a_process(device)
    assert ended in (0, -9)
    if ended:
        ended = _in_a_process(device)
    for name in PROGRAMS:
        (device.programs / name).unlink()
    wanted = ("installed 2.0", "succeeded") if good else ("installed 1.0", "rolled-back")
    came = (ended, device.dpkg.status(), device.outcome()["state"], device.is_at_rest())
    assert came == (0, *wanted, True), f"killed at call {at}: {device.outcome()}"
    return int(count.read_text()) >= at


def _in_a_process(device: Device) -> int:
    program: list[str | Path] = [sys.executable, "-I", keeper.__file__, device.folder, "0"]
    return subprocess.run(program, env=os.environ, capture_output=True, timeout=60, check=False).returncode
