"""What is published for each group, kept at hand: a welcome must not wait for the disk."""

from __future__ import annotations

import asyncio

import structlog

from schoolkeeper_collector.school.repository import NotPublished, Published, Repository, RepositoryError
from schoolkeeper_proto import wire

_LOOK_SECONDS = 5.0
_log = structlog.get_logger("published")


class PublishedPolicy:
    """``of`` is called from the event loop and from the writer; the value is swapped whole."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._current: Published | None = None
        self.look()

    def of(self, group: str) -> wire.PolicyAvailable | None:
        """None while nothing is published for the group."""
        current = self._current
        entry = current.bundles.get(group) if current is not None else None
        if current is None or entry is None:
            return None
        return wire.PolicyAvailable(
            bundle_hash=entry[0], bundle_version=entry[1], timestamp_version=current.timestamp_version
        )

    def look(self) -> None:
        try:
            self._current = self._repository.current()
        except (NotPublished, RepositoryError, OSError, ValueError) as error:
            _log.error("nothing published can be read", error=type(error).__name__)

    async def keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await asyncio.to_thread(self.look)
