"""What devices say, as a database takes it."""

from __future__ import annotations

_MAX_TEXT = 2_000


def clean(words: str, limit: int = _MAX_TEXT) -> str:
    """A device's words as a database takes them: bounded, and without the NUL that PostgreSQL refuses."""
    return words[:limit].replace("\0", "")


def bounded(number: int) -> int:
    """A device's number as a signed 64-bit column takes it."""
    return min(max(number, 0), (1 << 62) - 1)
