"""Makes what a run shares when somebody first asks: ``python shared_keeper.py SOCKET FOLDER``.

Questions: ``postgres`` (the folder of the server's socket), ``warm MODULE`` (the socket of a keeper of that program).
It ends, and all that it made ends with it, when its standard input does: with the run, however that ended.
"""

from __future__ import annotations

import contextlib
import selectors
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

WARM = Path(__file__).with_name("warm_keeper.py")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


class Kept:
    """What was made so far, by the question that asked for it."""

    def __init__(self, folder: Path) -> None:
        self.stack = contextlib.ExitStack()
        self._folder = folder
        self._made: dict[str, str] = {}

    def answer(self, question: str) -> str:
        """Makes it at the first time; what goes wrong is an answer, too."""
        if question not in self._made:
            try:
                self._made[question] = self._make(question)
            except Exception as error:  # noqa: BLE001 - whoever asked hears of it, and the others go on
                return f"refused {type(error).__name__}: {error}"
        return f"made {self._made[question]}"

    def _make(self, question: str) -> str:
        word, _, module = question.partition(" ")
        if word == "postgres":
            from support.postgres import running_postgres

            return str(self.stack.enter_context(running_postgres()).folder)
        return str(self._warm(module))

    def _warm(self, module: str) -> Path:
        path = self._folder / module
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening.bind(str(path))
        listening.listen(64)
        with listening:
            process = subprocess.Popen(
                [sys.executable, "-I", WARM, str(listening.fileno()), module],
                pass_fds=(listening.fileno(),),
                stdin=subprocess.PIPE,
            )
        self.stack.callback(process.wait)
        assert process.stdin is not None
        self.stack.callback(process.stdin.close)
        return path


def main() -> None:
    """Serves until standard input ends."""
    # Sent to all of a run, which ends by itself, and this after it. Not ignored: what is started would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    folder = Path(sys.argv[2])
    kept = Kept(folder)
    with (
        socket.socket(fileno=int(sys.argv[1])) as door,
        selectors.DefaultSelector() as waiting,
        kept.stack,
    ):
        waiting.register(sys.stdin, selectors.EVENT_READ)
        waiting.register(door, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in waiting.select()]
            if sys.stdin in ready:
                break
            asking = door.accept()[0]
            with asking, asking.makefile(encoding="utf-8") as said, contextlib.suppress(BrokenPipeError):
                asking.sendall(kept.answer(said.read()).encode())
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
