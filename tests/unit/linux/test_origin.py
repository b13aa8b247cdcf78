"""Whose a program is, which path it really has, and which package brought it: on real files, mounts and lists."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent.enforcers.linux.applications import end_program
from schoolkeeper_agent.enforcers.linux.exec_responder import mounts, places
from schoolkeeper_agent.enforcers.linux.exec_responder.origin import PERSONAL, SYSTEM, Origin
from schoolkeeper_agent.enforcers.linux.packages import PackageWatch, programs_of
from schoolkeeper_proto.policy import MatchBy
from support.exec_guard import guard_on, own_file_system, rule
from support.patience import eventually

pytestmark = pytest.mark.anyio
TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 8:2 / /home rw,nosuid,nodev - ext4 /dev/sda2 rw
24 22 8:1 /snap /snap rw,nosuid - ext4 /dev/sda1 rw
25 22 8:17 / /media/ann/A\\040STICK rw,nosuid,nodev - ext4 /dev/sdb1 rw
26 22 0:50 / /media/ann/NTFS rw,nosuid,nodev - fuseblk /dev/sdc1 rw
27 22 0:51 / /home/ann/own rw,nosuid,nodev - fuse.own own rw
28 22 0:52 / /srv rw - nfs4 server:/srv rw
29 22 0:5 / /proc rw - proc proc rw
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder() -> Iterator[Path]:
    with own_file_system() as mounted:
        yield mounted


def test_owners_are_believed_where_the_administrator_mounted() -> None:
    believed, others = mounts.local(TABLE)
    assert believed == ("/",)
    assert others == ("/home", "/media/ann/A STICK", "/media/ann/NTFS")


def test_which_file_systems_are_decided_on() -> None:
    marked = mounts.to_mark(TABLE, None)
    assert set(marked.values()) == {"/", "/home", "/media/ann/A STICK", "/media/ann/NTFS"}
    assert mounts.to_mark(TABLE, ("/media/ann/NTFS", "/home/ann/own")) == {"0:50": "/media/ann/NTFS"}


def test_whose_a_file_is_decides_and_not_where_it_lies(folder: Path) -> None:
    origin = Origin()
    origin.learn()

    def of(path: Path) -> str:
        return origin.of(str(path), path.stat())

    assert of(Path("/usr/bin/env")) == SYSTEM
    program = folder / "program"
    shutil.copy("/bin/true", program)
    program.chmod(0o755)
    assert of(program) == SYSTEM
    program.chmod(0o775)
    assert of(program) == PERSONAL, "a group may write to it"
    program.chmod(0o755)
    os.chown(program, 4711, 4711)
    assert of(program) == PERSONAL
    os.chown(program, 0, 0)
    (folder / "stick").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,mode=755", "stick", folder / "stick"], check=True)
    try:
        shutil.copy("/bin/true", folder / "stick/program")
        origin.learn()
        assert of(folder / "stick/program") == PERSONAL, "its owner came with the stick"
        assert of(program) == SYSTEM
    finally:
        subprocess.run(["umount", folder / "stick"], check=True)


def test_the_true_path_of_what_another_namespace_shows(folder: Path) -> None:
    """A process with mounts of its own holds files open: what it calls them, and what we do."""
    (folder / "a b").mkdir()
    shutil.copy("/bin/true", folder / "a b/game")
    (folder / "notes").touch()
    (folder / "shown").mkdir()
    script = (
        f"mount --bind '{folder}/a b/game' {folder}/notes && mount --bind '{folder}/a b' {folder}/shown "
        f"&& exec 7<{folder}/notes 8<{folder}/shown/game && echo ready && read end"
    )
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        ours = Path("/proc/self/mountinfo").read_text()
        for number, called in ((7, folder / "notes"), (8, folder / "shown/game")):
            file = os.open(f"/proc/{other.pid}/fd/{number}", os.O_PATH)
            try:
                path, found = str(Path(f"/proc/self/fd/{file}").readlink()), os.fstat(file)
                assert path == str(called)
                assert not places.leads_to(path, found)
                true = places.true_path(file, path, found, other.pid, ours)
                assert true == f"{folder}/a b/game"
                assert places.true_path(file, path, found, 2**22, ours) == path, (
                    "whoever is gone tells nothing"
                )
            finally:
                os.close(file)
        other.communicate("end\n")


@pytest.fixture
def lists(tmp_path: Path, folder: Path) -> Path:
    made = tmp_path / "info"
    made.mkdir()
    (made / "supertux.list").write_text(f"/.\n{folder}\n{folder}/game\n{folder}/read-me\n/gone\nrelative\n")
    (made / "chess:amd64.list").write_text(f"{folder}/ok\n")
    (folder / "read-me").write_text("no program")
    return made


def test_a_package_has_the_programs_of_its_list(lists: Path, folder: Path) -> None:
    assert programs_of({"supertux"}, lists) == {str(folder / "game"): "supertux"}
    assert programs_of({"chess", "not-installed", "../x", "*"}, lists) == {str(folder / "ok"): "chess"}


async def test_a_rule_by_package_refuses_its_programs_also_under_another_name(
    lists: Path, folder: Path, tmp_path: Path
) -> None:
    async with guard_on(folder, tmp_path / "run") as guard:
        guard.enforcer._lists = lists
        await guard.decide_by(rule("r", MatchBy.PACKAGE, "supertux"))
        assert await guard.execute("game") == -1
        assert await guard.execute("ok") == 0
        os.link(folder / "game", folder / "essay")
        assert await guard.execute("essay") == -1
        # What comes with an upgrade is known when the package tool rests.
        shutil.copy("/bin/true", folder / "level-editor")
        new = lists / "supertux.list-new"
        new.write_text((lists / "supertux.list").read_text() + f"{folder}/level-editor\n")
        new.rename(lists / "supertux.list")
        async with asyncio.timeout(60):
            while await guard.execute("level-editor") == 0:  # noqa: ASYNC110 - the real watch, waited for
                await asyncio.sleep(0.05)
        await guard.decide_by(rule("r", MatchBy.FILE_NAME, "game"))
        assert guard.enforcer._package_watch is None, "nothing is watched that no rule names"


async def test_a_package_tool_that_is_at_work_is_waited_for(tmp_path: Path) -> None:
    told: list[None] = []
    watch = PackageWatch(lambda: told.append(None), tmp_path, settle_s=0.2)
    try:
        for number in range(20):
            (tmp_path / f"{number}.list").write_text("")
        await eventually(lambda: bool(told), "it rests")
        assert len(told) == 1
    finally:
        watch.close()


def test_only_the_program_that_was_meant_is_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        executed = str(Path(f"/proc/{process.pid}/exe").readlink())
        assert "something else" in end_program(process.pid, "/usr/bin/game")
        assert process.poll() is None
        assert end_program(process.pid, executed) == ""
        assert process.wait(60) == -signal.SIGKILL
    assert "is not there" in end_program(process.pid, executed)
