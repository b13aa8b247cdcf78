"""Imports a module, then forks its ``main`` for each request: ``python warm_keeper.py SOCKET MODULE``.

It ends when its standard input does. A request brings five descriptors: a file with its words as JSON, a socket for
the answers (the process id, then the exit status), and the three standard files. A child of the keeper waits for the
program, so that many run at once.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable


def main() -> None:
    """Serves whoever connects until standard input ends."""
    door = socket.socket(fileno=int(sys.argv[1]))
    program: Callable[[], object] = importlib.import_module(sys.argv[2]).main
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the waiting children
    gc.collect()
    gc.freeze()
    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin, selectors.EVENT_READ)
    waiting.register(door, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            asked = key.fileobj
            if asked is sys.stdin:
                return
            assert isinstance(asked, socket.socket)
            if asked is door:
                waiting.register(door.accept()[0], selectors.EVENT_READ)
            elif not _serve(program, asked, waiting):
                waiting.unregister(asked)
                asked.close()


def _serve(program: Callable[[], object], asked: socket.socket, waiting: selectors.BaseSelector) -> bool:
    """Whether whoever asks is still there."""
    word, numbers, _, _ = socket.recv_fds(asked, 1, 5)
    if not word:
        return False
    if os.fork() == 0:
        for held in [key.fileobj for key in waiting.get_map().values()]:
            if isinstance(held, socket.socket):
                held.close()
        waiting.close()
        os._exit(_wait(program, numbers))
    for number in numbers:
        os.close(number)
    return True


def _wait(program: Callable[[], object], numbers: list[int]) -> int:
    """Runs the program in a child and says how it ended, as ``subprocess`` counts: below zero for a signal."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, answers, *files = numbers
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(answers)
        with os.fdopen(request, "rb") as asked:
            wanted = json.load(asked)
        _become(wanted, files)
        os._exit(_run(program))
    for number in (request, *files):
        os.close(number)
    told = socket.socket(fileno=answers)
    told.send(str(child).encode())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):  # whoever asked may be gone
        told.send(str(status).encode())
    return 0


def _become(wanted: dict[str, object], files: list[int]) -> None:
    arguments, env = wanted["argv"], wanted["env"]
    assert isinstance(arguments, list)
    assert isinstance(env, dict)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(str(wanted["cwd"]))
    if isinstance(umask := wanted["umask"], int) and umask >= 0:
        os.umask(umask)
    sys.argv = arguments


def _run(program: Callable[[], object]) -> int:
    """As the interpreter ends a program: ``SystemExit`` by its code, anything else with a trace and 1."""
    try:
        done = program()
        code: object = done
    except SystemExit as leaving:
        code = leaving.code
    except BaseException:  # noqa: BLE001 - what an interpreter does with it
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code & 0xFF if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
