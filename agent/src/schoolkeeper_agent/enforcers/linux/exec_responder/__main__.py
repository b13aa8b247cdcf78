"""Started by path, isolated: ``python -I -S .../exec_responder/__main__.py '{"import_path": [...], ...}'``.

Isolated mode has no import path of ours, and that is the point: nothing in the environment can add code to a process
that decides for the kernel. The configuration names the two source folders.
"""

import json
import sys


def main(argument: str) -> int:
    config = json.loads(argument)
    sys.path[:0] = config["import_path"]
    from schoolkeeper_agent.enforcers.linux.exec_responder.begin import begin

    return begin(config)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
