"""When somebody in a session takes the service's voice away, it is written down: seldom, with how often it happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from schoolkeeper_proto import model

SETTLES_SECONDS = 5.0
"""Who signs out takes the helper along; the session is gone by then."""
AGAIN_MS = 600_000
"""Between two events of one account: a loop that kills fills no lane."""
HELPER, SOCKET = "session helper", "session socket"
ENDED = "it ended while its person was signed in: killed, or crashed; systemd starts it again"
CROWDED = "programs of one account hold all of its places: others of that account are turned away"
Report = Callable[[model.Body], None]


@dataclass(slots=True)
class Silenced:
    """``signed_in``: whether an account of this user id has a session now. ``now_ms`` is monotonic."""

    report: Report
    signed_in: Callable[[int], bool]
    now_ms: Callable[[], int]
    _times: dict[tuple[str, int], int] = field(default_factory=dict)
    _said_ms: dict[tuple[str, int], int] = field(default_factory=dict)

    def helper_ended(self, user_id: int) -> None:
        """In the event loop. Said once it is certain that nobody merely signed out."""
        asyncio.get_running_loop().call_later(SETTLES_SECONDS, self.happened, HELPER, ENDED, user_id)

    def turned_away(self, user_id: int) -> None:
        self.happened(SOCKET, CROWDED, user_id)

    def happened(self, what: str, error: str, user_id: int) -> None:
        if not self.signed_in(user_id):
            return
        key, now = (what, user_id), self.now_ms()
        times = self._times[key] = self._times.get(key, 0) + 1
        said = self._said_ms.get(key)
        if said is not None and now - said < AGAIN_MS:
            return
        self._said_ms[key] = now
        self.report(model.SensorFailed(sensor=what, error=error, restarts=times))
