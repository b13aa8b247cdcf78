"""From the core's effects to the world: events into the spool, words to the screen, orders to enforcers, in order."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Protocol, assert_never

from schoolkeeper_agent import core, observations
from schoolkeeper_agent.budget import BudgetWatch
from schoolkeeper_agent.clock import Moment
from schoolkeeper_agent.decisions import record
from schoolkeeper_agent.observations import Observation
from schoolkeeper_agent.seams import Effect, Enforce, Enforcer, Outcome, Record, Tell
from schoolkeeper_agent.spool.writer import FrameWriter
from schoolkeeper_agent.state import Believed, CoreState
from schoolkeeper_proto import model
from schoolkeeper_proto.codec import WireFormatError, encode
from schoolkeeper_proto.matching import TableMistake

ENFORCE_SECONDS = 20.0
MOST_WAITING = 20_000
_log = logging.getLogger(__name__)


class Teller(Protocol):
    """Says something to the person at the screen; never raises for a screen that is not there."""

    async def tell(self, effect: Tell) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What every event carries besides its body."""

    now: Callable[[], Moment]
    boot_id: bytes
    skew_ms: Callable[[Moment], int | None]
    believed_ms: Callable[[Moment], int] = lambda now: now.wall_ms
    """Unix time as far as it can be trusted: what rules are judged by."""


def event_bytes(effect: Record, stamp: Stamp, place: model.Place) -> bytes:
    """The serialised event of a record; raises ``WireFormatError`` for a value that does not fit its field."""
    now = stamp.now()
    return encode(
        model.Event(
            id=model.EventId(effect.event_id) if effect.event_id else event_id(now.wall_ms),
            wall_unix_ms=max(0, now.wall_ms),
            monotonic_ms=max(0, now.monotonic_ms),
            boot_id=stamp.boot_id,
            body=effect.body,
            skew_ms=stamp.skew_ms(now),
            place=place,
            user=effect.user or model.UserRef(),
            severity=effect.severity,
        )
    )


def event_id(wall_ms: int) -> model.EventId:
    """A UUID version 7 (RFC 9562 section 5.7)."""
    random = int.from_bytes(os.urandom(10), "big")
    value = (max(0, wall_ms) & ((1 << 48) - 1)) << 80 | 0x7 << 76 | (random >> 62 & 0xFFF) << 64
    value |= 0b10 << 62 | random & ((1 << 62) - 1)
    return model.EventId(value.to_bytes(16, "big"))


@dataclass(slots=True)
class Heart:
    """The core's loop: takes observations one by one and performs their effects before the next."""

    state: CoreState
    writer: FrameWriter
    stamp: Stamp
    enforcers: dict[str, Enforcer]
    teller: Teller
    budget: BudgetWatch
    recorded: Callable[[Record], None] = lambda _: None
    """Called with each event that the writer has taken."""
    beats: int = 0
    dropped: int = 0
    _waiting: deque[Observation] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _dropped_from: int = 0
    _told: set[asyncio.Task[None]] = field(default_factory=set)

    def emit(self, observation: Observation) -> None:
        """From the event loop only; never blocks. Beyond ``MOST_WAITING`` it counts what it cannot take."""
        if len(self._waiting) >= MOST_WAITING:
            self._dropped_from = self._dropped_from or self.stamp.now().wall_ms
            self.dropped += 1
            return
        self.budget.count(type(observation).__name__)
        self._waiting.append(observation)
        self._wake.set()

    def keep(self, event: Record, notes: Mapping[str, bytes]) -> Future[None]:
        """The event and what is remembered of it: both on the disk when the future is done, or neither.

        Written by the spool's thread; the future raises ``SpoolError`` where that cannot write now.
        """
        return self.writer.keep(event.lane, event_bytes(event, self.stamp, self.state.place), notes)

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            await self.catch_up()

    async def catch_up(self) -> None:
        """Handles everything that waits now."""
        while self._waiting:
            await self.handle(self._waiting.popleft())
        self._wake.clear()
        if self.dropped:
            count, self.dropped = self.dropped, 0
            since, self._dropped_from = self._dropped_from, 0
            missed = observations.Missed(
                what="more observations at once than the agent could take",
                from_unix_ms=since,
                to_unix_ms=self.stamp.now().wall_ms,
                count=count,
                count_known=True,
            )
            await self.handle(missed)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def handle(self, observation: Observation) -> None:
        self.beats += 1
        now = self.stamp.now()
        believed = self.stamp.believed_ms(now)
        time = Believed(ahead_ms=believed - now.wall_ms, base_ms=believed - now.monotonic_ms)
        if time != self.state.time:
            self.state = replace(self.state, time=time)
        try:
            self.state, effects = core.handle(self.state, observation, now.wall_ms)
        except TableMistake as error:
            # The bundle compiled when it was opened; if it does not now, the one in force stays.
            _log.error("policy not swapped: %s", error)
            self._waiting.append(observations.PolicyRejected(reason=str(error)))
            return
        for effect in effects:
            await self._perform(effect)

    async def _perform(self, effect: Effect) -> None:
        match effect:
            case Record():
                self._record(effect)
            case Tell():
                task = asyncio.create_task(self.teller.tell(effect))
                self._told.add(task)
                task.add_done_callback(self._told.discard)
            case Enforce():
                await self.handle(observations.ActionDone(outcome=await self._enforce(effect)))
            case _:
                assert_never(effect)

    def _record(self, effect: Record) -> None:
        try:
            self.writer.record(effect.lane, event_bytes(effect, self.stamp, self.state.place))
            self.recorded(effect)
        except WireFormatError as error:
            _log.error("an event could not be written: %s", error)
            if effect.body.KIND != model.Gap.KIND:
                gap = model.Gap(what=f"an event of kind {effect.body.KIND} could not be written", count=1)
                self._record(record(gap, model.Severity.MEDIUM))

    async def _enforce(self, effect: Enforce) -> Outcome:
        """What the enforcer did; an enforcer that raises or hangs has failed, and nothing else stops for it."""
        enforcer = self.enforcers.get(effect.enforcer)
        if enforcer is None:
            detail = "no such enforcer on this machine"
        else:
            try:
                async with asyncio.timeout(ENFORCE_SECONDS):  # wait_for can swallow a cancellation
                    return await enforcer.perform(effect.action)
            except TimeoutError:
                detail = f"it did not answer within {ENFORCE_SECONDS:.0f} seconds"
            except Exception as error:  # noqa: BLE001 - an enforcer's bug must not end the agent
                detail = f"{type(error).__name__}: {error}"
        return Outcome(enforcer=effect.enforcer, action=effect.action, succeeded=False, detail=detail)
