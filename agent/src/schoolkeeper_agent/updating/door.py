"""Before ``desk.py``: loads it when there is an update to fetch, or one to tell of. Most days there is none."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

from schoolkeeper_agent.following import Follower
from schoolkeeper_agent.parts import Parts

FOLDER = "updates"
_NOTES = ("state.json", "outcome.json")
AGAIN_S = 3_600.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Updates:
    """All methods are called in the event loop. ``version_file``: the package that this agent came with says its own
    version there; without one there is nothing to update."""

    parts: Parts
    follower: Follower
    version_file: Path = Path(sys.prefix) / "package-version"
    _asked: asyncio.Event = field(default_factory=asyncio.Event)

    def consider(self) -> None:
        """Another signed set is in force: perhaps it has a newer agent."""
        self._asked.set()

    async def run(self) -> None:
        """One look at a time. What cannot be fetched now is tried again within two hours, at another moment each."""
        version = self._own_version()
        if not version:
            return
        folder = self.parts.settings.state_dir / FOLDER
        while True:
            self._asked.clear()
            open_still = False
            if self._wanted(version) or any((folder / name).exists() for name in _NOTES):
                from schoolkeeper_agent.updating.desk import UpdatingDesk

                open_still = await UpdatingDesk(self.parts, self.follower, folder, version).look()
            wait = AGAIN_S * (0.5 + self.parts.chance()) if open_still else None
            try:
                async with asyncio.timeout(wait):
                    await self._asked.wait()
            except TimeoutError:
                continue

    def _wanted(self, version: str) -> bool:
        from schoolkeeper_proto.release import takes

        found = self.parts.trust.release
        return found is not None and found.version != version and takes(found, self.parts.identity.device_id)

    def _own_version(self) -> str:
        try:
            return self.version_file.read_text().strip()
        except OSError:
            return ""
