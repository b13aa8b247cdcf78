"""Runs inside a laptop: a person signs in at a terminal by login(1) and types a command; prints what stood there.

python3 at_terminal.py ACCOUNT PASSWORD SECONDS   (0: a shell answered)
"""

import os
import pty
import select
import sys
import time

ANSWER = b"can type 42"


def wait_for(terminal: int, words: bytes, until: float, seen: bytes = b"") -> bytes:
    """What was shown up to there, and at most everything until the time is over."""
    while words not in seen and (left := until - time.monotonic()) > 0:
        if terminal in select.select([terminal], [], [], left)[0]:
            try:
                seen += os.read(terminal, 4096)
            except OSError:  # nobody is at the other end any more
                break
    return seen


def main(account: str, password: str, seconds: float) -> int:
    process, terminal = pty.fork()
    if process == 0:
        os.execvp("login", ["login", account])
    until = time.monotonic() + seconds
    seen = wait_for(terminal, b"assword:", until)
    os.write(terminal, password.encode() + b"\n")
    seen = wait_for(terminal, b"$ ", until, seen)
    os.write(terminal, b"echo can type $((40 + 2)); exit\n")
    seen = wait_for(terminal, ANSWER, until, seen)
    print(seen.decode(errors="replace"))
    return 0 if ANSWER in seen else 1


sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
