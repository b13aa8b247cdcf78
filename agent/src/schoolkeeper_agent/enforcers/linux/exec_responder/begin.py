"""From one process to two: the responder, and this one, which becomes its guardian."""

from __future__ import annotations

import mmap
import os
import signal

from schoolkeeper_agent.enforcers.linux.exec_responder import guardian, loop, process
from schoolkeeper_agent.enforcers.linux.exec_responder.reports import say_last

TABLE = "exec-table.json"
"""In the service's run folder: what is decided by."""
TIMES = {"decide_ms": 400, "deadline_ms": 1000, "orphan_s": 30.0}
"""For one decision; until the guardian ends a responder that does not answer; to go on without a service."""


def begin(config: dict[str, object]) -> int:
    """Returns in the guardian, when all is over: the exit status. The service hears why by the last packet."""
    descriptor = int(str(config["socket"]))
    # The kernel says with it who became the guardian (SCM_CREDENTIALS).
    say_last(descriptor, "begun")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
    page = mmap.mmap(-1, mmap.PAGESIZE)
    child = os.fork()
    if child == 0:
        process.die_with_parent(process.libc(), signal.SIGKILL)
        process.set_name(process.libc(), b"sk-exec-answer")
        status = 1
        try:
            loop.run(config, page)
            status = 0
        except Exception as error:  # noqa: BLE001 - the last word before the end
            say_last(descriptor, "ended", reason=f"it cannot go on: {error}")
        finally:
            os._exit(status)
    reason = guardian.Guardian(child, page, deadline_ms=int(str(config["deadline_ms"]))).watch()
    say_last(descriptor, "ended", reason=reason)
    return 1 if reason else 0
