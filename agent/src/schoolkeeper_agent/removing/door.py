"""The service's side: a removal is written down before it happens, and its fate is told to whoever removes.

Root alone is heard, as the kernel names the caller (unix(7), SO_PEERCRED); the socket's file says so as well.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schoolkeeper_agent.following import Follower
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.peers import peer_of
from schoolkeeper_agent.removing.lines import MAX_LINE, MOST_REASON, MOST_WAIT, NAME
from schoolkeeper_agent.system import here
from schoolkeeper_proto import model

SAID_MS = 600_000
"""So long after a reason was given the package manager's own knock says nothing new."""
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RemovalDoor:
    """All methods are called in the event loop."""

    parts: Parts
    follower: Follower
    _server: asyncio.Server | None = field(default=None, init=False)
    _said_ms: int | None = field(default=None, init=False)

    async def start(self) -> None:
        path = self._path
        path.unlink(missing_ok=True)
        self._server = await here.start_local_server(self._joined, path, limit=MAX_LINE)
        path.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

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
        body = model.AgentRemoval(state=state, by=by, reason=reason)
        place = await self.follower.keep(body, model.Severity.HIGH)
        if place is None:
            return {"kept": False, "because": self.parts.writer.state().failing_because or "the disk is slow"}
        delivered = await self.follower.is_delivered(place, max(0, min(wait, MOST_WAIT)))
        await self.parts.look_at_spool()
        usage = self.parts.usage
        return {"kept": True, "delivered": delivered, "pending": usage.pending_events if usage else 0}
