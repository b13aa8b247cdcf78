"""``/livez``, ``/healthz`` and ``/metrics`` on a loopback port, by hand: three fixed answers need no framework."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

_MAX_REQUEST = 4_096
_WITHIN_SECONDS = 5.0


class HealthServer:
    """``faults`` lists what is wrong, empty when nothing is; ``metrics`` gives Prometheus' text."""

    def __init__(self, faults: Callable[[], list[str]], metrics: Callable[[], bytes]) -> None:
        self._faults = faults
        self._metrics = metrics
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Raises ``OSError`` when the address is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_MAX_REQUEST)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_WITHIN_SECONDS):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(request.split(b"\r\n", 1)[0]))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # a caller that does not ask gets no answer
        finally:
            writer.close()

    def _answer(self, line: bytes) -> bytes:
        match line.split(b" ")[:2]:
            case [b"GET", b"/livez"]:
                return _response("200 OK", "application/json", b'{"alive": true}\n')
            case [b"GET", b"/healthz"]:
                faults = self._faults()
                body = json.dumps({"healthy": not faults, "because": faults}).encode() + b"\n"
                status = "503 Service Unavailable" if faults else "200 OK"
                return _response(status, "application/json", body)
            case [b"GET", b"/metrics"]:
                return _response("200 OK", "text/plain; version=0.0.4; charset=utf-8", self._metrics())
            case _:
                return _response("404 Not Found", "text/plain", b"ask for /livez, /healthz or /metrics\n")


def _response(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
