"""Questions to a passkey: random, each for one purpose, each answered once, and not for long.

Without them an answer that was overheard could be sent a second time, or for another change than the one on the screen.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field

from schoolkeeper_policies.officer.passkey import PasskeyError

SECONDS = 1800.0
MOST = 64
"""Each page that is looked at asks; the oldest questions go."""


@dataclass(slots=True)
class Challenges:
    _open: dict[bytes, tuple[str, float]] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def ask(self, purpose: str, now: float | None = None) -> bytes:
        """32 random bytes. ``now``: seconds of the monotonic clock."""
        challenge = secrets.token_bytes(32)
        with self._lock:
            self._open[challenge] = (purpose, _at(now))
            while len(self._open) > MOST:
                del self._open[next(iter(self._open))]
        return challenge

    def take(self, challenge: bytes, purpose: str, now: float | None = None) -> bytes:
        """The challenge, if it waits for an answer to this purpose. Raises ``PasskeyError``."""
        with self._lock:
            asked_for, asked_at = self._open.pop(challenge, ("", 0.0))
        if asked_for != purpose or _at(now) - asked_at > SECONDS:
            raise PasskeyError(
                "this question to the passkey was answered already, or is too old: load the page again"
            )
        return challenge


def _at(now: float | None) -> float:
    return time.monotonic() if now is None else now
