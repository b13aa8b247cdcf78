"""Before ``telling.py``: loads it when somebody tells something, or told something lately. Most devices never do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schoolkeeper_agent.seams import Record
from schoolkeeper_agent.spool.contract import SpoolError
from schoolkeeper_proto import wire

if TYPE_CHECKING:
    from schoolkeeper_agent.parts import Parts
    from schoolkeeper_agent.session.telling_lines import Answer, Request
    from schoolkeeper_agent.telling import Account, Say, TellingDesk

NOTE = "told"
"""The spool's note of what was told lately; ``told.py`` reads and writes it."""
AGAIN_SECONDS = 60.0


@dataclass(slots=True)
class TellingDoor:
    """All methods are called in the event loop; they are those of ``TellingDesk``."""

    parts: Parts
    account: Account
    say: Say
    _desk: TellingDesk | None = None
    _needed: asyncio.Event = field(default_factory=asyncio.Event)

    async def told(self, user_id: int, request: Request) -> Answer:
        return await self._behind().told(user_id, request)

    async def read(self, order: wire.ReportRead) -> str:
        return await self._behind().read(order)

    def recorded(self, event: Record) -> None:
        if self._desk is not None:
            self._desk.recorded(event)

    async def run(self) -> None:
        while not self._needed.is_set():
            try:
                noted = await asyncio.wrap_future(self.parts.writer.call(lambda spool: spool.note(NOTE)))
            except SpoolError:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if len(noted) <= len(b"[]"):
                await self._needed.wait()
            break
        await self._behind().run()

    def _behind(self) -> TellingDesk:
        if self._desk is None:
            from schoolkeeper_agent.telling import TellingDesk

            self._desk = TellingDesk(self.parts, self.account, self.say)
            self._needed.set()
        return self._desk
