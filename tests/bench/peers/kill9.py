"""rsyslog under kill -9 at random points: what it lost, what it stored twice."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

from peers import rsyslog
from peers.rsyslog import Kind, Rsyslog

_QUIET_SECONDS = 8.0
"""With no new line for so long (its own resume interval is 2 s), it has handed over all that it will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survived:
    kills: int
    sent: int
    lost: int
    twice: int


def run(
    folder: Path, kind: Kind, *, events: int, kills: int, seed: int, within: float, sender: bool = False
) -> Survived:
    """Kill the receiver (or the sender, with its queue on disk) ``kills`` times while events pass.

    The points lie at random shares of the events; the killed end starts again at once. ``within`` seconds for all.
    """
    chance = random.Random(seed)
    folder.mkdir()
    peer = Rsyslog(folder=folder, kind=kind, synced_sender=sender)
    rsyslog.write_events(peer.input, events)
    points = sorted(chance.randrange(1, int(events * 0.9)) for _ in range(kills))
    done = 0
    deadline = time.monotonic() + within
    try:
        peer.start_receiver()
        peer.start_sender()
        for point in points:
            if not _reach(peer, point, deadline):
                break
            done += 1
            if sender:
                peer.kill_sender()
                peer.start_sender()
            else:
                peer.kill_receiver()
                peer.start_receiver()
        _settle(peer, events, deadline)
    finally:
        peer.stop()
    numbers = peer.numbers()
    distinct = len(set(numbers))
    return Survived(kills=done, sent=events, lost=events - distinct, twice=len(numbers) - distinct)


def _reach(peer: Rsyslog, count: int, deadline: float) -> bool:
    """Wait until so many lines are out, or none comes any more (then the kill happens all the same)."""
    last, since = -1, time.monotonic()
    while (lines := peer.lines()) < count:
        now = time.monotonic()
        if lines != last:
            last, since = lines, now
        if now - since > _QUIET_SECONDS or now > deadline:
            return now <= deadline
        time.sleep(0.005)
    return True


def _settle(peer: Rsyslog, events: int, deadline: float) -> None:
    last, since = -1, time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - since < _QUIET_SECONDS:
        lines = peer.lines()
        if lines != last:
            last, since = lines, time.monotonic()
        time.sleep(0.05)
