"""What waits for a thread: small work first, each stream in its own order.

When a whole school comes back on Monday with weeks of backlog, what happens now must not wait behind it. A backlog
gets its turn after some small ones, however many there are.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Generic, TypeVar

SMALL_FRAMES = 16
SMALL_BYTES = 32 << 10
SMALL_IN_A_ROW = 32
"""So many small ones go before a large one that waits gets its turn."""

Item = TypeVar("Item")


def is_backlog(frames: int, size: int) -> bool:
    """Whether a batch of so many frames and bytes is more than a device reports while it is online."""
    return frames > SMALL_FRAMES or size > SMALL_BYTES


class Waitlist(Generic[Item]):
    """Safe between threads. Items of one ``stream`` (any object, told apart by identity) never change places."""

    def __init__(self) -> None:
        self._small: deque[Item] = deque()
        self._large: deque[tuple[Item, object]] = deque()
        # Streams with a large item waiting: whatever else is theirs queues behind it.
        self._behind: Counter[int] = Counter()
        self._row = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Item, stream: object, *, large: bool) -> None:
        with self._changed:
            if large or self._behind[id(stream)]:
                self._behind[id(stream)] += 1
                self._large.append((item, stream))
            else:
                self._small.append(item)
            self._changed.notify()

    def close(self) -> None:
        """What waits is still taken; whoever waits for more is woken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Closed, and nothing is left."""
        with self._changed:
            return self._closed and not (self._small or self._large)

    @property
    def large_waiting(self) -> int:
        return len(self._large)

    def take(self, within: float | None = None, *, large: bool = True) -> Item | None:
        """The next; waits ``within`` seconds, without a figure until there is one. None: none came, or it ended.

        Without ``large`` only small ones are taken, unless it is closed.
        """
        with self._changed:

            def ready() -> bool:
                return bool(self._small or self._closed or (large and self._large))

            if within != 0 and not ready():
                self._changed.wait_for(ready, within)
            if self._small and (self._row < SMALL_IN_A_ROW or not self._large):
                self._row += 1
                return self._small.popleft()
            if not self._large or not (large or self._closed):
                return self._small.popleft() if self._small else None
            self._row = 0
            item, stream = self._large.popleft()
            self._behind[id(stream)] -= 1
            if not self._behind[id(stream)]:
                del self._behind[id(stream)]
            return item
