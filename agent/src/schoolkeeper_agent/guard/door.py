"""The service's side of the guard: asks over the unit's socket, and believes only a process of that unit."""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_agent.guard import requests
from schoolkeeper_agent.peers import CREDENTIALS_BYTES, cgroups_of, sender_of

VARIABLE = "SCHOOLKEEPER_GUARD"
"""In the environment of the packaged service: where the guard listens. Without it nothing is asked of one."""
CGROUP = "/system.slice/system-schoolkeeper\\x2dguard.slice/schoolkeeper-guard@"
"""How the cgroup of each of its processes begins, which only root assigns."""
ANSWER_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``error`` says why not, and is empty when it is done; ``descriptor`` is the caller's to close, -1 without one."""

    error: str = ""
    descriptor: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Where it listens. ``cgroup``: how the cgroup of whoever answers has to begin."""

    path: Path
    cgroup: str = CGROUP

    def connect(self, request: requests.Request) -> socket.socket:
        """A connection on which this was asked; never waits. Raises ``OSError``."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            connection.setblocking(False)
            connection.connect(str(self.path))
            connection.send(requests.write(request))
        except OSError:
            connection.close()
            raise
        return connection

    def is_genuine(self, process_id: int, user_id: int) -> bool:
        """Whether that process is root's and in the guard's unit."""
        return user_id == 0 and any(place.startswith(self.cgroup) for place in cgroups_of(process_id))

    def ask(self, request: requests.Request, seconds: float = ANSWER_S) -> Answer:
        """Waits for the one answer. Never raises for what the guard or the kernel refuses."""
        try:
            with self.connect(request) as connection:
                connection.settimeout(seconds)
                room = socket.CMSG_SPACE(CREDENTIALS_BYTES) + socket.CMSG_SPACE(4)
                data, ancillary, _, _ = connection.recvmsg(requests.MOST_BYTES, room, socket.MSG_CMSG_CLOEXEC)
                return self._answer(data, ancillary)
        except TimeoutError:
            return Answer(error=f"the guard did not answer within {seconds:.0f} s")
        except (OSError, ValueError, KeyError) as error:
            return Answer(error=f"the guard cannot be asked at {self.path}: {error}")

    def _answer(self, data: bytes, ancillary: list[tuple[int, int, bytes]]) -> Answer:
        """Raises ``ValueError`` or ``KeyError`` for what is no answer."""
        descriptors = _descriptors(ancillary)
        try:
            if not data:
                raise ValueError("it closed the connection without an answer")
            if not self.is_genuine(*sender_of(ancillary)):
                raise ValueError("somebody else answered")
            error = str(json.loads(data)["error"])
        except (ValueError, KeyError):
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return Answer(error=error, descriptor=descriptors[0] if descriptors else -1)


def of_environment(environment: Mapping[str, str] = os.environ) -> Guard | None:
    """The guard that the service's unit names."""
    place = environment.get(VARIABLE, "")
    return Guard(path=Path(place)) if place else None


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()
