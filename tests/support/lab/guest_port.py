"""The tests' end of the virtio-serial port to the agent inside the virtual laptop (packaging/lab/guest-agent.py)."""

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

from support.lab.cache import LabError
from support.lab.commands import Result
from support.lab.qmp import connect

_NOT_DONE = 124
_ANSWER_MARGIN = 30.0
_SEED_BYTES = 64


class GuestPort:
    """One request at a time; answers carry the request's number, so a late one is never taken for the next."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path)
        self._lines = self._socket.makefile("rb")
        self._number = 0

    def wait_until_up(self, timeout: float) -> None:
        """Wait for the agent's first line after a cold boot."""
        self._answer_to(0, timeout)

    def sh(self, command: str, timeout: float, stdin: bytes = b"") -> Result:
        result = self._ask(
            {"op": "sh", "command": command, "timeout": timeout, "stdin": _encode(stdin)}, timeout
        )
        if result["rc"] == _NOT_DONE:
            raise LabError(f"in the virtual laptop, not done within {timeout:.0f} s: {command[:200]}")
        return Result(rc=result["rc"], out=base64.b64decode(result["out"]).decode(errors="replace"))

    def put(self, path: str, data: bytes, mode: int) -> None:
        self._must_succeed({"op": "put", "path": path, "data": _encode(data), "mode": mode})

    def wake(self) -> None:
        """After a restore: the time of this machine, and random numbers of its own."""
        self._must_succeed({"op": "wake", "time": time.time(), "seed": _encode(os.urandom(_SEED_BYTES))})

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _must_succeed(self, request: dict[str, object]) -> None:
        result = self._ask(request, 0)
        if result["rc"] != 0:
            said = base64.b64decode(result["out"]).decode(errors="replace")
            raise LabError(f"the virtual laptop's agent could not {request['op']}: {said}")

    def _ask(self, request: dict[str, object], timeout: float) -> dict[str, Any]:
        self._number += 1
        self._socket.settimeout(_ANSWER_MARGIN)
        self._socket.sendall(json.dumps({"id": self._number, **request}).encode() + b"\n")
        return self._answer_to(self._number, timeout + _ANSWER_MARGIN)

    def _answer_to(self, number: int, timeout: float) -> dict[str, Any]:
        self._socket.settimeout(timeout)
        while True:
            try:
                line = self._lines.readline()
            except TimeoutError:
                raise LabError(f"the virtual laptop's agent did not answer within {timeout:.0f} s") from None
            if not line:
                raise LabError("the virtual laptop ended")
            answer = json.loads(line)
            if answer["id"] == number:
                assert isinstance(answer, dict)
                return answer


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
