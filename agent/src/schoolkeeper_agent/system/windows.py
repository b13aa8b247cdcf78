"""Windows, a preview: the agent reports there and enforces nothing (docs/windows.md)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import msvcrt
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import winreg
from collections.abc import Awaitable, Callable
from pathlib import Path

from schoolkeeper_agent.system import sddl, windows_api
from schoolkeeper_agent.system.machine import Machine

assert sys.platform == "win32"

_DATA = Path(os.environ.get("PROGRAMDATA", "C:/ProgramData"), "Schoolkeeper")
CONFIG_FOLDER = _DATA
STATE_FOLDER = _DATA / "state"
RUN_FOLDER = _DATA / "run"
ADMINISTRATOR = "an administrator"
START_COMMAND = "sc start SchoolkeeperAgent"
EDITION = "preview for Windows: reports, enforces nothing"
LEFT_OUT = dict.fromkeys(
    ("ask", "encrypt", "tell", "uninstall"),
    "the preview for Windows cannot tell who asks: no person of this device is served by it yet",
)
_SEALED = b"schoolkeeper-dpapi-1\n"
_STOP_BY = "SCHOOLKEEPER_STOP"
_ANSWER_BYTES = 4 << 20


class NotTheOwner(Exception):
    """Whoever asks is neither an administrator nor who runs the agent."""


# ---- files ----------------------------------------------------------------------------------------------


def make_folder(path: Path, *, everyone_reads: bool) -> None:
    """Makes it, the system's and the administrators' own; what is made inside inherits that. Raises ``OSError``."""
    path.mkdir(parents=True, exist_ok=True)
    owner = sddl.owner_of(windows_api.rights_of(path))
    windows_api.set_rights(path, sddl.rights_for(owner, everyone_reads=everyone_reads))
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{path} cannot be written")


def readable_by_others(path: Path) -> bool:
    """Whether anybody but the system, administrators and the owner may read it. Raises ``OSError``."""
    return bool(sddl.others_in(windows_api.rights_of(path)))


def rights_of(path: Path) -> str:
    """As Windows writes them (sddl.h). Raises ``OSError``."""
    return windows_api.rights_of(path)


def keep_to_owner(path: Path) -> None:
    """Takes a file from everybody else. Raises ``OSError``."""
    owner = sddl.owner_of(windows_api.rights_of(path))
    windows_api.set_rights(path, sddl.rights_for(owner, everyone_reads=False))


def open_private(path: Path) -> int:
    """An empty file to write to, its owner's alone before anything is in it. Raises ``OSError``."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_BINARY)
    try:
        keep_to_owner(path)
    except OSError:
        os.close(file)
        raise
    return file


def sync_folder(folder: Path) -> None:
    """Nothing: a folder cannot be synced here. That NTFS keeps a rename after a power cut is not verified."""


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def taken_bytes(path: Path) -> int:
    return path.stat().st_size


def take_room(file: int, size: int) -> None:
    """NTFS gives a file that is no sparse one its room when its end is set. Raises ``OSError``."""
    os.ftruncate(file, size)


def seal_at_rest(secret: bytes) -> bytes:
    """Encrypted by DPAPI for this machine, so that a disk that is taken out does not give it away.

    Not for one account: whoever enrols is an administrator, and the service runs as the system. On the running machine
    the rights of the file protect it.
    """
    return _SEALED + windows_api.protect(secret)


def unseal_at_rest(kept: bytes) -> bytes:
    """Raises ``ValueError`` for what was not sealed on this installation."""
    if not kept.startswith(_SEALED):
        raise ValueError("it is not protected by DPAPI")
    try:
        return windows_api.unprotect(kept.removeprefix(_SEALED))
    except OSError as error:
        raise ValueError(f"DPAPI does not open it on this machine: {error}") from error


# ---- this process and its machine -----------------------------------------------------------------------


def is_administrator() -> bool:
    return windows_api.is_administrator()


def resident_bytes(proc_root: Path) -> int:
    del proc_root
    import psutil

    return int(psutil.Process().memory_info().rss)


def machine() -> Machine:
    """From the registry; the serial number is not there."""
    firmware, system = r"HARDWARE\DESCRIPTION\System\BIOS", r"SOFTWARE\Microsoft\Windows NT\CurrentVersion"
    name, build = _said(system, "ProductName"), _said(system, "CurrentBuild")
    return Machine(
        vendor=_said(firmware, "SystemManufacturer"),
        model=_said(firmware, "SystemProductName"),
        operating_system=f"{name} {build}".strip() or sys.platform,
        installation=installation(),
    )


def installation() -> str:
    """What setup gave this installation; empty when it cannot be read."""
    return _said(r"SOFTWARE\Microsoft\Cryptography", "MachineGuid")


def boot_id(proc_root: Path) -> bytes:
    """From Windows' own count of its starts; nothing where it keeps none."""
    del proc_root
    parameters = r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"
    number = _said(parameters, "BootId")
    return hashlib.sha256(f"{installation()} {number}".encode()).digest()[:16] if number else b""


def child_command(module: str) -> tuple[str, ...]:
    """The packaged program is its own interpreter; texts are UTF-8 whatever the machine's code page is."""
    if getattr(sys, "frozen", False):
        return (sys.executable, "--child", module)
    return (sys.executable, "-I", "-X", "utf8", "-m", module)


def on_stop(stop: Callable[[str], None]) -> None:
    """Ctrl-C and Ctrl-Break; and the end of standard input, where whoever started this process says so."""
    loop = asyncio.get_running_loop()

    def asked(reason: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop ended first
            loop.call_soon_threadsafe(stop, reason)

    for number in (signal.SIGINT, signal.SIGBREAK):
        signal.signal(number, lambda *_: asked("interrupted"))
    if os.environ.get(_STOP_BY) == "stdin":
        threading.Thread(target=_until_closed, args=(asked,), daemon=True).start()


def _until_closed(asked: Callable[[str], None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    asked("asked to stop")


def _said(key: str, name: str) -> str:
    try:
        with winreg.OpenKey(
            winreg.HKEY_LOCAL_MACHINE, key, 0, winreg.KEY_READ | winreg.KEY_WOW64_64KEY
        ) as found:
            return str(winreg.QueryValueEx(found, name)[0]).strip()[:128]
    except OSError:
        return ""


# ---- locks ----------------------------------------------------------------------------------------------


class Held:
    """A lock file of this process: let go by ``close``, and by the system when the process ends (LockFile)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        msvcrt.locking(self._file, msvcrt.LK_LOCK, 1)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._path.unlink(missing_ok=True)
            self._file = -1


def hold(path: Path) -> Held:
    return Held(path)


def is_held(path: Path) -> bool:
    """Whether a living process holds it. Raises ``PermissionError`` for who may not look."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
    except OSError:
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
    """Always raises: nothing here tells who is at the other end of a socket, as the kernel of Linux does."""
    del joined, limit
    raise OSError(f"{path.name}: the preview for Windows has no socket for the people of this device")


async def answer_owner(path: Path, say: Callable[[], Awaitable[bytes]]) -> asyncio.Server:
    """Answers ``say()`` on a port of loopback to whoever can read the key in the file at ``path``: administrators."""
    key = secrets.token_bytes(32)

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                given = await reader.readexactly(len(key))
            if hmac.compare_digest(given, key):
                writer.write(await say())
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(joined, "127.0.0.1", 0)
    _write_for_owner(path, json.dumps({"port": server.sockets[0].getsockname()[1], "key": key.hex()}))
    return server


def _write_for_owner(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(open_private(path), "w") as file:
        file.write(text)


def ask_owner(path: Path, timeout: float) -> bytes:
    """The other end of ``answer_owner``. Raises ``OSError`` when nobody answers, and ``NotTheOwner``."""
    try:
        said = json.loads(path.read_text())
        port, key = int(said["port"]), bytes.fromhex(said["key"])
    except PermissionError as error:
        raise NotTheOwner("only administrators may ask the agent: run this as one") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConnectionError(f"{path} cannot be read: {error}") from error
    with socket.create_connection(("127.0.0.1", port), timeout) as asking:
        asking.sendall(key)
        said_bytes = bytearray()
        while (part := asking.recv(65_536)) and len(said_bytes) <= _ANSWER_BYTES:
            said_bytes += part
    return bytes(said_bytes)
