"""A link between a device and its collector that is slow, half-open, cut or intercepted: a TCP relay with moods.

Runs on a thread of its own, so that tests with processes on both ends can use it. Each connection gets a fate by chance
while the link is bad; connections made after ``mend`` are good. A half-open one stays so: nobody tells the device.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.proxies import filter_context

FATES = ("good", "slow", "cut", "half-open", "answers lost", "intercepted", "portal", "refused")
_PORTAL = b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\nContent-Length: 0\r\n\r\n"
_SLOW_BYTES_A_SECOND = 8_000
_PIECE = 1 << 14


@dataclass
class BadLink:
    """``port`` leads to the port ``target``; ``fates`` counts what happened to connections."""

    folder: Path
    chance: random.Random
    target: int = 0
    port: int = 0
    bad: bool = True
    fates: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._intercept: ssl.SSLContext = filter_context(self.folder / "filter")
        self._thread = threading.Thread(target=self._loop.run_forever, name="bad link", daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def mend(self) -> None:
        self.bad = False

    def drop_all(self) -> None:
        """Every connection breaks off, as when the laptop changes its network."""
        self._loop.call_soon_threadsafe(lambda: [_reset(writer) for writer in list(self._open)])

    def close(self) -> None:
        self._server.close()
        self._do(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fate = self.chance.choice(FATES) if self.bad else "good"
        self.fates[fate] += 1
        self._open.add(writer)
        try:
            with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
                await self._live(fate, reader, writer)
        finally:
            self._open.discard(writer)
            _reset(writer)

    async def _live(self, fate: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match fate:
            case "refused":
                return
            case "portal":
                await reader.read(_PIECE)
                writer.write(_PORTAL)
                await writer.drain()
                return
            case "intercepted":
                await writer.start_tls(self._intercept)
                await reader.read(_PIECE)
                return
        out_reader, out_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._open.add(out_writer)
        after = self.chance.randint(0, 60_000)
        there = asyncio.create_task(self._pump(reader, out_writer, fate, after, answers=False))
        back = asyncio.create_task(self._pump(out_reader, writer, fate, after, answers=True))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (there, back):
                task.cancel()
            self._open.discard(out_writer)
            _reset(out_writer)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fate: str,
        after: int,
        *,
        answers: bool,
    ) -> None:
        passed = 0
        while data := await reader.read(1_000 if fate == "slow" and self.bad else _PIECE):
            passed += len(data)
            if passed > after and fate == "cut":
                return
            if passed > after and (fate == "half-open" or (fate == "answers lost" and answers)):
                continue  # swallowed; the connection stays
            writer.write(data)
            await writer.drain()
            if fate == "slow" and self.bad:
                await asyncio.sleep(len(data) / _SLOW_BYTES_A_SECOND)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Breaks off without an orderly end (RST, by SO_LINGER 0)."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
