"""Runs inside a laptop: somebody signs in by login(1), types nothing more and never leaves.

python3 left_terminal.py ACCOUNT [HOST]   (HOST: they come from there)
"""

import os
import pty
import sys

account, host = sys.argv[1], sys.argv[2:]
process, terminal = pty.fork()
if process == 0:
    os.execvp("login", ["login", *(["-h", *host] if host else []), "-f", account])
while True:
    try:
        print(os.read(terminal, 4096).decode(errors="replace"), flush=True)
    except OSError:  # the session ended
        break
