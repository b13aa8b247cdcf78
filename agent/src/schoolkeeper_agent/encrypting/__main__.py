"""``python -m schoolkeeper_agent.encrypting RUN_DIR``: the connection is standard input (systemd.socket(5))."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from schoolkeeper_agent.encrypting.worker import serve


def main() -> int:
    run_dir = Path(sys.argv[1] if len(sys.argv) > 1 else "/run/schoolkeeper-agent")
    with socket.socket(fileno=os.dup(0)) as connection:
        serve(connection, run_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
