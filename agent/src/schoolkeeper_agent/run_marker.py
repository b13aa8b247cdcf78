"""How the last run ended: a file that exists while the agent runs, and goes only when it stops by itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.identity import write_private
from schoolkeeper_proto.model import AgentKilled

NAME = "running.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMarker:
    """Times in milliseconds: wall clock, and since boot."""

    path: Path
    boot_id: bytes

    def previous(self, now: Moment) -> AgentKilled | None:
        """What an earlier run left behind: None after an orderly end."""
        try:
            said = json.loads(self.path.read_bytes())
            last, monotonic = int(said["last_seen_ms"]), int(said["monotonic_ms"])
            same_boot = said["boot_id"] == self.boot_id.hex()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return AgentKilled(
                detail="the agent ended without saying why; its last sign of life is unreadable"
            )
        down = now.monotonic_ms - monotonic if same_boot else now.wall_ms - last
        detail = (
            "the agent was killed or crashed" if same_boot else "the machine lost power, crashed or was reset"
        )
        return AgentKilled(last_seen_unix_ms=max(0, last), down_seconds=max(0, down // 1000), detail=detail)

    def seen(self, now: Moment) -> None:
        """Writes down, durably, that the agent runs now. Raises ``OSError``."""
        said = {"boot_id": self.boot_id.hex(), "last_seen_ms": now.wall_ms, "monotonic_ms": now.monotonic_ms}
        write_private(self.path, json.dumps(said).encode())

    def stopped(self) -> None:
        self.path.unlink(missing_ok=True)
