"""A real loop device and the real cryptsetup: what is on a stick afterwards, and after each way to break off."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from schoolkeeper_agent.encrypting.lines import unfit
from schoolkeeper_agent.encrypting.stick import Stick, StickError, new_recovery_key
from schoolkeeper_agent.sensors.linux.block_device import look_inside, sequence_of
from schoolkeeper_agent.sensors.linux.content import UNFINISHED_MARK
from schoolkeeper_agent.sensors.linux.volume import Content
from schoolkeeper_proto.model import MediumEncryption
from support.loop import Loop, loop_device

PASSPHRASE = "vier Wörter ergeben Sinn"
PLAIN = b"a child's homework"
UNFINISHED = Content(encryption=MediumEncryption.NONE, file_system="unfinished")
needs_cryptsetup = pytest.mark.skipif(not shutil.which("cryptsetup"), reason="cryptsetup is not installed")


@pytest.fixture
def loop() -> Iterator[Loop]:
    with loop_device() as made:
        subprocess.run(["mkfs.vfat", made.image], check=True, capture_output=True)
        with made.image.open("r+b") as file:
            file.seek(20 << 20)
            file.write(PLAIN)
            os.fsync(file.fileno())
        yield made


def stick_of(loop: Loop) -> Stick:
    return Stick(disk=loop.disk, sequence=sequence_of(loop.disk), unlock_ms=100)


def holds(loop: Loop) -> Content:
    return look_inside(Path(f"/dev/{loop.name}"), 32 << 20)


def opens(loop: Loop, secret: str) -> bool:
    command = ["cryptsetup", "open", "--test-passphrase", "--key-file", "-", f"/dev/{loop.name}"]
    return subprocess.run(command, input=secret.encode(), capture_output=True, check=False).returncode == 0


@needs_cryptsetup
@pytest.mark.requirement("T-45")
def test_nothing_plain_is_left_and_both_ways_in_open_it(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[str] = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: (commands.append(str(a[0])), run(*a, **k))[1])
    key = new_recovery_key()
    with stick_of(loop) as stick:
        done = list(stick.overwrite())
        assert done[-1] == stick.size
        assert done == sorted(done)
        assert holds(loop) == UNFINISHED
        stick.encrypt(PASSPHRASE, key)
    assert holds(loop) == UNFINISHED, "there is no file system inside yet"
    stick.finish()
    assert holds(loop) == Content(encryption=MediumEncryption.LUKS2, file_system="luks2")
    assert opens(loop, PASSPHRASE)
    assert opens(loop, key)
    assert not opens(loop, "another passphrase")
    image = loop.image.read_bytes()
    assert PLAIN not in image
    assert UNFINISHED_MARK not in image
    said = " ".join(commands)
    assert "luksFormat" in said
    assert PASSPHRASE not in said
    assert key not in said


def test_a_stick_that_was_pulled_out_half_way_says_so_at_its_next_visit(loop: Loop) -> None:
    with stick_of(loop) as stick:
        steps = stick.overwrite()
        next(steps)
    assert holds(loop) == UNFINISHED


def test_a_stick_in_use_is_left_as_it_is(loop: Loop) -> None:
    before = loop.image.read_bytes()
    holder = os.open(f"/dev/{loop.name}", os.O_RDONLY | os.O_EXCL)  # as a mount does
    try:
        with pytest.raises(StickError, match="in use"), stick_of(loop):
            pass
    finally:
        os.close(holder)
    assert loop.image.read_bytes() == before


def test_another_stick_under_the_same_name_is_never_written_to(loop: Loop) -> None:
    before = loop.image.read_bytes()
    with pytest.raises(StickError, match="another one took its place"):
        Stick(disk=loop.disk, sequence=sequence_of(loop.disk) + 1).__enter__()
    assert loop.image.read_bytes() == before


def test_one_that_is_too_small_is_refused_before_it_is_touched() -> None:
    with loop_device(8 << 20) as small:
        before = small.image.read_bytes()
        with stick_of(small) as stick, pytest.raises(StickError, match="too small"):
            next(stick.overwrite())
        assert small.image.read_bytes() == before


def test_recovery_keys_are_long_and_never_the_same() -> None:
    keys = {new_recovery_key() for _ in range(50)}
    assert len(keys) == 50
    assert all(len(key.replace("-", "")) == 32 and not set("01IO") & set(key) for key in keys)


@pytest.mark.parametrize(
    ("passphrase", "why"),
    [
        ("short", "fewer"),
        ("ababababababab", "same few"),
        ("x" * 11 + "\n", "typed"),
        ("ä1-" * 200, "too long"),
    ],
)
def test_passphrases_that_will_not_do(passphrase: str, why: str) -> None:
    assert why in unfit(passphrase)
    assert passphrase not in unfit(passphrase)


def test_one_that_will() -> None:
    assert not unfit(PASSPHRASE)
