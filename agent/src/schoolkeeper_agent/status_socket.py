"""The local socket that answers ``schoolkeeper-agent status``: one line of JSON, to root and the agent's own user.

The kernel says who asks (SO_PEERCRED, unix(7)); nobody else gets more than a refusal in words.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from schoolkeeper_agent.status import StatusReport, from_json, to_json

NAME = "status.sock"
_UCRED = struct.Struct("3i")


class NotRunning(Exception):
    """Nobody answers on the socket."""


class NotAllowed(Exception):
    """The agent does not tell this user."""


async def serve(run_dir: Path, report: Callable[[], Awaitable[StatusReport]]) -> asyncio.Server:
    """Starts answering. A socket left by a dead run is replaced."""
    path = run_dir / NAME
    path.unlink(missing_ok=True)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        try:
            if _user_of(writer) in (0, os.geteuid()):
                writer.write(to_json(await report()).encode())
            else:
                writer.write(b"refused: only root may ask")
            await writer.drain()
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(answer, path=str(path))
    path.chmod(0o666)  # everyone may ask, and is answered by who they are
    return server


def ask(run_dir: Path, timeout: float = 5.0) -> StatusReport:
    """The running agent's report; raises ``NotRunning`` or ``NotAllowed``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(timeout)
        try:
            asking.connect(str(run_dir / NAME))
            parts = []
            while part := asking.recv(65_536):
                parts.append(part)
        except OSError as error:
            raise NotRunning(str(error)) from error
    text = b"".join(parts).decode(errors="replace")
    if text.startswith("refused:"):
        raise NotAllowed("only root may ask the agent: run this with sudo")
    try:
        return from_json(text)
    except ValueError as error:
        raise NotRunning(f"the answer cannot be read: {error}") from error


def _user_of(writer: asyncio.StreamWriter) -> int:
    peer = writer.get_extra_info("socket")
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(credentials)[1])
