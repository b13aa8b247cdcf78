"""One request of the service, on standard input. Started by systemd for each connection, by path and isolated.

``python -I -S .../guard/__main__.py FOLDER CGROUP``: where the service leaves the table of programs, and which cgroup
alone may ask. As in the exec responder, nothing in the environment can add code.
"""

import array
import json
import os
import socket
import sys

ASKED_S = 5.0


def main(folder: str, cgroup: str) -> int:
    sys.path[:0] = [__file__.rsplit("/", 3)[0]]
    from schoolkeeper_agent.guard import requests
    from schoolkeeper_agent.peers import cgroups_of, peer_of

    connection = socket.socket(fileno=0)
    connection.settimeout(ASKED_S)
    process_id, user_id = peer_of(connection)
    try:
        if user_id != 0 or cgroup not in cgroups_of(process_id):
            raise requests.RequestMistake("only the service may ask")
        request = requests.read(connection.recv(requests.MOST_BYTES))
        if isinstance(request, requests.Decide):
            return _decide(connection, folder, request.mounts)
        error, descriptor = _do(request)
    except (requests.RequestMistake, OSError) as no:
        error, descriptor = str(no), -1
    _answer(connection, error, descriptor)
    return 0


def _decide(connection: socket.socket, folder: str, mounts: "tuple[str, ...] | None") -> int:
    from schoolkeeper_agent.enforcers.linux.exec_responder import begin

    config: dict[str, object] = {
        "socket": connection.detach(), "table_file": f"{folder}/{begin.TABLE}", "mounts": mounts, **begin.TIMES,
    }  # fmt: skip
    return begin.begin(config)


def _do(request: object) -> tuple[str, int]:
    """Words, empty when it is done, and a descriptor for the service or -1. Raises ``OSError``."""
    from schoolkeeper_agent.guard import requests

    if isinstance(request, requests.MayDecide):
        from schoolkeeper_agent.enforcers.linux.exec_responder.fanotify import why_not

        return why_not(), -1
    from schoolkeeper_agent.guard import acts

    try:
        if isinstance(request, requests.Limit):
            return acts.limit(request), -1
        if isinstance(request, requests.Watch):
            return "", acts.watch(request)
    except acts.NotDone as no:
        return str(no), -1
    raise AssertionError(f"{request!r} is answered elsewhere")


def _answer(connection: socket.socket, error: str, descriptor: int) -> None:
    """Waits until the service has seen who answered: its descriptor of us would find nobody after our end."""
    data = json.dumps({"error": error}).encode()
    rights = array.array("i", [] if descriptor < 0 else [descriptor])
    try:
        connection.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else [])
        connection.recv(1)
    except OSError:
        return  # the service is gone
    finally:
        connection.close()
        if descriptor >= 0:
            os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
