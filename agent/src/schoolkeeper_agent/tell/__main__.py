"""``python -m schoolkeeper_agent.tell RUN-FOLDER LANGUAGE``: the form in a window; another window of ours opens it."""

from __future__ import annotations

import sys
from pathlib import Path

from schoolkeeper_agent.tell.command import tell_main

if __name__ == "__main__":
    sys.exit(tell_main(Path(sys.argv[1]), language=sys.argv[2], number="", window=True))
