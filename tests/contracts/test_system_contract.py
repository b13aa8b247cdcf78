"""What the agent needs of every system: on Linux as it is, and by Windows' Python under Wine (`tests/wine`)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent.system import here


@pytest.fixture
def folder() -> Iterator[Path]:
    """Made by the seam itself, so that on Windows its rights are those of a real state folder."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made, "state")
        here.make_folder(path, everyone_reads=False)
        yield path


def test_a_private_file_is_its_owners_alone_from_the_first_moment(folder: Path) -> None:
    path = folder / "secret"
    with os.fdopen(here.open_private(path), "wb") as file:
        assert not here.readable_by_others(path)
        file.write(b"line\nline\r\n")
    here.sync_folder(folder)
    assert path.read_bytes() == b"line\nline\r\n", "no newline is changed on the way"
    assert here.rights_of(path)


def test_a_file_that_others_read_is_noticed_and_taken_back(folder: Path) -> None:
    path = folder / "secret"
    path.write_bytes(b"x")
    _open_to_all(path)
    assert here.readable_by_others(path)
    here.keep_to_owner(path)
    assert not here.readable_by_others(path)


def test_what_is_sealed_at_rest_comes_back_whole() -> None:
    for secret in (b"", b"-----BEGIN PRIVATE KEY-----\n", bytes(range(256)) * 64):
        kept = here.seal_at_rest(secret)
        assert here.unseal_at_rest(kept) == secret
        if sys.platform == "win32" and secret:
            assert secret not in kept
            with pytest.raises(ValueError, match="DPAPI"):
                here.unseal_at_rest(kept[:-4] + b"\0\0\0\0")
            with pytest.raises(ValueError, match="DPAPI"):
                here.unseal_at_rest(secret)


def test_room_is_taken_for_real_and_counted(folder: Path) -> None:
    path = folder / "ballast"
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        here.take_room(file, 1 << 16)
    finally:
        os.close(file)
    assert path.stat().st_size == 1 << 16
    assert here.taken_bytes(path) >= 1 << 16
    assert here.free_bytes(folder) > 1 << 16


def test_a_lock_counts_while_its_holder_lives(folder: Path) -> None:
    lock = folder / "lock"
    assert not here.is_held(lock)
    held = here.hold(lock)
    assert here.is_held(lock)
    held.close()
    assert not here.is_held(lock)
    code = (
        "import sys; from pathlib import Path; from schoolkeeper_agent.system import here;"
        " held = here.hold(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"held"
        assert here.is_held(lock)
        other.kill()
    assert lock.exists(), "nobody tidied up"
    assert not here.is_held(lock), "the system lets go of what a dead process held"


def test_the_owner_is_answered_and_nothing_is_said_when_nobody_listens(folder: Path) -> None:
    door = folder / "door"
    with pytest.raises(OSError):
        here.ask_owner(door, 5.0)

    async def meet() -> bytes:
        async def say() -> bytes:
            return b"{}" * 100_000

        server = await here.answer_owner(door, say)
        try:
            return await asyncio.to_thread(here.ask_owner, door, 20.0)
        finally:
            server.close()

    assert asyncio.run(meet()) == b"{}" * 100_000
    with pytest.raises(OSError):
        here.ask_owner(door, 5.0)


def test_a_child_reads_its_module_with_utf_8_and_without_the_environments_settings() -> None:
    done = subprocess.run(
        [*here.child_command("schoolkeeper_agent.notice_child")], input="not json ä", capture_output=True,
        encoding="utf-8", check=False, env=os.environ | {"PYTHONPATH": "nowhere"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "JSONDecodeError" in done.stderr


def test_what_cannot_be_told_is_empty_and_what_can_is_of_the_right_form() -> None:
    assert len(here.boot_id(Path("/proc"))) in (0, 16)
    assert here.resident_bytes(Path("/proc")) > 1 << 20
    machine = here.machine()
    assert machine.operating_system
    assert machine.installation == here.installation()
    assert here.STATE_FOLDER.is_absolute()
    assert here.CONFIG_FOLDER.is_absolute()


def _open_to_all(path: Path) -> None:
    if sys.platform == "win32":
        from schoolkeeper_agent.system import windows_api

        windows_api.set_rights(path, "D:P(A;;FA;;;BA)(A;;FA;;;WD)")
    else:
        path.chmod(0o644)
