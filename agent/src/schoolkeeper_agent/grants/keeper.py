"""Grants while the agent runs: takes them from the stream, watches their time, keeps them, tells the core."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from schoolkeeper_agent.clock import floor_ms
from schoolkeeper_agent.grants import keeping, table
from schoolkeeper_agent.grants.table import Instant, Judge, Step, Table
from schoolkeeper_agent.observations import GrantsChanged, Noted
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.status import GrantLine
from schoolkeeper_proto import granting, model, wire
from schoolkeeper_proto.bundle import OpenBundle
from schoolkeeper_proto.granted import InForce
from schoolkeeper_proto.wire import GrantKind

LOOK_SECONDS = 5.0
"""While something is loosened, so often is the wall clock compared with what is known."""
SAVE_MS = 60_000
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class GrantKeeper:
    """All methods are called in the event loop."""

    parts: Parts
    _table: Table = field(default_factory=Table)
    _shown: tuple[InForce, ...] | None = None
    """None until the core was told: it must hear at the start that nothing holds, so that what a former run left in
    place is lifted."""
    _saved_ms: int = 0
    _ground: tuple[OpenBundle | None, granting.Ground] = (None, granting.Ground())
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self) -> None:
        """What was kept is judged again; what is stricter holds from here on, the rest when the time is known."""
        self._table, problem = keeping.load(self.parts.settings.state_dir)
        if problem:
            _log.error("%s", problem)
            told = model.AgentTampered(what="grants", detail=problem[:500])
            self.parts.heart.emit(Noted(body=told, severity=model.Severity.HIGH))
        self.judge_again()

    async def run(self) -> None:
        while True:
            at = self._instant()
            wait = table.next_ms(self._table, at)
            if wait is None:
                await self._wake.wait()
            else:
                try:
                    async with asyncio.timeout(min(LOOK_SECONDS, wait / 1000 + 0.01)):
                        await self._wake.wait()
                except TimeoutError:
                    pass
            self._wake.clear()
            self._do(table.look(self._table, self._instant()))

    @property
    def lost(self) -> bool:
        """Whether this device is held as lost now."""
        return any(one.kind is GrantKind.LOST for one in self._shown or ())

    def wake(self) -> None:
        """Something changed, the time was learned: look at once."""
        self._wake.set()

    def take(self, sent: wire.Grant) -> None:
        self._do(table.take(self._table, sent, self._judge(), self._instant()))
        self.wake()

    def judge_again(self) -> None:
        """Policy, officers or group changed."""
        self._do(table.judge_again(self._table, self._judge(), self._instant()))
        self.wake()

    def lines(self) -> tuple[GrantLine, ...]:
        """For ``status``."""
        at, said = self._instant(), self.parts.heart.state.confined.said
        return tuple(
            GrantLine(
                grant_id=one.statement.grant_id.hex(),
                kind=one.statement.kind.value,
                rules=one.statement.rule_ids,
                from_unix_ms=one.statement.not_before_unix_ms,
                until_unix_ms=one.statement.expires_unix_ms,
                in_force=table.holds(one, at),
                because=(
                    table.SET_BACK
                    if one.loosens and at.set_back
                    else said.get(one.statement.grant_id, ("", ""))[1]
                ),
                state=said.get(one.statement.grant_id, ("", ""))[0],
            )
            for one in self._table.held
        )

    def _do(self, step: Step) -> None:
        if step.problem:
            self.parts.uplink.standing.last_problem = step.problem
            _log.warning("%s", step.problem)
        for event in step.events:
            refused = isinstance(event, model.GrantEnded) and event.reason.startswith(
                ("refused", "no longer")
            )
            severity = model.Severity.MEDIUM if refused else model.Severity.INFORMATIONAL
            self.parts.heart.emit(Noted(body=event, severity=severity))
        before, self._table = self._table, step.table
        self._save(before)
        shown = table.in_force(self._table, self._judge().ground, self._instant())
        if shown != self._shown or step.tell:
            self._shown = shown
            self.parts.heart.emit(GrantsChanged(in_force=shown, tell=step.tell))

    def _save(self, before: Table) -> None:
        """At once when something began or ended; each minute how long it has been in force."""
        now_ms = self.parts.clock.now().monotonic_ms
        due = bool(self._table.held) and now_ms - self._saved_ms >= SAVE_MS
        if not due and _facts(before) == _facts(self._table):
            return
        try:
            keeping.save(self.parts.settings.state_dir, self._table)
            self._saved_ms = now_ms
        except OSError as error:
            # They hold in memory; after a restart the collector sends them again.
            _log.error("grants cannot be kept: %s", error)

    def _judge(self) -> Judge:
        parts = self.parts
        return Judge(
            school_id=parts.identity.school_id,
            device_id=parts.identity.device_id,
            group=parts.trust.group,
            officers=parts.trust.officers,
            ground=self._ground_now(),
        )

    def _ground_now(self) -> granting.Ground:
        """Of a large policy it is not for nothing: made once for each."""
        bundle = self.parts.policy.bundle
        if self._ground[0] is not bundle:
            self._ground = (bundle, granting.ground_of(bundle))
        return self._ground[1]

    def _instant(self) -> Instant:
        parts = self.parts
        now = parts.clock.now()
        boot_id = parts.clock.boot_id
        return Instant(
            now=now,
            boot_id=boot_id,
            believed_ms=parts.uplink.believed_ms(now),
            floor_ms=floor_ms(parts.uplink.memory.floor, now, boot_id),
        )


def _facts(kept: Table) -> object:
    """Everything but how long each has run."""
    return (
        [(one.statement.grant_id, one.told) for one in kept.held], kept.ended, kept.revoked, kept.refused,
    )  # fmt: skip
