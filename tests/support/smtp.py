"""A small SMTP server (RFC 5321) for tests: takes mail on loopback, keeps it, and fails as it is told to."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message


@dataclass
class Sink:
    """What arrived, and what to answer. ``fail_next`` mails get a temporary error, ``refused`` addresses 550."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    fail_next: int = 0
    hang_up_next: int = 0
    refused: set[str] = field(default_factory=set)


class _Handler(socketserver.StreamRequestHandler):
    timeout = 10

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self) -> None:
        sink: Sink = self.server.sink  # type: ignore[attr-defined]
        if sink.hang_up_next:
            sink.hang_up_next -= 1
            return
        self._say("220 sink")
        sender, recipients = "", []
        while line := self.rfile.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            match verb.upper():
                case "EHLO" | "HELO":
                    self._say("250 sink")
                case "MAIL":
                    sender = _address(rest)
                    self._say("250 ok")
                case "RCPT":
                    if _address(rest) in sink.refused:
                        self._say("550 no such mailbox")
                        continue
                    recipients.append(_address(rest))
                    self._say("250 ok")
                case "DATA":
                    self._data(sink, sender, recipients)
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 ok")

    def _data(self, sink: Sink, sender: str, recipients: list[str]) -> None:
        self._say("354 go on")
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        if sink.fail_next:
            sink.fail_next -= 1
            self._say("451 try again later")
            return
        sink.envelopes.append((sender, recipients))
        sink.mails.append(message_from_bytes(b"".join(lines)))
        self._say("250 taken")


def _address(text: str) -> str:
    return text.partition("<")[2].partition(">")[0]


@contextmanager
def smtp_sink() -> Iterator[Sink]:
    """A running server on a free port of the loopback."""
    sink = Sink()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        server.sink = sink  # type: ignore[attr-defined]
        sink.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join(60)
