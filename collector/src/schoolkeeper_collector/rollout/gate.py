"""The gate between two rings: what must have been measured before the next one opens, and what stops a rollout.

Pure. Nothing is fine by default: a device counts only when it runs the new policy, has run it for the soak time and
was heard of today. What was not measured keeps the gate shut; what was measured and is bad halts the rollout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

DAY_MS = 86_400_000
FRESH_MS = DAY_MS
"""A device not heard of for a day says nothing about today."""
FINISH_MS = 14 * DAY_MS
"""So long after the last ring opened a rollout is over, whoever is still missing."""


class State(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"
    DONE = "done"
    REPLACED = "replaced"


class Standing(StrEnum):
    """One device in a rollout. Only ``FINE`` is fine."""

    FINE = "fine"
    SOAKING = "soaking"
    WAITING = "waiting"
    REFUSED = "refused"
    STALE = "stale"
    UNKNOWN = "unknown"


class Sign(StrEnum):
    """What is measured of a ring."""

    REFUSALS = "refusals"
    RULE_ERRORS = "rule-errors"
    KILLED = "killed"
    STARTS = "starts"
    UNKNOWN_RESULTS = "unknown-results"
    HELP = "help"
    POLICY_REFUSED = "policy-refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What the collector holds of a device; times in Unix milliseconds, None for never."""

    bundle_hash: bytes
    bundle_since_ms: int | None
    last_contact_ms: int | None
    refused: bool = False
    """It said, since its ring opened, that it cannot take the new policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """``expected`` and ``limit`` are counts for the devices and the time measured."""

    sign: Sign
    observed: int
    devices: int
    expected: float
    limit: int

    @property
    def exceeded(self) -> bool:
        return self.observed > self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """One ring as measured now."""

    number: int
    name: str
    standings: tuple[Standing, ...]
    measures: tuple[Measure, ...] = ()

    def count(self, *standings: Standing) -> int:
        return sum(one in standings for one in self.standings)

    @property
    def applied(self) -> int:
        return self.count(Standing.FINE, Standing.SOAKING)

    @property
    def may_be_missing(self) -> int:
        """One device in ten, and one of a few: a laptop in a cupboard does not stop a school for ever."""
        size = len(self.standings)
        return max(size // 10, 1 if size >= 4 else 0)

    @property
    def missing(self) -> int:
        """How many devices more must be fine before the next ring may open."""
        return max(0, len(self.standings) - self.may_be_missing - self.count(Standing.FINE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """``opened_ms``: when the last open ring was opened. ``rings``: all of the plan, open or not."""

    state: State
    open_rings: int
    opened_ms: int | None
    rings: tuple[Ring, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Open rings up to this number (a count)."""

    open_rings: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    because: str


Action = Open | Halt | Finish | Wait


def standing_of(facts: DeviceFacts, to_hash: bytes, soak_ms: int, now_ms: int) -> Standing:
    """Where one device stands; unknown and stale are never fine."""
    if facts.last_contact_ms is None:
        return Standing.UNKNOWN
    stale = now_ms - facts.last_contact_ms >= FRESH_MS
    if facts.bundle_hash != to_hash:
        if facts.refused:
            return Standing.REFUSED
        return Standing.STALE if stale else Standing.WAITING
    if stale:
        return Standing.STALE
    if facts.bundle_since_ms is None:
        return Standing.UNKNOWN
    # Heard of after it had run the policy for long enough; when it is off, nothing is learnt.
    return Standing.FINE if facts.last_contact_ms - facts.bundle_since_ms >= soak_ms else Standing.SOAKING


def limit_of(expected: float, slack: int) -> int:
    """The most that may be seen where ``expected`` is: three standard deviations of a Poisson count, and a few."""
    return math.ceil(expected + 3 * math.sqrt(expected)) + slack


def decide(rollout: Rollout, now_ms: int, *, may_open: bool, opens_next: str = "") -> Action:
    """What happens next. ``may_open``: the schedule allows it now; else ``opens_next`` says when it will."""
    for ring in rollout.rings[: rollout.open_rings]:
        for measure in ring.measures:
            if measure.exceeded and rollout.state is State.RUNNING:
                return Halt(because=because_of(ring, measure))
    if rollout.state is not State.RUNNING:
        return Wait(because=f"the rollout is {rollout.state}")
    following = _next_ring(rollout)
    last = _last_measurable(rollout)
    if rollout.open_rings == len(rollout.rings):
        if last is not None and last.missing == 0:
            return Finish(because="every ring is open, and what was measured is fine")
        if rollout.opened_ms is not None and now_ms - rollout.opened_ms >= FINISH_MS:
            return Finish(because="the last ring has been open for two weeks")
        return Wait(because=_waits_for(last))
    if last is not None and last.missing:
        return Wait(because=_waits_for(last))
    if last is None and following == len(rollout.rings) > 1:
        return Wait(because="no device is in any ring before the last: nothing was tried; open it by hand")
    if not may_open:
        return Wait(because=f"rings open outside of lessons only{': ' + opens_next if opens_next else ''}")
    ring = rollout.rings[following - 1]
    if last is None:
        return Open(open_rings=following, because=f"ring {ring.name} is the first with devices in it")
    return Open(
        open_rings=following,
        because=f"ring {last.name}: {last.count(Standing.FINE)} of {len(last.standings)} devices are fine",
    )


def because_of(ring: Ring, measure: Measure) -> str:
    """Why a rollout halts, in numbers."""
    devices = f"{measure.devices} device{'' if measure.devices == 1 else 's'}"
    return (
        f"ring {ring.name}: {measure.observed} {WORDS[measure.sign]} on {devices}; "
        f"at most {measure.limit} were to be expected"
    )


WORDS = {
    Sign.REFUSALS: "refusals",
    Sign.RULE_ERRORS: "errors of rules, sensors or locks",
    Sign.KILLED: "agents that were killed",
    Sign.STARTS: "starts of the agent",
    Sign.UNKNOWN_RESULTS: "checks that became unknown",
    Sign.HELP: "requests for help",
    Sign.POLICY_REFUSED: "devices that refuse the policy",
}


def _next_ring(rollout: Rollout) -> int:
    """How many rings are open after the next step: rings without devices are passed over, but for the last one."""
    number = rollout.open_rings + 1
    while number < len(rollout.rings) and not rollout.rings[number - 1].standings:
        number += 1
    return min(number, len(rollout.rings))


def _last_measurable(rollout: Rollout) -> Ring | None:
    """The last open ring that has devices."""
    held = [ring for ring in rollout.rings[: rollout.open_rings] if ring.standings]
    return held[-1] if held else None


def _waits_for(ring: Ring | None) -> str:
    if ring is None:
        return "no device is in the open rings"
    parts = [
        f"{ring.count(standing)} {standing}"
        for standing in Standing
        if standing is not Standing.FINE and ring.count(standing)
    ]
    return f"ring {ring.name}: {ring.count(Standing.FINE)} fine; {', '.join(parts) or 'none missing'}"
