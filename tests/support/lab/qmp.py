"""QEMU's control socket (QMP: one JSON object a line; see QEMU's docs/interop/qmp-spec)."""

import json
import socket
import time
from pathlib import Path
from typing import Any

from support.lab.cache import LabError

_CONNECT_TIMEOUT = 60.0


def connect(path: Path, timeout: float = _CONNECT_TIMEOUT) -> socket.socket:
    """Connect to a socket that QEMU is about to open."""
    deadline = time.monotonic() + timeout
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            if time.monotonic() > deadline:
                raise LabError(f"QEMU did not open {path.name} within {timeout:.0f} s") from None
            time.sleep(0.02)
        else:
            return connection


class Qmp:
    """One connection: commands and their answers, and the events in between."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path)
        self._socket.settimeout(60)
        self._lines = self._socket.makefile("rb")
        self._events: list[dict[str, Any]] = []
        self._read()  # the greeting
        self.run("qmp_capabilities")

    def run(self, command: str, **arguments: object) -> Any:
        """The command's return value; its arguments are the keywords, with ``_`` for ``-``.

        Raises:
            LabError: QEMU refused it or is gone.
        """
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._socket.sendall(json.dumps({"execute": command, "arguments": named}).encode() + b"\n")
        while True:
            message = self._read()
            if "event" in message:
                self._events.append(message)
            elif "error" in message:
                raise LabError(f"QEMU refused {command}: {message['error']['desc']}")
            else:
                return message["return"]

    def wait_for_event(self, name: str, **data: object) -> None:
        """Wait (up to a minute) until this event with these data has come."""
        while True:
            for event in self._events:
                if event["event"] == name and event.get("data", {}).items() >= data.items():
                    self._events.remove(event)
                    return
            self._events.append(self._read())

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _read(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except TimeoutError:
            raise LabError("QEMU did not answer within a minute") from None
        if not line:
            raise LabError("QEMU ended; see its console")
        message = json.loads(line)
        assert isinstance(message, dict)
        return message
