"""Words to the service, on a socket that never makes the responder wait: what does not fit is counted and said."""

from __future__ import annotations

import json
import socket

SEND_BUFFER = 1 << 20
"""Bytes that may wait for a service that does not read."""


class Reports:
    """The responder's end of a sequenced-packet socket pair (unix(7)): packets keep their bounds, an end is seen."""

    __slots__ = ("_socket", "dropped", "open")

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.dropped = 0
        self.open = True

    def fileno(self) -> int:
        return self._socket.fileno()

    def say(self, kind: str, **fields: object) -> None:
        """Sends now or counts. The count goes out as soon as there is room."""
        if self.dropped and self._send({"kind": "dropped", "count": self.dropped}):
            self.dropped = 0
        if not self._send({"kind": kind, **fields}):
            self.dropped += 1

    def retry(self) -> None:
        """Says the count of what was dropped, if there is room by now."""
        if self.dropped and self._send({"kind": "dropped", "count": self.dropped}):
            self.dropped = 0

    def heard(self) -> bytes:
        """One packet from the service; empty when there is none. ``open`` turns False when the service is gone."""
        try:
            data = self._socket.recv(4096)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.open = False
        return data

    def _send(self, packet: dict[str, object]) -> bool:
        try:
            self._socket.send(json.dumps(packet).encode())
        except OSError:
            return False
        return True


def say_last(descriptor: int, kind: str, **fields: object) -> None:
    """One packet on a socket that is another's to serve: at the beginning and at the end, when nobody else speaks."""
    connection = socket.socket(fileno=descriptor)
    try:
        connection.send(json.dumps({"kind": kind, **fields}).encode(), socket.MSG_DONTWAIT)
    except OSError:
        return  # nobody listens, or a service that does not read: it sees the end all the same
    finally:
        connection.detach()
