"""How long tests wait for what must happen: limits are for a quiet machine, and four times that is waited.

A limit only decides when to give up; nothing that a test asserts depends on it. ``SCHOOLKEEPER_TEST_PATIENCE`` makes it
longer on a machine that is slower still.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE = float(os.environ.get("SCHOOLKEEPER_TEST_PATIENCE", "4"))


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Raises ``AssertionError`` when it does not come true; ``seconds`` as on a quiet machine."""
    deadline = time.monotonic() + seconds * PATIENCE
    asked = time.monotonic()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds * PATIENCE:.0f} seconds: {what}")
        time.sleep(_pause(asked))
        asked = time.monotonic()


def _pause(asked: float) -> float:
    """Until the next look: twice as long as the last one took, for waiting must not slow what is waited for."""
    return min(2.0, max(0.05, 2 * (time.monotonic() - asked)))


def patiently(make: Callable[[], T], refusal: type[Exception], seconds: float = 10) -> T:
    """What ``make`` returns as soon as it is refused no longer; then its last refusal is raised."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        try:
            return make()
        except refusal:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


async def eventually(condition: Callable[[], bool], what: str, seconds: float = 15) -> None:
    """The same without blocking the loop."""
    deadline = time.monotonic() + seconds * PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds * PATIENCE:.0f} seconds: {what}")
        await asyncio.sleep(0.01)
