"""Linux, and whatever else is POSIX. What only one command needs is imported where it is used."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

assert sys.platform != "win32"

if TYPE_CHECKING:
    import asyncio

    from schoolkeeper_agent.system.machine import Machine

CONFIG_FOLDER = Path("/etc/schoolkeeper")
STATE_FOLDER = Path("/var/lib/schoolkeeper-agent")
RUN_FOLDER = Path("/run/schoolkeeper-agent")
ADMINISTRATOR = "root"
"""Who may do everything here, in words for a technician."""
START_COMMAND = "systemctl start schoolkeeper-agent"
EDITION = ""
"""What kind of agent this is, where it is not the whole one."""
LEFT_OUT: dict[str, str] = {}
"""Commands that there are not on this system, and why."""


class NotTheOwner(Exception):
    """Whoever asks is neither the administrator nor who runs the agent."""


# ---- files ----------------------------------------------------------------------------------------------


def make_folder(path: Path, *, everyone_reads: bool) -> None:
    """Makes it, the administrator's own; others may look inside only if ``everyone_reads``. Raises ``OSError``."""
    mode = 0o755 if everyone_reads else 0o700
    path.mkdir(parents=True, exist_ok=True, mode=mode)
    path.chmod(mode)
    if not os.access(path, os.W_OK | os.X_OK):
        raise PermissionError(f"{path} cannot be written")


def readable_by_others(path: Path) -> bool:
    """Whether anybody but its owner and the administrator may read it. Raises ``OSError``."""
    from schoolkeeper_proto import private_files

    return private_files.readable_by_others(path)


def rights_of(path: Path) -> str:
    """In words for a technician. Raises ``OSError``."""
    return f"mode {path.stat().st_mode & 0o7777:o}"


def keep_to_owner(path: Path) -> None:
    """Takes a file from everybody else. Raises ``OSError``."""
    path.chmod(0o600)


def open_private(path: Path) -> int:
    """An empty file to write to, its owner's alone from the first moment. Raises ``OSError``."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)


def sync_folder(folder: Path) -> None:
    """What was renamed inside is durable on return."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Of the file system that ``folder`` lies on, for who asks."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def taken_bytes(path: Path) -> int:
    """What a file really takes on the disk."""
    return path.stat().st_blocks * 512


def take_room(file: int, size: int) -> None:
    """Gives the open file so many bytes on the disk. Raises ``OSError`` when there is no room."""
    os.ftruncate(file, size)
    os.posix_fallocate(file, 0, size)


def seal_at_rest(secret: bytes) -> bytes:
    """A secret as it is kept in a file: here the file's mode alone protects it."""
    return secret


def unseal_at_rest(kept: bytes) -> bytes:
    return kept


# ---- this process and its machine -----------------------------------------------------------------------


def is_administrator() -> bool:
    return os.geteuid() == 0


def resident_bytes(proc_root: Path) -> int:
    """Of this process; 0 where nobody says."""
    try:
        return int((proc_root / "self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def machine() -> Machine:
    """From /etc and the firmware's tables; the serial is readable by root only."""
    from schoolkeeper_agent.system.machine import Machine

    firmware = Path("/sys/class/dmi/id")
    return Machine(
        serial=_line(firmware / "product_serial"),
        vendor=_line(firmware / "sys_vendor"),
        model=_line(firmware / "product_name"),
        operating_system=_operating_system(),
        installation=installation(),
    )


def installation() -> str:
    """The id that this installation gave itself; empty when there is none."""
    return _line(Path("/etc/machine-id"))


def _operating_system() -> str:
    for line in _text(Path("/etc/os-release")).splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip('"')
    return sys.platform


def _line(path: Path) -> str:
    return _text(path).strip()[:128]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def boot_id(proc_root: Path) -> bytes:
    """16 bytes, new at each start of the machine; nothing where nobody says."""
    try:
        return bytes.fromhex((proc_root / "sys/kernel/random/boot_id").read_text().replace("-", ""))
    except (OSError, ValueError):
        return b""


def child_command(module: str) -> tuple[str, ...]:
    """How a process of its own is started that runs ``module``, cut off from the environment's Python settings."""
    return (sys.executable, "-I", "-m", module)


def on_stop(stop: Callable[[str], None]) -> None:
    """``stop(why)`` is called in the running loop when this process is asked to end."""
    import asyncio
    import signal

    loop = asyncio.get_running_loop()
    for number, reason in ((signal.SIGTERM, "asked to stop"), (signal.SIGINT, "interrupted")):
        loop.add_signal_handler(number, stop, reason)


# ---- locks ----------------------------------------------------------------------------------------------


class Held:
    """A lock file of this process: let go by ``close``, and by the system when the process ends (flock(2))."""

    def __init__(self, path: Path) -> None:
        import fcntl

        self._path = path
        self._file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def close(self) -> None:
        if self._file >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1


def hold(path: Path) -> Held:
    """Locks the file, made if there is none."""
    return Held(path)


def is_held(path: Path) -> bool:
    """Whether a living process holds it. Raises ``PermissionError`` for who may not look."""
    import fcntl

    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


# ---- sockets --------------------------------------------------------------------------------------------


async def start_local_server(
    joined: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    path: Path,
    *,
    limit: int = 1 << 16,
) -> asyncio.Server:
    """Listens on a socket file; the kernel says who is at the other end (unix(7)). Raises ``OSError``."""
    import asyncio

    return await asyncio.start_unix_server(joined, path, limit=limit)


async def answer_owner(path: Path, say: Callable[[], Awaitable[bytes]]) -> asyncio.Server:
    """Answers ``say()`` to whoever connects as the administrator or as this process's user, 'refused' to the rest."""
    from schoolkeeper_agent.peers import peer_of

    _forget(path)

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        who = peer_of(writer.get_extra_info("socket")).user_id
        try:
            writer.write(await say() if who in (0, os.geteuid()) else b"refused: only root may ask")
            await writer.drain()
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()

    server = await start_local_server(joined, path)
    _open_to_all(path)
    return server


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)


def _open_to_all(path: Path) -> None:
    path.chmod(0o666)  # everyone may ask, and is answered by who they are


def ask_owner(path: Path, timeout: float) -> bytes:
    """The other end of ``answer_owner``. Raises ``OSError`` when nobody answers, and ``NotTheOwner``."""
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(timeout)
        asking.connect(str(path))
        parts = []
        while part := asking.recv(65_536):
            parts.append(part)
    said = b"".join(parts)
    if said.startswith(b"refused:"):
        raise NotTheOwner("only root may ask the agent: run this with sudo")
    return said
