"""Started by path, isolated: ``python -I -S .../exec_responder/__main__.py '{"import_path": [...], ...}'``.

Isolated mode has no import path of ours, and that is the point: nothing in the environment can add code to a process
that decides for the kernel. The configuration names the two source folders.
"""

import json
import mmap
import os
import signal
import sys


def main(argument: str) -> int:
    """Forks: the child becomes the responder, this process the guardian."""
    config = json.loads(argument)
    sys.path[:0] = config["import_path"]
    from schoolkeeper_agent.enforcers.linux.exec_responder import guardian, loop, process

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    page = mmap.mmap(-1, mmap.PAGESIZE)
    child = os.fork()
    if child == 0:
        process.die_with_parent(process.libc(), signal.SIGKILL)
        process.set_name(process.libc(), b"sk-exec-answer")
        status = guardian.EXIT_REFUSED
        try:
            loop.run(config, page)
            status = 0
        except Exception as error:  # noqa: BLE001 - the last word before the end, for the service's log
            print(f"the exec responder cannot go on: {error}", file=sys.stderr)
        finally:
            os._exit(status)
    # The service sees the end of this socket as soon as the responder ends.
    os.close(int(config["socket"]))
    watch = guardian.Guardian(child, page, deadline_ms=config["deadline_ms"], orphan_s=config["orphan_s"])
    return watch.watch()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
