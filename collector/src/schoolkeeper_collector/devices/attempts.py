"""How often one address may guess: failures only, so that thirty laptops behind one proxy enrol at once."""

from __future__ import annotations

from collections import OrderedDict, deque

WINDOW_MS = 600_000
ALLOWED = 20
_ADDRESSES = 10_000


class FailureLimit:
    """In memory; a restart forgives. Not thread-safe: used on the event loop only."""

    def __init__(self, allowed: int = ALLOWED, window_ms: int = WINDOW_MS) -> None:
        self._allowed = allowed
        self._window_ms = window_ms
        self._failures: OrderedDict[str, deque[int]] = OrderedDict()

    def wait_ms(self, address: str, now_ms: int) -> int:
        """0 when the address may ask, else how long until it may."""
        failures = self._failures.get(address)
        if failures is None:
            return 0
        while failures and failures[0] <= now_ms - self._window_ms:
            failures.popleft()
        if not failures:
            del self._failures[address]
            return 0
        if len(failures) < self._allowed:
            return 0
        return failures[0] + self._window_ms - now_ms

    def failed(self, address: str, now_ms: int) -> None:
        self._failures.setdefault(address, deque(maxlen=self._allowed)).append(now_ms)
        self._failures.move_to_end(address)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)


def address_of(peer: str) -> str:
    """The address without the port of a gRPC peer, for example ``ipv4:10.1.2.3:4711``."""
    return peer.rpartition(":")[0] or peer
