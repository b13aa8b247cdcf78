"""The guardian: holds no descriptor of the kernel's, and ends a responder that does not answer in time."""

from __future__ import annotations

import mmap
import os
import signal
import time

from schoolkeeper_agent.enforcers.linux.exec_responder.loop import BEAT, BEAT_MS
from schoolkeeper_agent.enforcers.linux.exec_responder.process import (
    be_preferred,
    libc,
    lock_memory,
    set_name,
)

LATE = "it did not answer the kernel in time and was ended by its guardian"
_LOOK_NS = 250_000_000
_IDLE_LOOK_NS = 900_000_000
"""While nothing is being decided and the responder came round in time. Less than any deadline: a decision that hangs is
seen before its time is up, and then the looks are close together."""
_BEAT_NS = BEAT_MS * 1_000_000
_SILENCE_NS = 2 * _BEAT_NS


class Guardian:
    """``deadline_ms``: how long one decision may take."""

    def __init__(self, responder: int, page: mmap.mmap, *, deadline_ms: int) -> None:
        self._responder = responder
        self._page = page
        self._deadline_ns = deadline_ms * 1_000_000

    def watch(self) -> str:
        """Until the responder has ended; returns why, empty when that was asked for."""
        library = libc()
        set_name(library, b"sk-exec-guard")
        lock_memory(library)
        be_preferred()
        last = time.monotonic_ns()
        while True:
            pause = self._pause(last)
            heard = signal.sigtimedwait((signal.SIGCHLD, signal.SIGTERM), pause / 1e9)
            now = time.monotonic_ns()
            ended, status = os.waitpid(self._responder, os.WNOHANG)
            if ended:
                return _why(status)
            if heard is not None and heard.si_signo == signal.SIGTERM:
                os.kill(self._responder, signal.SIGTERM)
                self._reap(now)
                return ""
            # When this process itself was held up (a paused machine), the responder was, too: look again.
            if now - last < pause + 3 * _LOOK_NS and self._is_late(now):
                os.kill(self._responder, signal.SIGKILL)
                os.waitpid(self._responder, 0)
                return LATE
            last = now

    def _pause(self, now: int) -> int:
        """Until the next look, in ns. Each look costs as much as a decision, so that an idle machine gets few."""
        came_round, busy_since = BEAT.unpack_from(self._page, 0)
        calm = came_round and not busy_since and now - came_round < _BEAT_NS + _LOOK_NS
        return min(_IDLE_LOOK_NS, self._deadline_ns) if calm else _LOOK_NS

    def _is_late(self, now: int) -> bool:
        came_round, busy_since = BEAT.unpack_from(self._page, 0)
        if busy_since and now - busy_since > self._deadline_ns:
            return True
        return bool(came_round) and now - came_round > max(_SILENCE_NS, self._deadline_ns)

    def _reap(self, since: int) -> None:
        while time.monotonic_ns() - since < self._deadline_ns:
            ended, _ = os.waitpid(self._responder, os.WNOHANG)
            if ended:
                return
            time.sleep(0.005)
        os.kill(self._responder, signal.SIGKILL)
        os.waitpid(self._responder, 0)


def _why(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"it was killed by signal {-code}"
    return f"it ended with status {code}" if code else ""
