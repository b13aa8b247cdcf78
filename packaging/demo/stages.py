"""The hops of an event, in order: each is said when it was seen, and a failure names the last one that was."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field


class StageError(Exception):
    """A hop that was not reached; ``main`` says where the event was last seen."""


@dataclass(slots=True)
class Stages:
    """Prints one line per hop as it is reached, and remembers the last."""

    begun: float = field(default_factory=time.monotonic)
    last: str = "nothing yet"

    def say(self, text: str) -> None:
        sys.stdout.write(f"  demo      {text}\n")
        sys.stdout.flush()

    def reached(self, hop: str, detail: str = "") -> None:
        self.last = hop
        self.say(f"[{time.monotonic() - self.begun:5.1f} s] {hop}{': ' + detail if detail else ''}")

    def wait(
        self, hop: str, look: Callable[[], str | None], seconds: float, alive: Callable[[], None]
    ) -> str:
        """Waits until ``look`` answers; raises ``StageError`` naming this hop and the last one reached."""
        deadline = time.monotonic() + seconds
        while True:
            alive()
            found = look()
            if found is not None:
                self.reached(hop, found)
                return found
            if time.monotonic() > deadline:
                raise StageError(f"not within {seconds:.0f} s: {hop}")
            time.sleep(0.1)
