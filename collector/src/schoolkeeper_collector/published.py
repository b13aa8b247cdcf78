"""What is published for each group, kept at hand: a welcome must not wait for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from schoolkeeper_collector.school.repository import NotPublished, Published, Repository, RepositoryError
from schoolkeeper_proto import wire

_LOOK_SECONDS = 0.5
"""One small file is read so often: a publication reaches devices that are connected in a second or two."""
_TIMESTAMP = "metadata/timestamp.json"
_MOST_FILES = 64
_LARGEST = 1 << 20
_log = structlog.get_logger("published")


class PublishedPolicy:
    """``of`` is called from the event loop and from the writer; the value is swapped whole."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._current: Published | None = None
        self._files: dict[str, bytes] = {}
        self.look()

    def of(self, group: str, device_id: bytes) -> wire.PolicyAvailable | None:
        """What a device is offered: in a rollout, by its ring. None while nothing is published for the group."""
        current = self._current
        entry = current.bundle_for(group, device_id) if current is not None else None
        if current is None or entry is None:
            return None
        return wire.PolicyAvailable(
            bundle_hash=entry[0], bundle_version=entry[1], timestamp_version=current.timestamp_version
        )

    def look(self) -> bool:
        """True when something new is published."""
        before = self._current
        try:
            self._current = self._repository.current()
        except (NotPublished, RepositoryError, OSError, ValueError) as error:
            _log.error("nothing published can be read", error=type(error).__name__)
        if self._current is before:
            return False
        self._files = {}
        return True

    def read_file(self, name: str) -> bytes:
        """A published file. Those whose name says what is in them are kept at hand: after a publication every
        device asks for the same few within seconds. Raises ``NotPublished``."""
        if name == _TIMESTAMP:
            return self._repository.read_file(name)
        held = self._files
        data = held.get(name)
        if data is None:
            data = self._repository.read_file(name)
            if len(held) < _MOST_FILES and len(data) <= _LARGEST:
                held[name] = data
        return data

    async def keep_fresh(self, told: Callable[[], None] = lambda: None) -> None:
        """Runs for ever; ``told`` is called, on the event loop, when something new was found."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if await asyncio.to_thread(self.look):
                told()
