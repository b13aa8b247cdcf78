"""The service's side: a removal is written down before it happens, and its fate is told to whoever removes.

Root alone is heard, as the kernel names the caller (unix(7), SO_PEERCRED); the socket's file says so as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schoolkeeper_agent.observations import Noted
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.peers import peer_of
from schoolkeeper_agent.places import Place, last_place
from schoolkeeper_agent.removing.lines import MAX_LINE, MOST_REASON, MOST_WAIT, NAME
from schoolkeeper_agent.seams import Record
from schoolkeeper_agent.spool.contract import FrameState, SpoolError
from schoolkeeper_agent.system import here
from schoolkeeper_proto import model

SAID_MS = 600_000
"""So long after a reason was given the package manager's own knock says nothing new."""
_KEPT_S, _LOOK_S = 5.0, 0.2
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RemovalDoor:
    """All methods are called in the event loop."""

    parts: Parts
    _server: asyncio.Server | None = field(default=None, init=False)
    _said_ms: int | None = field(default=None, init=False)
    _awaited: list[tuple[model.Body, asyncio.Future[Future[Place]]]] = field(default_factory=list, init=False)

    async def start(self) -> None:
        path = self._path
        path.unlink(missing_ok=True)
        self._server = await here.start_local_server(self._joined, path, limit=MAX_LINE)
        path.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    def recorded(self, event: Record) -> None:
        """The heart handed an event to the spool's writer: of a removal, its place is asked for next."""
        for body, place in self._awaited:
            if body is event.body and not place.done():
                place.set_result(self.parts.writer.call(lambda spool: last_place(spool, event.lane)))

    @property
    def _path(self) -> Path:
        return self.parts.settings.run_dir / NAME

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if peer_of(writer.get_extra_info("socket")).user_id not in (0, os.geteuid()):
                return
            said = await self._heard(await reader.readline())
            writer.write(json.dumps(said).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.info("a request to remove the agent ended: %s", type(error).__name__)
        finally:
            writer.close()

    async def _heard(self, line: bytes) -> dict[str, Any]:
        found = json.loads(line)
        state, by, reason, wait = (found[key] for key in ("state", "by", "reason", "wait"))
        if state not in ("begun", "failed") or by not in ("command", "package manager"):
            raise ValueError("no such request")
        if not isinstance(reason, str) or len(reason) > MOST_REASON or not isinstance(wait, int):
            raise ValueError("no such request")
        now_ms = self.parts.clock.now().monotonic_ms
        if by == "package manager" and self._said_ms is not None and now_ms - self._said_ms < SAID_MS:
            return {"kept": True, "known": True}
        self._said_ms = now_ms if state == "begun" else None
        place = await self._keep(model.AgentRemoval(state=state, by=by, reason=reason))
        if place is None:
            return {"kept": False, "because": self.parts.writer.state().failing_because or "the disk is slow"}
        delivered = await self._is_delivered(place, max(0, min(wait, MOST_WAIT)))
        await self.parts.look_at_spool()
        usage = self.parts.usage
        return {"kept": True, "delivered": delivered, "pending": usage.pending_events if usage else 0}

    async def _keep(self, body: model.AgentRemoval) -> Place | None:
        """Where it lies in the spool; None when it is not known to be on the disk."""
        place: asyncio.Future[Future[Place]] = asyncio.get_running_loop().create_future()
        self._awaited.append((body, place))
        self.parts.heart.emit(Noted(body=body, severity=model.Severity.HIGH))
        try:
            async with asyncio.timeout(_KEPT_S):
                found = await asyncio.wrap_future(await place)
        except (TimeoutError, SpoolError):
            return None
        finally:
            self._awaited = [one for one in self._awaited if one[0] is not body]
        return None if self.parts.writer.state().failing_because else found

    async def _is_delivered(self, place: Place, seconds: int) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await self._fate(place) is FrameState.PENDING:  # noqa: ASYNC110 - the spool tells nobody
                    await asyncio.sleep(_LOOK_S)
        return await self._fate(place) is FrameState.DELIVERED

    async def _fate(self, place: Place) -> FrameState | None:
        try:
            looking = self.parts.writer.call(
                lambda spool: spool.fate(place.epoch, place.lane, place.sequence)
            )
            return await asyncio.wrap_future(looking)
        except SpoolError:
            return FrameState.PENDING
