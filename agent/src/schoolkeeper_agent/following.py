"""An event of the agent's own, followed from its emission to the disk and to the school's acknowledgement."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future
from dataclasses import dataclass, field

from schoolkeeper_agent.observations import Noted
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.places import Place, last_place
from schoolkeeper_agent.seams import Record
from schoolkeeper_agent.spool.contract import FrameState, SpoolError
from schoolkeeper_proto import model

KEPT_S = 5.0


@dataclass(slots=True)
class Follower:
    """All methods are called in the event loop."""

    parts: Parts
    _awaited: list[tuple[model.Body, asyncio.Future[Future[Place]]]] = field(default_factory=list)

    def recorded(self, event: Record) -> None:
        """The heart handed an event to the spool's writer: of one that is followed, its place is asked for next."""
        for body, place in self._awaited:
            if body is event.body and not place.done():
                place.set_result(self.parts.writer.call(lambda spool: last_place(spool, event.lane)))

    async def keep(self, body: model.Body, severity: model.Severity) -> Place | None:
        """Emits it. Where it lies in the spool; None when it is not known to be on the disk."""
        place: asyncio.Future[Future[Place]] = asyncio.get_running_loop().create_future()
        self._awaited.append((body, place))
        self.parts.heart.emit(Noted(body=body, severity=severity))
        try:
            async with asyncio.timeout(KEPT_S):
                found = await asyncio.wrap_future(await place)
        except (TimeoutError, SpoolError):
            return None
        finally:
            self._awaited = [one for one in self._awaited if one[0] is not body]
        return None if self.parts.writer.state().failing_because else found

    async def is_delivered(self, place: Place, seconds: float, look_s: float = 0.2) -> bool:
        """Whether the school acknowledged it within so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await self._fate(place) is FrameState.PENDING:  # noqa: ASYNC110 - the spool tells nobody
                    await asyncio.sleep(look_s)
        return await self._fate(place) is FrameState.DELIVERED

    async def _fate(self, place: Place) -> FrameState | None:
        try:
            looking = self.parts.writer.call(
                lambda spool: spool.fate(place.epoch, place.lane, place.sequence)
            )
            return await asyncio.wrap_future(looking)
        except SpoolError:
            return FrameState.PENDING
