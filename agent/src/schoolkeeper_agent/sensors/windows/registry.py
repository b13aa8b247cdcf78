"""What is read of Windows' registry: numbers and texts, and that there is none. Nothing is ever written."""

from __future__ import annotations

from typing import Protocol

MACHINE = "HKLM"
PEOPLE = "HKU"


class Registry(Protocol):
    """``hive`` is ``MACHINE``, or ``PEOPLE`` for everybody who is signed in."""

    def value(self, hive: str, key: str, name: str) -> int | str | None:
        """None when there is no such value. Raises ``OSError`` when nobody can say."""

    def keys(self, hive: str, key: str) -> tuple[str, ...]:
        """The names of the keys below; none when there is no such key. Raises ``OSError``."""
