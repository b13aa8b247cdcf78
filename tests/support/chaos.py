"""Kills agent and collector at random points, then asks whether every event is where it must be, once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from schoolkeeper_proto import model
from support.school_stage import Stage, until

PROGRAM = Path(__file__).with_name("chaos_agent.py")


def number_of(body: model.Body) -> int | None:
    """The number of an event that ``chaos_agent`` made."""
    return int.from_bytes(body.command_id, "big") if isinstance(body, model.CommandResult) else None


@dataclass
class Chaos:
    stage: Stage
    chance: random.Random
    most: int = 40
    kills: Counter[str] = field(default_factory=Counter)

    @property
    def journal(self) -> Path:
        return self.stage.folder / "journal"

    def journalled(self, word: str) -> set[int]:
        if not self.journal.exists():
            return set()
        lines = self.journal.read_text().splitlines()
        return {
            int(line.split()[1]) for line in lines if line.startswith(word + " ") and len(line.split()) == 2
        }

    def start_agent(self) -> None:
        log = (self.stage.folder / "agent.log").open("ab")
        self.stage.agent = subprocess.Popen(
            [*self.stage.prefix, sys.executable, PROGRAM, self.stage.config, self.journal, str(self.most)],
            env=os.environ | self.stage.environment,
            stdout=log,
            stderr=log,
        )

    def round(self) -> None:
        """Runs for a random while, kills one or both, and starts what was killed again."""
        time.sleep(self.chance.uniform(0.1, 1.6))
        who = self.chance.choice(("agent", "agent", "collector", "both"))
        self.kills[who] += 1
        if who in ("agent", "both"):
            self.stage.kill_agent()
        if who in ("collector", "both"):
            self.stage.kill_collector()
            self.stage.start_collector()
        if who in ("agent", "both"):
            self.start_agent()

    def settle(self, seconds: float = 300) -> None:
        """Stops the feeding, and waits until the device has nothing left to send."""
        assert self.stage.agent is not None
        until(lambda: self.stage.status()["running"] is True, 300, "the agent is up")
        self.stage.agent.send_signal(signal.SIGUSR1)
        try:
            until(lambda: self.stage.pending() == 0, seconds, "everything is delivered")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.stage.status()}\n{self.stage.logs()}") from error

    def account(self) -> tuple[int, int]:
        """(kept, stored); raises when anything is lost or stored twice."""
        tried, kept = self.journalled("try"), self.journalled("kept")
        stored = Counter(n for item in self.stage.stored() if (n := number_of(item.event.body)) is not None)
        twice = [n for n, times in stored.items() if times > 1]
        assert not twice, f"stored twice: {twice[:10]}"
        missing = kept - set(stored)
        assert not missing, f"lost: {sorted(missing)[:10]} of {len(kept)}"
        assert set(stored) <= tried
        return len(kept), len(stored)
