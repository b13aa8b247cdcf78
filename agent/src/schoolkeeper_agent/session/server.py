"""The service's end: hands words to the helpers in people's sessions. Fulfils the runtime's ``Teller``."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_agent.seams import Tell
from schoolkeeper_agent.session import lines, show
from schoolkeeper_agent.session.lines import Words

SOCKET_NAME = "session.sock"
MAX_HELPERS = 64
MAX_HELPERS_PER_USER = 8
_WRITE_LIMIT = 64 << 10
_CREDENTIALS = struct.Struct("=iII")

UserOf = Callable[[str], int]
"""Session id -> user id, -1 when it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end, as the kernel says."""

    process_id: int
    user_id: int


class SessionServer:
    """``user_of`` tells whose session an id is, ``terminals`` where to write when no helper is there."""

    def __init__(
        self,
        run_dir: Path,
        *,
        user_of: UserOf = lambda _: -1,
        terminals: Callable[[int], Iterable[Path]] = show.terminals_of,
    ) -> None:
        self._path = run_dir / SOCKET_NAME
        self._user_of = user_of
        self._terminals = terminals
        self._server: asyncio.Server | None = None
        self._helpers: dict[asyncio.StreamWriter, Peer] = {}
        self.not_said = 0
        """Messages that reached nobody."""

    async def start(self) -> None:
        """Listens; the socket is open to every account, since whoever connects only listens."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._joined, self._path, limit=1024)
        self._path.chmod(0o666)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            # Aborted: a helper that does not read would hold up an orderly end for ever.
            for writer in list(self._helpers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._path.unlink(missing_ok=True)

    @property
    def peers(self) -> tuple[Peer, ...]:
        return tuple(self._helpers.values())

    async def tell(self, effect: Tell) -> None:
        """Says it to the session's person, or to everybody; never raises for somebody who is not there."""
        user_id = self._user_of(effect.session_id) if effect.session_id else -1
        line = lines.write(Words(title=effect.title, text=effect.text))
        reached = 0
        for writer, peer in list(self._helpers.items()):
            if user_id in (-1, peer.user_id) and _has_room(writer):
                writer.write(line)
                reached += 1
        if not reached:
            written = [await asyncio.to_thread(show.on_terminal, path, effect.title, effect.text)
                       for path in self._terminals(user_id)]  # fmt: skip
            reached = sum(written)
        if not reached:
            self.not_said += 1

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer.get_extra_info("socket"))
        of_user = sum(other.user_id == peer.user_id for other in self._helpers.values())
        if len(self._helpers) >= MAX_HELPERS or of_user >= MAX_HELPERS_PER_USER:
            writer.close()
            return
        self._helpers[writer] = peer
        try:
            # Nothing that a helper says matters: the end of its connection is all that is waited for.
            while await reader.read(1024):  # noqa: ASYNC110
                await asyncio.sleep(0.1)  # slows one that talks without end
        except OSError:
            pass
        finally:
            self._helpers.pop(writer, None)
            writer.transport.abort()


def peer_of(connection: socket.socket) -> Peer:
    """unix(7), SO_PEERCRED: cannot be forged by the peer."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process_id, user_id, _ = _CREDENTIALS.unpack(data)
    return Peer(process_id=process_id, user_id=user_id)


def server_user(connection: socket.socket) -> int:
    """Who runs the service at the other end, for a helper that wants to know."""
    return peer_of(connection).user_id


def _has_room(writer: asyncio.StreamWriter) -> bool:
    """A helper that does not read is left out instead of filling the service's memory."""
    return writer.transport.get_write_buffer_size() < _WRITE_LIMIT
