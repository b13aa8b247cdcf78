"""The medium itself: overwritten, encrypted, given a file system. Each step makes sure that it is still the same one.

Sources: LUKS2 On-Disk Format Specification 1.1; cryptsetup(8); Linux ``include/uapi/linux/fs.h`` (BLKGETDISKSEQ).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from schoolkeeper_agent.enforcers.linux.media_switch import make_writable
from schoolkeeper_agent.sensors.linux.block_device import sequence_of
from schoolkeeper_agent.sensors.linux.content import UNFINISHED_MARK, UNFINISHED_SUBSYSTEM

BLKGETDISKSEQ, BLKGETSIZE64 = 0x80081280, 0x80081272
_STEP = 4 << 20
_SYNC_EVERY = 64 << 20
_TOOL_SECONDS = 300.0
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""32 letters and figures that are not taken for one another."""
_KEY_LETTERS, _GROUP = 32, 4
LEAST_BYTES = 24 << 20
"""The header of LUKS2 takes 16 MiB."""


class StickError(Exception):
    """It cannot go on; in words for the person."""


def new_recovery_key() -> str:
    """160 random bits, in groups to be copied by hand."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_KEY_LETTERS))
    return "-".join(letters[at : at + _GROUP] for at in range(0, _KEY_LETTERS, _GROUP))


@dataclass(slots=True)
class Stick:
    """``disk`` is its folder of /sys/block. While it is open no other medium can take its name.

    ``unlock_ms`` is how long this device will take to try one passphrase.
    """

    disk: Path
    sequence: int
    unlock_ms: int = 2000
    _open: int = -1

    @property
    def device(self) -> str:
        return f"/dev/{self.disk.name}"

    def __enter__(self) -> Self:
        """For this process alone; raises ``StickError`` when somebody uses it."""
        make_writable(self.disk)
        try:
            self._open = os.open(self.device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
        except OSError as error:
            raise StickError(
                f"it is in use ({error.strerror}): close its files, eject it in the file manager, plug it in"
                " again, and try once more"
            ) from error
        if not stat.S_ISBLK(os.fstat(self._open).st_mode):
            raise StickError(f"{self.device} is no medium")
        self._same()
        return self

    def __exit__(self, *_: object) -> None:
        if self._open >= 0:
            os.close(self._open)
            self._open = -1

    @property
    def size(self) -> int:
        return int(struct.unpack("Q", fcntl.ioctl(self._open, BLKGETSIZE64, bytes(8)))[0])

    def overwrite(self) -> Iterator[int]:
        """Marks it unfinished, then makes everything on it unreadable; yields how many bytes are done.

        What was plain on it could otherwise be read off it later, in spite of the encryption.
        """
        size, zeros = self.size, bytes(_STEP)
        if size < LEAST_BYTES:
            raise StickError("it is too small to be encrypted")
        try:
            os.pwrite(self._open, UNFINISHED_MARK.ljust(4096, b"\0"), 0)
            os.fdatasync(self._open)
            done = synced = 4096
            while done < size:
                done += os.pwrite(self._open, zeros[: min(_STEP, size - done)], done)
                if done - synced >= _SYNC_EVERY or done >= size:
                    os.fdatasync(self._open)
                    os.posix_fadvise(self._open, synced, done - synced, os.POSIX_FADV_DONTNEED)
                    synced = done
                yield done
        except OSError as error:
            raise StickError(f"writing failed ({error.strerror}): was it pulled out?") from error

    def encrypt(self, passphrase: str, recovery_key: str) -> None:
        """LUKS2 over the whole medium, with two ways in; still marked as unfinished."""
        self._same()
        # cryptsetup wants the medium to itself; a second descriptor keeps its name from being given away.
        keep = os.open(self.device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.close(self._open)
            self._open = -1
            memory = max(32, min(256, _free_mib() // 4)) if self.unlock_ms >= 1000 else 32
            _tool(
                ["cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", "--pbkdf", "argon2id",
                 "--iter-time", str(self.unlock_ms), "--pbkdf-memory", str(memory * 1024),
                 "--subsystem", UNFINISHED_SUBSYSTEM, "--key-file", "-", self.device],
                passphrase.encode(),
            )  # fmt: skip
            self._same()
            # 160 random bits need no slow derivation.
            with _secret(passphrase) as first, _secret(recovery_key) as second:
                _tool(
                    ["cryptsetup", "luksAddKey", "--batch-mode", "--pbkdf", "pbkdf2",
                     "--pbkdf-force-iterations", "1000", "--key-file", first.path, self.device, second.path],
                    pass_fds=(first.fd, second.fd),
                )  # fmt: skip
            self._same()
        finally:
            os.close(keep)

    def fill(self, passphrase: str) -> None:
        """A file system inside, that every account can write to; only then it counts as finished."""
        inside = f"schoolkeeper-{self.sequence}"
        _tool(
            ["cryptsetup", "open", "--type", "luks2", "--key-file", "-", self.device, inside],
            passphrase.encode(),
        )
        try:
            maker = (
                ["mkfs.exfat", "-L", "ENCRYPTED"]
                if shutil.which("mkfs.exfat")
                else ["mkfs.vfat", "-F", "32", "-n", "ENCRYPTED"]
            )
            _tool([*maker, f"/dev/mapper/{inside}"])
        finally:
            _tool(["cryptsetup", "close", inside])
        self.finish()

    def finish(self) -> None:
        self._same()
        _tool(["cryptsetup", "config", self.device, "--subsystem", ""])

    def _same(self) -> None:
        if self._open >= 0 and self.sequence:
            (sequence,) = struct.unpack("Q", fcntl.ioctl(self._open, BLKGETDISKSEQ, bytes(8)))
        else:
            sequence = sequence_of(self.disk)
        if sequence != self.sequence:
            raise StickError("it was pulled out, or another one took its place: nothing more was written")


class _secret:  # noqa: N801 - used as a function is
    """A pipe that holds a secret until it is read: no file, no argument."""

    def __init__(self, secret: str) -> None:
        self.fd, self._in = os.pipe()
        os.write(self._in, secret.encode())
        os.close(self._in)
        self.path = f"/dev/fd/{self.fd}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def _tool(command: list[str], said: bytes = b"", pass_fds: tuple[int, ...] = ()) -> None:
    try:
        done = subprocess.run(
            command,
            input=said,
            capture_output=True,
            timeout=_TOOL_SECONDS,
            check=False,
            pass_fds=pass_fds,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        raise StickError(f"{command[0]} is missing on this device: tell the technician") from None
    except subprocess.TimeoutExpired:
        raise StickError(f"{command[0]} did not end within {_TOOL_SECONDS:.0f} s") from None
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise StickError(f"{command[0]} {command[1]} failed: {last[0][:200] if last else done.returncode}")


def _free_mib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 128
