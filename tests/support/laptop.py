"""A device's trust alone: what python-tuf and our own rules make of what a school's repository serves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_agent.trust import Place, Trust, TrustUpdate, load_trust, save_place, update_trust
from schoolkeeper_collector.school.repository import NotPublished, Repository
from schoolkeeper_proto import trust
from support.school import GROUP, School, wall_ms

DEVICE = bytes(range(16))


@dataclass
class Laptop:
    """``repository`` may be replaced by one that lies."""

    state_dir: Path
    repository: Repository

    @classmethod
    def enrolled(cls, school: School, state_dir: Path) -> Laptop:
        first = school.repository.root_chain()[0]
        save_place(
            state_dir,
            Place(school_id=school.school_id, device_id=DEVICE, group=GROUP, root_sha256=trust.sha256(first)),
        )
        made = cls(state_dir, school.repository)
        assert made.update(first).changed
        return made

    def update(self, first_root: bytes | None = None) -> TrustUpdate:
        return asyncio.run(
            update_trust(self.state_dir, self._fetch, now_ms=wall_ms() + 1000, first_root=first_root)
        )

    def in_force(self) -> Trust:
        found = load_trust(self.state_dir)
        assert found is not None
        return found

    async def _fetch(self, name: str) -> bytes | None:
        try:
            return self.repository.read_file(name)
        except NotPublished:
            return None
