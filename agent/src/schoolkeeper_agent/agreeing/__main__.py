"""``python -m schoolkeeper_agent.agreeing RUN-FOLDER``: the window, if it is due; the session's helper opens it."""

from __future__ import annotations

import sys
from pathlib import Path

from schoolkeeper_agent.agreeing.command import agreement_main

if __name__ == "__main__":
    sys.exit(agreement_main(Path(sys.argv[1]), language="", window=True, unasked=True))
